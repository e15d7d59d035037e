/* show statistics: what the events say of each hour, and what the relay has counted since its start. */
#include <inttypes.h>
#include <stdlib.h>

#include "appliance/relay/observe/observe_private.h"
#include "appliance/relay/queue/events.h"

/* Hours of which the events tell nothing may still have had refusals. */
static void put_row(struct call *call, int64_t hour, const struct event_hour *events, bool all_servers)
{
	static const struct event_hour none = {0};
	const struct history_hour *counted = all_servers ? history_hour_of(&call->observe->history, hour) : NULL;
	struct query_rows *rows = &call->rows;

	if (events == NULL && (counted == NULL || (counted->refused == 0 && counted->octets == 0)))
		return;
	if (events == NULL)
		events = &none;
	query_cell(rows, "%" PRId64, hour * 3600);
	query_cell(rows, "%" PRIu64, events->messages);
	query_cell(rows, "%" PRIu64, events->signed_messages);
	query_cell(rows, "%" PRIu64, events->messages - events->signed_messages);
	query_cell(rows, "%" PRIu64, counted != NULL ? counted->refused : 0);
	query_cell(rows, "%" PRIu64, counted != NULL ? counted->octets : 0);
	query_cell(rows, "%" PRIu64, events->counts[QUEUE_LOG_SUCCEEDED]);
	query_cell(rows, "%" PRIu64, events->counts[QUEUE_LOG_DEFERRED]);
	query_cell(rows, "%" PRIu64, events->counts[QUEUE_LOG_FAILED]);
}

static int64_t time_of(const struct query *query, const char *name)
{
	const char *text = query_argument(query, name);

	return text != NULL ? strtoll(text, NULL, 10) : 0;
}

static void on_hours(const struct event_hour *hours, size_t count, const struct err *err, void *arg)
{
	struct call *call = arg;
	int64_t first = time_of(&call->query, "since") / 3600000, last = (time_of(&call->query, "until") - 1) / 3600000;
	bool all_servers = query_argument(&call->query, "server") == NULL;
	size_t next = 0;

	if (err != NULL) {
		call_refuse(call, err);
		return;
	}
	for (int64_t hour = first; hour <= last; hour++) {
		bool found = next < count && hours[next].hour == hour;

		put_row(call, hour, found ? &hours[next] : NULL, all_servers);
		next += found;
	}
	call_answer(call);
}

void query_statistics(struct call *call)
{
	int64_t since = time_of(&call->query, "since"), until = time_of(&call->query, "until");
	struct err err;

	if (since < 0 || until <= since || (until - since) / 3600000 > EVENT_HOURS_MAX - 2) {
		err_set(&err, ERR_INVALID, "statistics are of an hour to %d days", (EVENT_HOURS_MAX - 2) / 24);
		call_refuse(call, &err);
		return;
	}
	event_hours(call->observe->context.queue, query_argument(&call->query, "server"), since, until, on_hours, call);
}
