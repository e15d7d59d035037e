/* Events on their way in, and the places of their receivers: storekeeper's thread. */
#include "appliance/relay/queue/events.h"

#include <stdlib.h>
#include <time.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

int event_day_of(int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct tm local;

	localtime_r(&seconds, &local);
	return (local.tm_year + 1900) * 10000 + (local.tm_mon + 1) * 100 + local.tm_mday;
}

/* Rising whatever the clock does: a receiver's place must never be behind a later event. */
static bool next_id(struct transaction *transaction, int64_t now, uint64_t *id, struct err *err)
{
	struct storekeeper *keeper = transaction->keeper;
	int64_t highest;

	if (keeper->last_event == 0) {
		if (!database_number(transaction->database, S_EVENT_HIGHEST, 0, &highest, err))
			return false;
		keeper->last_event = (uint64_t)highest;
	}
	*id = ids_at(now) > keeper->last_event ? ids_at(now) : keeper->last_event + 1;
	keeper->last_event = *id;
	return true;
}

static bool insert_event(struct transaction *transaction, int64_t now, uint64_t message, uint64_t recipient,
			 enum queue_log_status status, const char *reason, const char *source_ip, struct err *err)
{
	sqlite3_stmt *insert = database_statement(transaction->database, S_EVENT_INSERT);
	uint64_t id;

	if (!next_id(transaction, now, &id, err))
		return false;
	bind_id(insert, 1, id);
	bind_number(insert, 2, status);
	bind_id(insert, 3, message);
	bind_id(insert, 4, recipient);
	bind_text(insert, 5, reason);
	bind_text(insert, 6, source_ip);
	return database_run(transaction->database, insert, err);
}

static bool count_events(struct transaction *transaction, int64_t now, uint64_t message, enum queue_log_status status,
			 size_t count, struct err *err)
{
	sqlite3_stmt *add = database_statement(transaction->database, S_EVENT_COUNT);

	bind_number(add, 1, event_day_of(now));
	bind_number(add, 2, status);
	bind_id(add, 3, count);
	bind_id(add, 4, message);
	return database_run(transaction->database, add, err);
}

bool events_insert_queued(struct transaction *transaction, const struct message_copy *copy, struct err *err)
{
	int64_t now = clock_wall_ms();

	for (size_t i = 0; i < copy->n_recipients; i++)
		if (!insert_event(transaction, now, copy->message.id, copy->recipient_ids[i], QUEUE_LOG_QUEUED, NULL, NULL, err))
			return false;
	return count_events(transaction, now, copy->message.id, QUEUE_LOG_QUEUED, copy->n_recipients, err);
}

bool events_insert_result(struct transaction *transaction, uint64_t message, enum queue_log_status status,
			  const struct queue_result *result, struct err *err)
{
	int64_t now = clock_wall_ms();

	return insert_event(transaction, now, message, result->recipient, status, result->reply, result->source_ip, err) &&
	       count_events(transaction, now, message, status, 1, err);
}

/* ---- the place of a receiver ---- */

struct place {
	struct sliced_request sliced;
	char *name;
	enum statement statement;
	uint64_t id;
	event_place_cb *cb;
	void *arg;
};

static bool apply_place(struct transaction *transaction, struct request *request, struct err *err)
{
	struct place *place = (struct place *)request;
	sqlite3_stmt *set = database_statement(transaction->database, place->statement);

	bind_text(set, 1, place->name);
	if (place->statement == S_WEBHOOK_SET)
		bind_id(set, 2, place->id);
	return database_run(transaction->database, set, err);
}

static bool advance_place(struct request *request)
{
	(void)request;
	return true;
}

static void finish_place(struct queue *queue, struct request *request)
{
	struct place *place = (struct place *)request;

	(void)queue;
	if (place->cb != NULL)
		place->cb(request_err(request), place->arg);
	free(place->name);
	free(place);
}

static void submit(struct queue *queue, enum statement statement, const char *name, uint64_t id, event_place_cb *cb, void *arg)
{
	struct place *place = mem_new(sizeof *place);

	*place = (struct place){.statement = statement, .name = mem_string(name), .id = id, .cb = cb, .arg = arg};
	place->sliced = (struct sliced_request){.request.finish = finish_place, .apply = apply_place, .advance = advance_place};
	queue_submit(queue, REQUEST_SET, &place->sliced.request);
}

void event_begin_place(struct queue *queue, const char *name, event_place_cb *cb, void *arg)
{
	submit(queue, S_WEBHOOK_BEGIN, name, 0, cb, arg);
}

void event_set_place(struct queue *queue, const char *name, uint64_t id, event_place_cb *cb, void *arg)
{
	submit(queue, S_WEBHOOK_SET, name, id, cb, arg);
}

void event_drop_place(struct queue *queue, const char *name, event_place_cb *cb, void *arg)
{
	submit(queue, S_WEBHOOK_DROP, name, 0, cb, arg);
}
