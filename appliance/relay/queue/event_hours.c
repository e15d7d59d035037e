/* Counts by the hour, for statistics: the lister's thread. */
#include <stdlib.h>

#include "appliance/relay/queue/events.h"
#include "appliance/relay/queue/queue_private.h"

struct hours {
	struct queue *queue;
	char *server; /* NULL: any */
	int64_t since, until;
	struct event_hour hours[EVENT_HOURS_MAX]; /* from the first of the time asked for */
	struct err err;
	event_hours_cb *cb;
	void *arg;
};

/* NULL: outside. */
static struct event_hour *hour_of(struct hours *hours, int64_t hour)
{
	int64_t at = hour - hours->hours[0].hour;

	return at >= 0 && at < EVENT_HOURS_MAX ? &hours->hours[at] : NULL;
}

typedef void take_row(struct event_hour *hour, sqlite3_stmt *select);

static void take_events(struct event_hour *hour, sqlite3_stmt *select)
{
	uint64_t status = column_id(select, 1);

	if (status < QUEUE_LOG_ANY)
		hour->counts[status] = column_id(select, 2);
}

static void take_messages(struct event_hour *hour, sqlite3_stmt *select)
{
	hour->messages = column_id(select, 1);
	hour->signed_messages = column_id(select, 2);
}

static bool read_counts(struct hours *hours, enum statement which, take_row *take)
{
	struct database *database = hours->queue->list_database;
	sqlite3_stmt *select = database_statement(database, which);
	bool row = true, fine;

	bind_id(select, 1, ids_at(hours->since));
	bind_id(select, 2, ids_at(hours->until));
	bind_text(select, 3, hours->server);
	while ((fine = database_step(database, select, &row, &hours->err)) && row) {
		/* the statement counts hours from the time that ids begin with */
		struct event_hour *hour = hour_of(hours, ids_time(0) / 3600000 + (int64_t)column_id(select, 0));

		if (hour != NULL)
			take(hour, select);
	}
	database_reset(select);
	return fine;
}

static void work(void *arg)
{
	struct hours *hours = arg;
	struct database *database = hours->queue->list_database;

	database_set_deadline(database, EVENTS_LIST_MS);
	(void)(read_counts(hours, S_EVENT_HOURS, take_events) && read_counts(hours, S_MESSAGE_HOURS, take_messages));
	database_set_deadline(database, 0);
}

static bool has_any(const struct event_hour *hour)
{
	uint64_t sum = hour->messages;

	for (int i = 0; i < QUEUE_LOG_ANY; i++)
		sum += hour->counts[i];
	return sum > 0;
}

static void done(void *arg)
{
	struct hours *hours = arg;
	struct queue *queue = hours->queue;
	size_t count = 0;

	for (size_t i = 0; i < EVENT_HOURS_MAX; i++)
		if (has_any(&hours->hours[i]))
			hours->hours[count++] = hours->hours[i];
	if (hours->err.code != ERR_NONE)
		hours->cb(NULL, 0, &hours->err, hours->arg);
	else
		hours->cb(hours->hours, count, NULL, hours->arg);
	free(hours->server);
	free(hours);
	queue_release(queue);
}

void event_hours(struct queue *queue, const char *server, int64_t since, int64_t until, event_hours_cb *cb, void *arg)
{
	struct hours *hours = mem_new(sizeof *hours);

	*hours = (struct hours){.queue = queue,
				.server = server != NULL ? mem_string(server) : NULL,
				.since = since,
				.until = until,
				.cb = cb,
				.arg = arg};
	for (size_t i = 0; i < EVENT_HOURS_MAX; i++)
		hours->hours[i].hour = since / 3600000 + (int64_t)i;
	queue_hold(queue);
	pool_submit(queue->lister, work, done, hours);
}
