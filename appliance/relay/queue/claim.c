#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"

#define CLAIM_ITEMS_MAX 1000
#define CLAIM_BYTES_MAX                                                                                                          \
	(8u << 20) /* of prefixes and additions in one claim: memory stays bounded, the rest comes with the next */

struct claim_request {
	struct request request;
	size_t limit;
	struct queue_claim *claim;
	queue_claim_cb *cb;
	void *arg;
};

/* One claim while it is filled. */
struct filling {
	struct storekeeper *keeper;
	struct queue_claim *claim;
	size_t limit;
	size_t bytes;
	bool more; /* due items were left behind */
};

void claim_note_due(struct storekeeper *keeper, int64_t due)
{
	if (due < keeper->claim_from)
		keeper->claim_from = due;
}

/* ---- stored messages ---- */

struct queue_stored *queue_stored_ref(struct queue_stored *stored)
{
	stored->references++;
	return stored;
}

void queue_stored_unref(struct queue_stored *stored)
{
	if (stored == NULL || --stored->references > 0)
		return;
	free(stored->server);
	free(stored->sender);
	free(stored->envelope_id);
	free(stored->message_id);
	buf_clear(&stored->prefix);
	buf_clear(&stored->addition);
	free(stored);
}

static void read_message(sqlite3_stmt *select, struct queue_stored *stored)
{
	stored->server = row_text(select, 0);
	stored->sender = row_text(select, 1);
	stored->envelope_id = row_text(select, 2);
	stored->message_id = row_text(select, 3);
	stored->ret = (enum queue_return)column_id(select, 4);
	stored->smtputf8 = column_id(select, 5) != 0;
	stored->body_type = (enum queue_body_type)column_id(select, 6);
	stored->received = (int64_t)column_id(select, 7);
	stored->expires = (int64_t)column_id(select, 8);
	stored->plain_size = column_id(select, 9);
	stored->signed_size = column_id(select, 10);
	stored->original_size = column_id(select, 11);
	stored->encoded_size = column_id(select, 12);
	column_octets(select, 13, &stored->prefix);
	column_octets(select, 14, &stored->addition);
}

static struct queue_stored *load_message(struct database *database, uint64_t id, struct err *err)
{
	sqlite3_stmt *select = database_statement(database, S_LOAD_MESSAGE);
	struct queue_stored *stored = NULL;
	bool row;

	bind_id(select, 1, id);
	if (database_step(database, select, &row, err)) {
		if (row) {
			stored = mem_new(sizeof *stored);
			stored->id = id;
			read_message(select, stored);
		} else {
			err_set(err, ERR_INTEGRITY, "queue.db: a recipient's message %llu is missing", (unsigned long long)id);
		}
	}
	database_reset(select);
	return stored;
}

/*
 * The items of one message lie close together: look from the last one backwards. A copy has an envelope of its own (`sender`), so
 * it never shares one with the message's own recipients.
 */
static struct queue_stored *find_loaded(const struct queue_claim *claim, uint64_t id, const char *sender)
{
	for (size_t i = claim->count; i > 0; i--) {
		struct queue_stored *stored = claim->items[i - 1].message;

		if (stored->id == id && stored->copy == (sender != NULL) &&
		    (sender == NULL || strcmp(stored->sender, sender) == 0))
			return stored;
	}
	return NULL;
}

static void make_copy(struct queue_stored *stored, const char *sender)
{
	stored->copy = true;
	free(stored->sender);
	stored->sender = mem_string(sender);
	free(stored->envelope_id);
	stored->envelope_id = NULL;
	stored->ret = QUEUE_RETURN_DEFAULT;
}

static struct queue_stored *message_of(struct filling *filling, uint64_t message, const char *sender, struct err *err)
{
	struct queue_stored *stored = find_loaded(filling->claim, message, sender);

	if (stored != NULL)
		return stored;
	stored = load_message(filling->keeper->database, message, err);
	if (stored == NULL)
		return NULL;
	if (sender != NULL)
		make_copy(stored, sender);
	filling->bytes += stored->prefix.len + stored->addition.len;
	return stored;
}

/* ---- items ---- */

static void read_item(sqlite3_stmt *select, struct queue_item *item, char **sender)
{
	item->address = row_text(select, 1);
	item->rendering = (enum queue_rendering)column_id(select, 2);
	item->rule = row_text(select, 3);
	item->original = row_text(select, 4);
	item->notify = (uint32_t)column_id(select, 5);
	item->attempts = (uint32_t)column_id(select, 6);
	*sender = row_text(select, 7);
}

static void clear_item(struct queue_item *item)
{
	free(item->address);
	free(item->rule);
	free(item->original);
	queue_stored_unref(item->message);
}

static bool load_recipient(struct database *database, uint64_t id, struct queue_item *item, uint64_t *message, char **sender,
			   struct err *err)
{
	sqlite3_stmt *select = database_statement(database, S_LOAD_RECIPIENT);
	bool row, ok;

	bind_id(select, 1, id);
	ok = database_step(database, select, &row, err);
	if (ok && row) {
		*item = (struct queue_item){.recipient = id};
		*message = column_id(select, 0);
		read_item(select, item, sender);
	} else if (ok) {
		ok = err_set(err, ERR_INTEGRITY, "queue.db: recipient %llu is in the index alone", (unsigned long long)id);
	}
	database_reset(select);
	return ok;
}

static bool add_item(struct filling *filling, uint64_t recipient, struct err *err)
{
	struct queue_claim *claim = filling->claim;
	struct queue_item item;
	struct queue_stored *stored;
	uint64_t message = 0;
	char *sender = NULL;

	if (!load_recipient(filling->keeper->database, recipient, &item, &message, &sender, err))
		return false;
	stored = message_of(filling, message, sender, err);
	free(sender);
	if (stored == NULL) {
		clear_item(&item);
		return false;
	}
	item.message = queue_stored_ref(stored);
	claim->items[claim->count++] = item;
	lease_grant(filling->keeper->leases, recipient, message, claim->token);
	return true;
}

static bool fill_claim(struct filling *filling, int64_t now, struct err *err)
{
	struct storekeeper *keeper = filling->keeper;
	sqlite3_stmt *scan = database_statement(keeper->database, S_SCAN_DUE);
	bool row = true, ok = true;

	bind_number(scan, 1, keeper->claim_from);
	while (ok && (ok = database_step(keeper->database, scan, &row, err)) && row) {
		uint64_t recipient = column_id(scan, 0);
		int64_t due = (int64_t)column_id(scan, 1);

		if (due > now)
			break;
		if (lease_find(keeper->leases, recipient) != NULL)
			continue;
		keeper->claim_from = due;
		filling->more = filling->claim->count == filling->limit || filling->bytes > CLAIM_BYTES_MAX;
		if (filling->more)
			break;
		ok = add_item(filling, recipient, err);
	}
	database_reset(scan);
	return ok;
}

static void end_leases(struct storekeeper *keeper, const struct queue_claim *claim)
{
	for (size_t i = 0; i < claim->count; i++)
		lease_end(keeper->leases, claim->items[i].recipient);
}

void claim_run(struct queue *queue, struct request *request)
{
	struct claim_request *self = (struct claim_request *)request;
	struct storekeeper *keeper = &queue->keeper;
	struct filling filling = {.keeper = keeper, .limit = self->limit};

	filling.claim = mem_new(sizeof *filling.claim);
	filling.claim->token = ++keeper->last_token;
	filling.claim->items = mem_new_array(self->limit, sizeof *filling.claim->items);
	if (!fill_claim(&filling, clock_wall_ms(), &request->err)) {
		end_leases(keeper, filling.claim);
		queue_claim_free(filling.claim);
		storekeeper_fail(queue, &request->err);
		return;
	}
	keeper->tally.waiting -= (int64_t)filling.claim->count;
	keeper->tally.leased += (int64_t)filling.claim->count;
	keeper->due |= filling.more;
	request->err.code = ERR_NONE;
	self->claim = filling.claim;
}

bool claim_next_due(struct queue *queue, int64_t *due, struct err *err)
{
	struct storekeeper *keeper = &queue->keeper;
	sqlite3_stmt *scan = database_statement(keeper->database, S_SCAN_DUE);
	bool row = true, ok = true;
	int64_t found = -1;

	bind_number(scan, 1, keeper->claim_from);
	while (found < 0 && ok && (ok = database_step(keeper->database, scan, &row, err)) && row) {
		if (lease_find(keeper->leases, column_id(scan, 0)) != NULL)
			continue;
		found = (int64_t)column_id(scan, 1);
		keeper->claim_from = found;
	}
	database_reset(scan);
	if (ok)
		*due = found;
	return ok;
}

/* ---- the loop's side ---- */

static void finish_claim(struct queue *queue, struct request *request)
{
	struct claim_request *self = (struct claim_request *)request;

	(void)queue;
	self->cb(self->claim, request_err(request), self->arg);
	free(self);
}

void queue_claim(struct queue *queue, size_t limit, queue_claim_cb *cb, void *arg)
{
	struct claim_request *self = mem_new(sizeof *self);

	*self = (struct claim_request){.limit = limit < CLAIM_ITEMS_MAX ? limit : CLAIM_ITEMS_MAX, .cb = cb, .arg = arg};
	self->request.finish = finish_claim;
	queue_submit(queue, REQUEST_CLAIM, &self->request);
}

void queue_claim_free(struct queue_claim *claim)
{
	if (claim == NULL)
		return;
	for (size_t i = 0; i < claim->count; i++)
		clear_item(&claim->items[i]);
	free(claim->items);
	free(claim);
}
