/* show log delivery */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/relay/observe/observe_private.h"

static const char *const status_names[] = {[QUEUE_LOG_QUEUED] = "queued",
					   [QUEUE_LOG_SUCCEEDED] = "succeeded",
					   [QUEUE_LOG_FAILED] = "failed",
					   [QUEUE_LOG_DEFERRED] = "deferred"};

static void put_row(struct query_rows *rows, const struct queue_log_row *row)
{
	query_cell(rows, "%" PRId64, row->created);
	query_cell(rows, "%" PRId64, row->updated);
	query_cell(rows, "%" PRIx64, row->message);
	query_cell(rows, "%s", row->server);
	query_cell(rows, "%s", row->sender);
	query_cell(rows, "%s", row->from);
	query_cell(rows, "%s", row->address);
	query_cell(rows, "%s", row->status < QUEUE_LOG_ANY ? status_names[row->status] : "");
	query_cell(rows, "%s", row->reason);
	query_cell(rows, "%s", row->rendering == QUEUE_SIGNED ? "signed" : "plain");
	query_cell(rows, "%s", row->rule);
	query_cell(rows, "%s", row->message_id);
	query_cell(rows, "%s", row->subject);
	query_cell(rows, "%s", row->sender_ip);
	query_cell(rows, "%s", row->source_ip);
}

static bool has(const char *text, const char *wanted)
{
	size_t len = strlen(wanted);

	for (; *text != '\0'; text++)
		if (strncasecmp(text, wanted, len) == 0)
			return true;
	return len == 0;
}

/* Looked for here, page by page: no index has it. */
static bool is_wanted(const struct queue_log_row *row, const char *text)
{
	const char *const texts[] = {row->sender,     row->from,    row->address,   row->reason,   row->rule,
				     row->message_id, row->subject, row->sender_ip, row->source_ip};

	for (size_t i = 0; text != NULL && i < sizeof texts / sizeof *texts; i++)
		if (has(texts[i], text))
			return true;
	return text == NULL;
}

static void on_list(const struct queue_log_row *list, size_t count, const struct err *err, void *arg)
{
	struct call *call = arg;

	if (err != NULL) {
		call_refuse(call, err);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (is_wanted(&list[i], query_argument(&call->query, "text")))
			put_row(&call->rows, &list[i]);
	if (count == call->limit)
		call->rows.cursor = mem_format("%" PRIu64 " %" PRIu64, list[count - 1].message, list[count - 1].recipient);
	call_answer(call);
}

static bool read_status(const char *name, enum queue_log_status *status, struct err *err)
{
	*status = QUEUE_LOG_ANY;
	for (int i = 0; name != NULL && i < QUEUE_LOG_ANY; i++)
		if (strcmp(status_names[i], name) == 0)
			*status = (enum queue_log_status)i;
	if (name != NULL && *status == QUEUE_LOG_ANY)
		return err_set(err, ERR_INVALID, "\"%s\" is none of queued, succeeded, failed, deferred", name);
	return true;
}

static int64_t time_of(const struct query *query, const char *name)
{
	const char *text = query_argument(query, name);

	return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static bool read_filter(const struct query *query, struct queue_log_filter *filter, struct err *err)
{
	const char *id = query_argument(query, "id");

	*filter = (struct queue_log_filter){.server = query_argument(query, "server"),
					    .sender = query_argument(query, "sender"),
					    .from = query_argument(query, "from"),
					    .to = query_argument(query, "to"),
					    .since = time_of(query, "since"),
					    .until = time_of(query, "until")};
	return (id == NULL || query_id(id, &filter->message, err)) &&
	       read_status(query_argument(query, "status"), &filter->status, err);
}

void query_deliveries(struct call *call)
{
	uint64_t message = 0, recipient = 0;
	struct queue_log_filter filter;
	struct err err;

	if (!read_filter(&call->query, &filter, &err)) {
		call_refuse(call, &err);
		return;
	}
	if (call->query.cursor[0] != '\0')
		(void)sscanf(call->query.cursor, "%" SCNu64 " %" SCNu64, &message, &recipient);
	queue_log_list(call->observe->context.queue, &filter, message, recipient, call->limit, on_list, call);
}
