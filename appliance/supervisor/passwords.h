/*
 * The passwords of next hops. The configuration holds them sealed under a key of the token; with the PIN there, a provisioning
 * task opens each once, and the relay gets it. They stay here, in locked memory, for a relay that is restarted,
 * until an operator logs out.
 */
#ifndef INKAN_SUPERVISOR_PASSWORDS_H
#define INKAN_SUPERVISOR_PASSWORDS_H

#include <stdbool.h>
#include <stddef.h>

struct channel;
struct event;
struct supervisor;

#define PASSWORDS_RETRY_MS 30000 /* after a task that could not be done */

struct passwords {
	struct password *items; /* those that the running configuration means */
	size_t count;
	bool asking; /* a task is asked for or runs */
	size_t asked; /* the item it is about */
	struct channel *task;
	struct event *retry;
};

void passwords_init(struct supervisor *supervisor);
void passwords_clear(struct supervisor *supervisor); /* wipes */

void passwords_forget(
    struct supervisor *supervisor); /* wipes what was opened, drops what is being opened: an operator logs out */

/* Another configuration, a PIN, or another relay: it gets what is known (`again`: all of it), and the rest is opened. */
void passwords_follow(struct supervisor *supervisor, bool again);

#endif
