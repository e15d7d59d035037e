#include "appliance/supervisor/watch.h"

#include <event2/event.h>

#include "appliance/base/log.h"

static void arm(struct watch *watch)
{
	static const struct timeval tick = {.tv_sec = WATCH_TICK_MS / 1000, .tv_usec = WATCH_TICK_MS % 1000 * 1000};

	event_add(watch->timer, &tick);
}

static void ask(struct watch *watch)
{
	struct buf payload = {0};

	msg_put_u64(&payload, ++watch->sent);
	child_send(watch->child, watch->ping, buf_bytes(&payload), -1);
	buf_clear(&payload);
	watch->unanswered++;
	arm(watch);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct watch *watch = arg;

	(void)fd;
	(void)what;
	if (watch->unanswered < WATCH_UNANSWERED_MAX) {
		ask(watch);
		return;
	}
	log_error("alarm.child-hangs", LOG_NUMBER("pid", child_pid(watch->child)),
		  LOG_NUMBER("silent_ms", WATCH_TICK_MS * WATCH_UNANSWERED_MAX));
	child_abort(watch->child, WATCH_KILL_MS);
}

void watch_answered(struct watch *watch, uint64_t number)
{
	if (number == watch->sent)
		watch->unanswered = 0;
}

void watch_init(struct watch *watch, struct event_base *base, uint16_t ping)
{
	*watch = (struct watch){.timer = evtimer_new(base, on_tick, watch), .ping = ping};
}

void watch_clear(struct watch *watch)
{
	if (watch->timer != NULL)
		event_free(watch->timer);
	*watch = (struct watch){0};
}

void watch_begin(struct watch *watch, struct child *child)
{
	watch->child = child;
	watch->unanswered = 0;
	ask(watch);
}

void watch_end(struct watch *watch)
{
	watch->child = NULL;
	event_del(watch->timer);
}
