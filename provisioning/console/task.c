#include "provisioning/console/task.h"

#include <unistd.h>

#include "appliance/base/clock.h"

static void say_progress(const char *text, void *arg)
{
	console_say(arg, "%s", text);
}

bool task_open(struct console *console, struct task *task, struct err *err)
{
	struct task opened = {.call = {.progress = say_progress, .arg = console}};

	if (!control_open(&opened.control, console->state, err))
		return false;
	if (!control_provision(&opened.control, &opened.call.fd, err)) {
		control_close(&opened.control);
		return false;
	}
	opened.call.deadline_ms = clock_monotonic_ms() + TASK_MS;
	*task = opened;
	return true;
}

void task_close(struct task *task)
{
	close(task->call.fd);
	control_close(&task->control);
}
