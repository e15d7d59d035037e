#include <event2/event.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/lag.h"
#include "tests/unit/test.h"

#define ALARM_MS 20

static struct event_base *base;
static unsigned alarms, worst_alarm_ms;

static void on_lag(unsigned ms, unsigned late_ms, void *arg)
{
	(void)arg;
	CHECK(late_ms >= ms);
	alarms++;
	if (ms > worst_alarm_ms)
		worst_alarm_ms = ms;
}

static void stop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	event_base_loopbreak(base);
}

static void sleep_60_ms(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	usleep(60000);
}

static int64_t cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void compute_60_ms(evutil_socket_t fd, short what, void *arg)
{
	int64_t end = cpu_ms() + 60;

	(void)fd;
	(void)what;
	(void)arg;
	while (cpu_ms() < end)
		;
}

static void in_ms(int ms, event_callback_fn call)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_once(base, -1, EV_TIMEOUT, call, NULL, &delay);
}

/* The worst that the gauge shows of a loop that runs for 300 ms with this call in it. */
static unsigned worst_with(event_callback_fn call)
{
	struct lag *lag;
	unsigned worst;

	base = event_base_new();
	alarms = worst_alarm_ms = 0;
	lag = lag_new(base, ALARM_MS, on_lag, NULL);
	if (call != NULL)
		in_ms(100, call);
	in_ms(300, stop);
	event_base_dispatch(base);
	worst = lag_take_worst_ms(lag);
	CHECK_INT(lag_take_worst_ms(lag), 0);
	lag_free(lag);
	event_base_free(base);
	return worst;
}

static void a_free_loop_shows_nothing(void)
{
	CHECK(worst_with(NULL) < ALARM_MS);
	CHECK_INT(alarms, 0);
}

static void a_callback_that_waits_shows(void)
{
	CHECK(worst_with(sleep_60_ms) >= 60 - LAG_TICK_MS - 1);
	CHECK(alarms >= 1 && worst_alarm_ms >= 60 - LAG_TICK_MS - 1);
}

static void a_callback_that_computes_shows(void)
{
	CHECK(worst_with(compute_60_ms) >= 60 - LAG_TICK_MS - 1);
	CHECK(alarms >= 1);
}

/* Processes that compete for this one's processor, with more weight than it has. */
static void a_busy_machine_does_not_show(void)
{
	pid_t others[4];
	cpu_set_t all, one;

	sched_getaffinity(0, sizeof all, &all);
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof one, &one);
	for (int i = 0; i < 4; i++) {
		others[i] = fork();
		if (others[i] == 0) {
			for (;;)
				(void)cpu_ms();
		}
	}
	usleep(50000);
	CHECK(worst_with(NULL) < ALARM_MS);
	for (int i = 0; i < 4; i++) {
		kill(others[i], SIGKILL);
		waitpid(others[i], NULL, 0);
	}
	sched_setaffinity(0, sizeof all, &all);
}

int main(void)
{
	TEST(a_free_loop_shows_nothing);
	TEST(a_callback_that_waits_shows);
	TEST(a_callback_that_computes_shows);
	TEST(a_busy_machine_does_not_show);
	return test_finish();
}
