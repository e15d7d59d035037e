#include "provisioning/console/terminal.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
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
static int wait_for_key(const sigset_t *usual)
{
	struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};

	if (interrupted) {
		errno = EINTR;
		return -1;
	}
	return ppoll(&wait, 1, NULL, usual);
}

enum terminal_event terminal_wait(void)
{
	sigset_t held, usual;
	int ready;

	if (!watching || !isatty(STDIN_FILENO))
		return hung_up ? TERMINAL_HUNG_UP : TERMINAL_INPUT;
	sigemptyset(&held);
	sigaddset(&held, SIGINT);
	sigaddset(&held, SIGHUP);
	sigaddset(&held, SIGTERM);
	sigprocmask(SIG_BLOCK, &held, &usual);
	do
		ready = wait_for_key(&usual);
	while (ready < 0 && errno == EINTR && !interrupted); /* another signal: SIGWINCH, SIGCONT */
	sigprocmask(SIG_SETMASK, &usual, NULL);
	if (interrupted)
		return what_came();
	return TERMINAL_INPUT;
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
