/*
 * A watch on the event loop of a child: it is asked every WATCH_TICK_MS whether it still turns; one that has not answered
 * WATCH_UNANSWERED_MAX times is ended by SIGABRT, and by SIGKILL where that does not help, and then started again like any
 * that died. Questions are counted, not seconds: a machine that was stopped as a whole kills nobody.
 */
#ifndef INKAN_SUPERVISOR_WATCH_H
#define INKAN_SUPERVISOR_WATCH_H

#include "appliance/supervisor/child.h"

#define WATCH_TICK_MS 2000
#define WATCH_UNANSWERED_MAX 8
#define WATCH_KILL_MS 3000 /* from SIGABRT to SIGKILL */

struct watch {
	struct child *child; /* NULL: nobody is watched */
	struct event *timer;
	uint16_t ping; /* type of the frame: u64 number */
	uint64_t sent;
	unsigned unanswered;
};

void watch_init(struct watch *watch, struct event_base *base, uint16_t ping);
void watch_clear(struct watch *watch);
void watch_begin(struct watch *watch, struct child *child); /* one that is ready */
void watch_end(struct watch *watch); /* it is to stop, or has ended */
void watch_answered(struct watch *watch, uint64_t number);

#endif
