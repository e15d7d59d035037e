/*
 * `commit confirmed`: the running revision may wait for a confirmation until a wall time that inkan.db names. When the time is
 * over the console's program (`inkan -R`), which may write there, commits a copy of the revision before; inkand only watches the
 * clock. Where that program fails, the revision before runs all the same, and it is tried again. Loop's thread.
 */
#ifndef INKAN_SUPERVISOR_CONFIRM_H
#define INKAN_SUPERVISOR_CONFIRM_H

#include "appliance/base/err.h"

#define CONFIRM_LOOK_MS 5000 /* inkan.db is looked at so often while a revision waits; it is confirmed there */
#define CONFIRM_AGAIN_MS 30000 /* after a failure */
#define CONFIRM_PROGRAM_MS 600000 /* it waits for another's commit */

struct child;
struct configuration;
struct event;
struct supervisor;

struct confirm {
	struct event *timer;
	struct child *program; /* or NULL */
};

void confirm_init(struct supervisor *supervisor);
void confirm_clear(struct supervisor *supervisor);

/* At the start: what is to run, which is not the revision that runs by inkan.db when its time was over meanwhile. */
struct configuration *confirm_load(const char *state, struct err *err);

/* Another revision runs. */
void confirm_follow(struct supervisor *supervisor);

#endif
