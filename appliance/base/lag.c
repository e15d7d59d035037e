#include "appliance/base/lag.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "appliance/base/bytes.h"

#define SCHEDSTAT "/proc/thread-self/schedstat"

struct lag {
	struct event *timer;
	int schedstat; /* -1: the kernel has none */
	int64_t due_us;
	int64_t waited_us; /* for a processor, ever, at the last tick */
	unsigned alarm_ms;
	unsigned worst_ms;
	lag_cb *cb;
	void *arg;
};

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* "RUNNING WAITING TIMES": nanoseconds. */
static int64_t waited_us(const struct lag *lag)
{
	char text[96], *end;
	ssize_t got = lag->schedstat >= 0 ? pread(lag->schedstat, text, sizeof text - 1, 0) : 0;

	if (got <= 0)
		return 0;
	text[got] = '\0';
	(void)strtoull(text, &end, 10);
	return (int64_t)(strtoull(end, NULL, 10) / 1000);
}

static void arm(struct lag *lag)
{
	static const struct timeval tick = {.tv_usec = LAG_TICK_MS * 1000};

	lag->due_us = now_us() + LAG_TICK_MS * 1000;
	event_add(lag->timer, &tick);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct lag *lag = arg;
	int64_t late_us = now_us() - lag->due_us, waited = waited_us(lag);
	int64_t kept_us = late_us - (waited - lag->waited_us);
	unsigned ms = kept_us > 0 ? (unsigned)(kept_us / 1000) : 0;

	(void)fd;
	(void)what;
	lag->waited_us = waited;
	if (ms > lag->worst_ms)
		lag->worst_ms = ms;
	if (ms >= lag->alarm_ms)
		lag->cb(ms, (unsigned)(late_us / 1000), lag->arg);
	arm(lag);
}

struct lag *lag_new(struct event_base *base, unsigned alarm_ms, lag_cb *cb, void *arg)
{
	struct lag *lag = mem_new(sizeof *lag);

	lag->schedstat = open(SCHEDSTAT, O_RDONLY | O_CLOEXEC);
	lag->alarm_ms = alarm_ms;
	lag->cb = cb;
	lag->arg = arg;
	lag->timer = evtimer_new(base, on_tick, lag);
	lag->waited_us = waited_us(lag);
	arm(lag);
	return lag;
}

void lag_free(struct lag *lag)
{
	if (lag == NULL)
		return;
	event_free(lag->timer);
	if (lag->schedstat >= 0)
		close(lag->schedstat);
	free(lag);
}

unsigned lag_take_worst_ms(struct lag *lag)
{
	unsigned worst_ms = lag->worst_ms;

	lag->worst_ms = 0;
	return worst_ms;
}
