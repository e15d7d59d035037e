/* A task connection to the HSM program, which inkand starts for it. */
#ifndef INKAN_CONSOLE_TASK_H
#define INKAN_CONSOLE_TASK_H

#include "hsm/client/provision.h"
#include "provisioning/console/console.h"
#include "provisioning/console/control_client.h"

#define TASK_MS 600000 /* an HSM may take a minute for one key; a file may ask for 10 million iterations in each part */

struct task {
	struct control_client control; /* kept open until the task has ended */
	struct provision_call call;
};

/* Progress of the task is said as it comes. */
bool task_open(struct console *console, struct task *task, struct err *err) MUST_USE;
void task_close(struct task *task);

/* The keys of certificates, for a task: views into them; free `items`. */
void list_keys(const struct stored_certificates *certificates, struct worker_certificates *keys);

#endif
