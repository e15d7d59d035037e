/*
 * The end of every attempt: turns a settled group into results for the queue. Deferred recipients get their next due time or,
 * when the lifetime is over, fail; recipients that fail are bounced to the sender in the same transaction; each result is one log
 * line. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_REPORTER_H
#define INKAN_RELAY_DELIVERY_REPORTER_H

#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/delivery/group.h"

struct reporter;

struct reporter_events {
	void (*handed_over)(size_t recipients, void *arg); /* so many are the queue's now; also from within the calls below */
	void (*stored)(void *arg); /* a report is on disk, or lost with the store */
};

struct reporter *reporter_new(struct event_base *base, struct queue *queue, const struct reporter_events *events, void *arg);
void reporter_configure(struct reporter *reporter, struct config *config); /* references it */

/* Takes a group whose recipients are all settled. */
void reporter_take(struct reporter *reporter, struct group *group);

/*
 * Gives recipients back untried until `due_ms` (wall), since there is too much work in hand already. The queue counts it as an
 * attempt, so their next wait may be a longer one of the schedule.
 */
void reporter_postpone(struct reporter *reporter, struct group *group, int64_t due_ms, const char *why);

/* Groups not yet handed over, or handed over and not yet on disk. */
size_t reporter_unfinished(const struct reporter *reporter);

/* Adds the totals of results to *state. */
void reporter_state(const struct reporter *reporter, struct delivery_state *state);

/* What is unfinished is dropped: it will be delivered again. NULL is fine. */
void reporter_free(struct reporter *reporter);

#endif
