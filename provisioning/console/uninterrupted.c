#include "provisioning/console/uninterrupted.h"

#include <stddef.h>

#include "provisioning/console/terminal.h"

void uninterrupted_begin(sigset_t *before)
{
	static const int signals[] = {SIGINT, SIGHUP, SIGTERM, SIGQUIT, SIGTSTP};
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		sigaddset(&held, signals[i]);
	sigprocmask(SIG_BLOCK, &held, before);
	terminal_shield(true);
}

void uninterrupted_end(const sigset_t *before)
{
	terminal_shield(false);
	sigprocmask(SIG_SETMASK, before, NULL);
}
