#include "provisioning/console/terminal.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "appliance/base/frame.h"

#define ROWS 24
#define COLUMNS 80
#define ROWS_LEAST 4
#define COLUMNS_LEAST 20

static volatile sig_atomic_t interrupted, hung_up;
static bool watching;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

static void on_end(int number)
{
	(void)number;
	hung_up = 1;
	interrupted = 1;
}

void terminal_watch(struct terminal_signals *before)
{
	const struct sigaction interrupt = {.sa_handler = on_interrupt}, end = {.sa_handler = on_end}; /* no SA_RESTART */

	before->watched = watching;
	sigaction(SIGINT, &interrupt, &before->interrupt);
	sigaction(SIGHUP, &end, &before->hang_up);
	sigaction(SIGTERM, &end, &before->terminate);
	frame_set_interrupt(&interrupted);
	watching = true;
}

void terminal_unwatch(const struct terminal_signals *before)
{
	sigaction(SIGINT, &before->interrupt, NULL);
	sigaction(SIGHUP, &before->hang_up, NULL);
	sigaction(SIGTERM, &before->terminate, NULL);
	watching = before->watched;
	if (!watching)
		frame_set_interrupt(NULL);
}

void terminal_shield(bool shielded)
{
	frame_set_interrupt(watching && !shielded ? &interrupted : NULL);
}

static enum terminal_event what_came(void)
{
	return hung_up ? TERMINAL_HUNG_UP : TERMINAL_INTERRUPTED;
}

/* The signals are let through in the wait alone, so that none comes between the look and the wait. */
static int wait_for_key(const sigset_t *usual, const struct timespec *timeout)
{
	struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};

	if (interrupted) {
		errno = EINTR;
		return -1;
	}
	return ppoll(&wait, 1, timeout, usual);
}

/* ---- nobody there ---- */

#define IDLE_STRIKE_MS 50 /* until a read is known to have ended */

static volatile sig_atomic_t idle;
static int64_t idle_limit_s, idle_since_s;
static int idle_depth;

static int64_t wall_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static void strike_in(int64_t ms, int64_t again_ms)
{
	const struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000},
					.it_interval = {.tv_sec = again_ms / 1000, .tv_usec = again_ms % 1000 * 1000}};

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void on_struck(int number)
{
	(void)number;
}

/* While keys come a read goes on by itself; when none came it is broken off. Calls only what a handler may call. */
static void on_alarm(int number)
{
	const struct sigaction breaking = {.sa_handler = on_struck}; /* no SA_RESTART */
	int saved = errno;
	int64_t since_s = idle_since_s, left_s;
	struct stat status;

	(void)number;
	if (fstat(STDIN_FILENO, &status) == 0 && status.st_atim.tv_sec > since_s)
		since_s = status.st_atim.tv_sec;
	left_s = since_s + idle_limit_s - wall_seconds();
	if (left_s > 0) {
		strike_in((left_s < idle_limit_s ? left_s : idle_limit_s) * 1000, 0);
	} else {
		idle = 1;
		hung_up = 1;
		interrupted = 1;
		sigaction(SIGALRM, &breaking, NULL);
		strike_in(IDLE_STRIKE_MS, IDLE_STRIKE_MS);
	}
	errno = saved;
}

void terminal_set_idle(int64_t ms)
{
	idle_limit_s = (ms + 999) / 1000;
}

void terminal_idle_begin(void)
{
	const struct sigaction watch = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};

	if (idle_limit_s <= 0 || idle_depth++ > 0)
		return;
	idle_since_s = wall_seconds();
	sigaction(SIGALRM, &watch, NULL);
	strike_in(idle_limit_s * 1000, 0);
}

void terminal_idle_end(void)
{
	const struct sigaction none = {.sa_handler = SIG_IGN};

	if (idle_depth == 0 || --idle_depth > 0)
		return;
	strike_in(0, 0);
	sigaction(SIGALRM, &none, NULL);
}

bool terminal_was_idle(void)
{
	return idle;
}

/* ---- a key ---- */

static int wait_with_signals(const struct timespec *timeout)
{
	sigset_t held, usual;
	int ready;

	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGHUP);
	sigaddset(&held, SIGTERM);
	sigaddset(&held, SIGALRM);
	terminal_idle_begin();
	sigprocmask(SIG_BLOCK, &held, &usual);
	do
		ready = wait_for_key(&usual, timeout);
	while (ready < 0 && errno == EINTR && !interrupted); /* another signal: SIGWINCH, SIGCONT */
	sigprocmask(SIG_SETMASK, &usual, NULL);
	terminal_idle_end();
	return ready;
}

enum terminal_event terminal_wait(void)
{
	if (!watching || !isatty(STDIN_FILENO))
		return hung_up ? TERMINAL_HUNG_UP : TERMINAL_INPUT;
	(void)wait_with_signals(NULL);
	return interrupted ? what_came() : TERMINAL_INPUT;
}

bool terminal_wait_for(int timeout_ms, enum terminal_event *event)
{
	const struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	int ready = wait_with_signals(&timeout);

	*event = interrupted ? what_came() : TERMINAL_INPUT;
	return interrupted || ready > 0;
}

static bool names_locale(void)
{
	static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
		const char *value = getenv(variables[i]);

		if (value != NULL && *value != '\0')
			return true;
	}
	return false;
}

static bool shows_utf8;

void terminal_set_locale(void)
{
	bool named = names_locale() && setlocale(LC_CTYPE, "") != NULL;

	shows_utf8 = named && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	if (!named)
		setlocale(LC_CTYPE, "C.UTF-8");
}

bool terminal_shows_utf8(void)
{
	return shows_utf8;
}

bool terminal_interrupted(void)
{
	return interrupted;
}

void terminal_begin_line(void)
{
	interrupted = hung_up;
}

bool terminal_is_over(void)
{
	return hung_up;
}

struct terminal_size terminal_size(void)
{
	struct winsize window = {0};
	struct terminal_size size = {ROWS, COLUMNS};

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0)
		return size;
	if (window.ws_row >= ROWS_LEAST)
		size.rows = window.ws_row;
	if (window.ws_col >= COLUMNS_LEAST)
		size.columns = window.ws_col;
	return size;
}
