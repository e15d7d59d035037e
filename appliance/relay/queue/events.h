/*
 * Events: every change of a recipient's state (queued, then deferred any number of times, then succeeded or failed), numbered in
 * the order in which they were stored. A part of the queue's contract (queue.h): loop's thread, callbacks never from within the
 * call. Lists are read on a thread and a connection of their own, each within EVENTS_LIST_MS: ERR_TIMEOUT.
 */
#ifndef INKAN_RELAY_QUEUE_EVENTS_H
#define INKAN_RELAY_QUEUE_EVENTS_H

#include "appliance/relay/queue/queue.h"

#define EVENTS_LIST_MS 5000
#define EVENTS_LIST_MAX 1000 /* rows of one call */

struct event_filter {
	const char *server; /* never NULL */
	enum queue_log_status status; /* QUEUE_LOG_ANY: any */
	int64_t since, until; /* wall ms; until is behind the last; 0: no bound */
	uint64_t after; /* id; 0: from the first */
	const char *from, *to; /* a part of the address of From or of the recipient, in any case; NULL: any */
	bool from_whole, to_whole; /* not a part of it: all of it */
	const char *api_data; /* the whole value; NULL: any */
	size_t skip, limit;
};

struct event_row {
	uint64_t id;
	int64_t created; /* wall ms */
	enum queue_log_status status;
	const char *return_path, *from, *to, *message_id, *reason;
	const char *client_ip; /* who sent it to us */
	const char *source_ip; /* our address, of the connection to the next hop; "" for a queued one */
	const char *subject, *api_data;
};

/* Oldest first, so that pages stay what they are while mail flows. Texts are never NULL; valid until return. */
typedef void event_list_cb(const struct event_row *rows, size_t count, const struct err *err, void *arg);
void event_list(struct queue *queue, const struct event_filter *filter, event_list_cb *cb, void *arg);

/* How many events of each status there were on a day (yyyymmdd, local time); from the first to the last day given. */
struct event_day {
	int day;
	uint64_t counts[QUEUE_LOG_ANY];
};
typedef void event_days_cb(const struct event_day *days, size_t count, const struct err *err, void *arg);
void event_days(struct queue *queue, const char *server, int first, int last, event_days_cb *cb, void *arg);

/*
 * What happened in each hour of a time (wall ms; `until` is behind the last): messages that were stored then and those of them
 * that somebody got signed, events by status. Hours without any are left out. Server NULL: all.
 */
#define EVENT_HOURS_MAX 194 /* eight days and two broken hours */
struct event_hour {
	int64_t hour; /* wall seconds / 3600 */
	uint64_t messages, signed_messages;
	uint64_t counts[QUEUE_LOG_ANY];
};
typedef void event_hours_cb(const struct event_hour *hours, size_t count, const struct err *err, void *arg);
void event_hours(struct queue *queue, const char *server, int64_t since, int64_t until, event_hours_cb *cb, void *arg);

/*
 * The next events for a receiver that has a place, by its name; none without a place. When more than `bound` events wait, the
 * oldest of them are passed over: `gap` (else NULL) says how many, and where it ends, which is to be made the place.
 */
struct event_gap {
	uint64_t skipped, until;
};
typedef void event_next_cb(const struct event_row *rows, size_t count, const struct event_gap *gap, const struct err *err,
			   void *arg);
void event_next(struct queue *queue, const char *name, const char *server, size_t bound, size_t limit, event_next_cb *cb,
		void *arg);

/* Durable when `cb` (which may be NULL) is called without err. */
typedef void event_place_cb(const struct err *err, void *arg);
void event_begin_place(struct queue *queue, const char *name, event_place_cb *cb, void *arg); /* behind what there is, if new */
void event_set_place(struct queue *queue, const char *name, uint64_t id, event_place_cb *cb, void *arg); /* it has all up to id */
void event_drop_place(struct queue *queue, const char *name, event_place_cb *cb, void *arg);

/* The day of a time, yyyymmdd in local time. */
int event_day_of(int64_t wall_ms);

#endif
