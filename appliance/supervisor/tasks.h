/* Provisioning tasks: each is one process of inkan-hsm in role provision, which talks to the console directly. */
#ifndef INKAN_SUPERVISOR_TASKS_H
#define INKAN_SUPERVISOR_TASKS_H

#include <stddef.h>

#include "appliance/supervisor/request.h"

#define TASKS_MAX 4 /* at once */
#define TASK_DEADLINE_MS 600000 /* killed then */
#define TASK_LOGIN_MS 3000 /* that others wait at most with their login for a task that has not said that its own is past */
#define TASK_WAIT_FOR_WORKER_MS 8000 /* a task waits so long for a worker that is logging in (workers.h says why) */

struct event;
struct supervisor;
struct task;

struct tasks {
	struct task **items; /* running or waiting */
	size_t count;
};

/* Answered with the console's end of the task connection. */
void tasks_begin(struct supervisor *supervisor, const struct request *request);
bool tasks_logging_in(const struct supervisor *supervisor);
void tasks_go_on(struct supervisor *supervisor); /* no worker is logging in any more */
void tasks_stop(struct supervisor *supervisor); /* none begins; running ones get a short grace */
size_t tasks_alive(const struct supervisor *supervisor);
void tasks_clear(struct supervisor *supervisor);

#endif
