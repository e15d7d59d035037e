/* What the operator asks for: changes of many recipients in slices, so that mail goes on meanwhile. */
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

#define SLICE_ROWS 256 /* of one set in one transaction */

struct set {
	struct sliced_request sliced;
	uint64_t message; /* 0: all */
	char *server; /* NULL: any */
	enum queue_action action;
	uint64_t after, changed; /* as of the last COMMIT */
	uint64_t next_after, next_changed; /* when the running transaction commits */
	bool last, next_last; /* no more rows */
	queue_set_cb *cb;
	void *arg;
};

struct slice_row {
	uint64_t recipient, message;
	enum recipient_state state;
	bool leased;
	bool meant; /* by the filter */
};

struct slice {
	struct slice_row rows[SLICE_ROWS];
	size_t count;
};

/* ---- one row ---- */

static bool set_state(struct transaction *transaction, uint64_t recipient, enum recipient_state state, struct err *err)
{
	sqlite3_stmt *update = database_statement(transaction->database, S_SET_STATE);

	bind_id(update, 1, recipient);
	bind_number(update, 2, state);
	return database_run(transaction->database, update, err);
}

static bool set_due_now(struct transaction *transaction, uint64_t recipient, struct err *err)
{
	sqlite3_stmt *update = database_statement(transaction->database, S_SET_DUE);
	int64_t now = clock_wall_ms();

	bind_id(update, 1, recipient);
	bind_number(update, 2, now);
	transaction_note_due(transaction, now);
	return database_run(transaction->database, update, err);
}

static bool hold(struct transaction *transaction, const struct slice_row *row, bool *changed, struct err *err)
{
	*changed = row->state == STATE_WAITING;
	if (!*changed)
		return true;
	if (!row->leased) {
		transaction->delta.waiting--;
		transaction->delta.held++;
	}
	return set_state(transaction, row->recipient, STATE_HELD, err);
}

static bool release(struct transaction *transaction, const struct slice_row *row, bool *changed, struct err *err)
{
	*changed = row->state == STATE_HELD;
	if (!*changed)
		return true;
	if (!row->leased) {
		transaction->delta.held--;
		transaction->delta.waiting++;
	}
	return set_state(transaction, row->recipient, STATE_WAITING, err) && set_due_now(transaction, row->recipient, err);
}

static bool retry_now(struct transaction *transaction, const struct slice_row *row, bool *changed, struct err *err)
{
	*changed = row->state == STATE_WAITING && !row->leased;
	return !*changed || set_due_now(transaction, row->recipient, err);
}

static bool delete_now(struct transaction *transaction, const struct slice_row *row, bool *changed, struct err *err)
{
	*changed = row->state != STATE_DELETING;
	if (row->leased)
		return !*changed || set_state(transaction, row->recipient, STATE_DELETING, err);
	if (row->state == STATE_WAITING)
		transaction->delta.waiting--;
	else if (row->state == STATE_HELD)
		transaction->delta.held--;
	return transaction_delete_recipient(transaction, row->recipient, row->message, err);
}

static bool (*const actions[])(struct transaction *, const struct slice_row *, bool *, struct err *) = {
    [QUEUE_HOLD] = hold,
    [QUEUE_RELEASE] = release,
    [QUEUE_RETRY_NOW] = retry_now,
    [QUEUE_DELETE] = delete_now,
};

/* ---- a slice ---- */

/*
 * A lease whose result is part of this transaction is over: the result has been applied just before, and the counts of
 * the row are those of its new state.
 */
static bool is_leased(struct transaction *transaction, uint64_t recipient)
{
	const struct lease *lease = lease_find(transaction->keeper->leases, recipient);

	return lease != NULL && !lease->reported;
}

static bool read_slice(struct transaction *transaction, const struct set *set, struct slice *slice, struct err *err)
{
	enum statement which = set->message != 0 ? S_SLICE_MESSAGE : set->server != NULL ? S_SLICE_SERVER : S_SLICE_ALL;
	sqlite3_stmt *select = database_statement(transaction->database, which);
	bool row = true, ok = true;

	bind_id(select, 1, set->after);
	bind_number(select, 2, SLICE_ROWS);
	if (which == S_SLICE_MESSAGE)
		bind_id(select, 3, set->message);
	else if (which == S_SLICE_SERVER)
		bind_text(select, 3, set->server);
	slice->count = 0;
	while (slice->count < SLICE_ROWS && (ok = database_step(transaction->database, select, &row, err)) && row)
		slice->rows[slice->count++] = (struct slice_row){
		    .recipient = column_id(select, 0),
		    .message = column_id(select, 1),
		    .state = (enum recipient_state)column_id(select, 2),
		    .leased = is_leased(transaction, column_id(select, 0)),
		    .meant = which != S_SLICE_SERVER || column_id(select, 3) != 0,
		};
	database_reset(select);
	return ok;
}

static bool apply_slice(struct transaction *transaction, struct request *request, struct err *err)
{
	struct set *set = (struct set *)request;
	struct slice slice;

	if (!read_slice(transaction, set, &slice, err))
		return false;
	set->next_after = set->after;
	set->next_changed = set->changed;
	set->next_last = slice.count < SLICE_ROWS;
	for (size_t i = 0; i < slice.count; i++) {
		bool changed = false;

		if (slice.rows[i].meant && !actions[set->action](transaction, &slice.rows[i], &changed, err))
			return false;
		set->next_changed += changed;
		set->next_after = slice.rows[i].recipient;
	}
	return true;
}

static bool advance(struct request *request)
{
	struct set *set = (struct set *)request;

	set->after = set->next_after;
	set->changed = set->next_changed;
	set->last = set->next_last;
	return set->last;
}

/* ---- the loop's side ---- */

static void finish_set(struct queue *queue, struct request *request)
{
	struct set *set = (struct set *)request;

	(void)queue;
	set->cb(set->changed, request_err(request), set->arg);
	free(set->server);
	free(set);
}

void queue_set(struct queue *queue, const struct queue_filter *filter, enum queue_action action, queue_set_cb *cb, void *arg)
{
	struct set *set = mem_new(sizeof *set);

	*set = (struct set){.message = filter->message, .action = action, .cb = cb, .arg = arg};
	if (filter->server != NULL)
		set->server = mem_string(filter->server);
	set->sliced = (struct sliced_request){.request.finish = finish_set, .apply = apply_slice, .advance = advance};
	queue_submit(queue, REQUEST_SET, &set->sliced.request);
}
