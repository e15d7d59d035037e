/* show queue, and what the operator does to it. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/relay/observe/observe_private.h"

#define SCAN_ROWS 1000 /* read for a page that is filtered: what is left of them is the page */

bool query_id(const char *text, uint64_t *id, struct err *err)
{
	char *end;

	*id = 0;
	if (strcmp(text, "all") == 0)
		return true;
	*id = strtoull(text, &end, 16);
	if (*text == '\0' || *end != '\0' || *id == 0 || strspn(text, "0123456789abcdefABCDEF") != strlen(text))
		return err_set(err, ERR_INVALID, "\"%s\" is no queue id (hexadecimal, as show queue and the log write it)", text);
	return true;
}

/* ---- filters ---- */

static bool contains(const char *text, const char *part)
{
	return part == NULL || strcasestr(text, part) != NULL;
}

static bool has_domain(const char *address, const char *domain)
{
	const char *at = strrchr(address, '@');

	return domain == NULL || (at != NULL && strcasecmp(at + 1, domain) == 0);
}

static bool is_text(const char *text, const char *wanted)
{
	return wanted == NULL || strcmp(text, wanted) == 0;
}

static const char *state_of(const struct queue_row *row)
{
	if (strcmp(row->state, "leased") == 0)
		return "active";
	if (strcmp(row->state, "waiting") == 0 && row->attempts > 0)
		return "deferred";
	return row->state;
}

static bool is_wanted(const struct query *query, const struct queue_row *row)
{
	return is_text(row->server, query_argument(query, "server")) && contains(row->sender, query_argument(query, "sender")) &&
	       contains(row->address, query_argument(query, "recipient")) &&
	       has_domain(row->address, query_argument(query, "destination")) &&
	       is_text(state_of(row), query_argument(query, "state"));
}

/* ---- a page ---- */

static const char *text_of(const char *text)
{
	return text != NULL ? text : "";
}

static void put_row(struct query_rows *rows, const struct queue_row *row)
{
	const char *state = state_of(row);
	bool waits = strcmp(row->state, "waiting") == 0;

	query_cell(rows, "%" PRIx64, row->message);
	query_cell(rows, "%s", row->server);
	query_cell(rows, "%s", row->sender);
	query_cell(rows, "%s", row->address);
	query_cell(rows, "%s", state);
	query_cell(rows, "%s", row->rendering == QUEUE_SIGNED ? "signed" : "plain");
	query_cell(rows, "%s", text_of(row->rule));
	query_cell(rows, "%" PRId64, row->received * 1000);
	query_cell(rows, "%" PRId64, waits ? row->due : 0);
	query_cell(rows, "%" PRIu32, row->attempts);
	query_cell(rows, "%" PRIu64, row->size);
	query_cell(rows, "%s", text_of(row->reply));
	query_cell(rows, "%s", text_of(row->message_id));
	query_cell(rows, "%" PRId64, row->expires * 1000);
}

/* As many as are read from the queue for this page. */
static size_t rows_to_read(const struct call *call)
{
	bool by_id = query_argument(&call->query, "id") != NULL;

	return call->query.n_arguments == by_id ? call->limit : SCAN_ROWS;
}

static void on_list(const struct queue_row *list, size_t count, const struct err *err, void *arg)
{
	struct call *call = arg;
	uint32_t found = 0;
	size_t i;

	if (err != NULL) {
		call_refuse(call, err);
		return;
	}
	for (i = 0; i < count && found < call->limit; i++) {
		if (is_wanted(&call->query, &list[i])) {
			put_row(&call->rows, &list[i]);
			found++;
		}
	}
	if (i > 0 && (i < count || count == rows_to_read(call)))
		call->rows.cursor = mem_format("%" PRIu64, list[i - 1].recipient);
	call_answer(call);
}

void query_queue(struct call *call)
{
	const char *id = query_argument(&call->query, "id");
	struct queue_filter filter = {0};
	struct err err;

	if (id != NULL && !query_id(id, &filter.message, &err)) {
		call_refuse(call, &err);
		return;
	}
	queue_list(call->observe->context.queue, &filter, strtoull(call->query.cursor, NULL, 10), rows_to_read(call), on_list,
		   call);
}

void query_queue_summary(struct call *call)
{
	struct queue_count count = queue_count(call->observe->context.queue);

	query_cell(&call->rows, "%" PRIu64, count.messages);
	query_cell(&call->rows, "%" PRIu64, count.waiting);
	query_cell(&call->rows, "%" PRIu64, count.leased);
	query_cell(&call->rows, "%" PRIu64, count.held);
	query_cell(&call->rows, "%" PRId64, count.oldest * 1000);
	call_answer(call);
}

/* ---- changes ---- */

static const struct {
	const char *name;
	enum queue_action action;
} actions[] = {{"hold", QUEUE_HOLD}, {"release", QUEUE_RELEASE}, {"retry", QUEUE_RETRY_NOW}, {"delete", QUEUE_DELETE}};

static bool read_action(const struct query *query, enum queue_action *action, struct err *err)
{
	const char *name = query_argument(query, "action");

	for (size_t i = 0; name != NULL && i < sizeof actions / sizeof *actions; i++) {
		if (strcmp(actions[i].name, name) == 0) {
			*action = actions[i].action;
			return true;
		}
	}
	return err_set(err, ERR_INVALID, "unknown action \"%s\"", name != NULL ? name : "");
}

static void on_set(uint64_t changed, const struct err *err, void *arg)
{
	struct call *call = arg;

	if (err != NULL) {
		call_refuse(call, err);
		return;
	}
	query_cell(&call->rows, "%" PRIu64, changed);
	call_answer(call);
}

void query_queue_change(struct call *call)
{
	const char *id = query_argument(&call->query, "id");
	struct queue_filter filter = {0};
	enum queue_action action = QUEUE_HOLD;
	struct err err;

	if (!read_action(&call->query, &action, &err) || !query_id(id != NULL ? id : "", &filter.message, &err))
		call_refuse(call, &err);
	else
		queue_set(call->observe->context.queue, &filter, action, on_set, call);
}
