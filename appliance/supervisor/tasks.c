#include "appliance/supervisor/tasks.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

#define STOP_GRACE_MS 15000 /* of a task when inkand ends */
#define STOP_LOGIN_GRACE_MS 50000 /* of one that may be logging in: a kill within a login can destroy a token */

struct task {
	struct supervisor *supervisor;
	struct request request; /* until it has begun */
	struct child *child; /* once it has begun */
	bool with_pin; /* it was given the PIN */
	bool login_is_past; /* it said so */
	int64_t begun_ms;
	struct event *wait_timer;
};

static void task_free(struct task *task)
{
	child_forget(task->child);
	event_free(task->wait_timer);
	free(task);
}

static void drop(struct task *task)
{
	struct tasks *tasks = &task->supervisor->tasks;

	for (size_t i = 0; i < tasks->count; i++) {
		if (tasks->items[i] == task) {
			tasks->items[i] = tasks->items[--tasks->count];
			break;
		}
	}
	task_free(task);
}

void tasks_clear(struct supervisor *supervisor)
{
	struct tasks *tasks = &supervisor->tasks;

	while (tasks->count > 0)
		drop(tasks->items[0]);
	free(tasks->items);
	*tasks = (struct tasks){0};
}

static void let_others_log_in(struct supervisor *supervisor)
{
	tasks_go_on(supervisor);
	workers_go_on(supervisor);
}

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct task *task = arg;

	(void)channel;
	(void)msg;
	if (fd >= 0)
		close(fd);
	if (type == WORKER_FRAME_LOGGED_IN) {
		task->login_is_past = true;
		if (task->supervisor->stopping)
			child_kill_after(task->child, STOP_GRACE_MS);
		let_others_log_in(task->supervisor);
	}
}

static void on_ended(const struct child_end *end, void *arg)
{
	struct task *task = arg;
	struct supervisor *supervisor = task->supervisor;
	char how[ERR_TEXT_MAX];
	bool rejected;

	child_end_text(end, how, sizeof how);
	if (end->code == 0)
		log_info("task.ended", LOG_NUMBER("pid", child_pid(task->child)), LOG_TEXT("how", how));
	else
		log_warning("task.ended", LOG_NUMBER("pid", child_pid(task->child)), LOG_TEXT("how", how));
	rejected = task->with_pin && end->code == WORKER_EXIT_PIN_REJECTED && pin_usable(&supervisor->pin);
	task->child = NULL;
	drop(task);
	if (rejected)
		login_rejected(supervisor, "the token rejected the PIN in a provisioning task");
	let_others_log_in(supervisor);
	login_worker_ended(supervisor);
	supervisor_child_gone(supervisor);
}

/* A PIN that no worker has logged in with yet is not tried by a second process. */
static void send_start(struct task *task, int connection)
{
	struct supervisor *supervisor = task->supervisor;
	struct worker_start start = {.settings = supervisor->running->hsm,
				     .has_pin = supervisor->pin.state == PIN_HELD && supervisor->pin.secret != NULL};
	struct buf payload = {0};

	task->with_pin = start.has_pin;
	if (start.has_pin)
		start.pin = secret_bytes(supervisor->pin.secret);
	worker_start_encode(&payload, &start);
	child_send(task->child, WORKER_FRAME_START, buf_bytes(&payload), connection);
	buf_wipe_clear(&payload);
}

static void begin(struct task *task)
{
	struct supervisor *supervisor = task->supervisor;
	struct child_events events = {.message = on_message, .ended = on_ended, .arg = task};
	struct timeval login = {.tv_sec = TASK_LOGIN_MS / 1000};
	struct err err;
	int pair[2];

	event_del(task->wait_timer);
	if (!frame_socketpair(pair, false, &err)) {
		request_answer(&task->request, &err, -1);
		drop(task);
		return;
	}
	task->child = supervisor_spawn(supervisor, "inkan-hsm", "provision", 0, &events, &err);
	if (task->child == NULL) {
		log_error("task.start", LOG_ERR(&err));
		close(pair[0]);
		close(pair[1]);
		request_answer(&task->request, &err, -1);
		drop(task);
		return;
	}
	log_info("task.started", LOG_NUMBER("pid", child_pid(task->child)));
	child_kill_after(task->child, TASK_DEADLINE_MS);
	send_start(task, pair[0]);
	task->begun_ms = clock_monotonic_ms();
	if (task->with_pin)
		event_add(task->wait_timer, &login);
	request_answer(&task->request, NULL, pair[1]);
}

static void on_wait_timer(evutil_socket_t fd, short what, void *arg)
{
	struct task *task = arg;

	(void)fd;
	(void)what;
	if (task->child == NULL)
		begin(task);
	else
		let_others_log_in(task->supervisor);
}

static struct task *add(struct supervisor *supervisor, const struct request *request)
{
	struct tasks *tasks = &supervisor->tasks;
	struct task *task = mem_new(sizeof *task);

	task->supervisor = supervisor;
	task->request = *request;
	task->wait_timer = evtimer_new(supervisor->base, on_wait_timer, task);
	tasks->items = mem_resize(tasks->items, tasks->count + 1, sizeof *tasks->items);
	tasks->items[tasks->count++] = task;
	return task;
}

static bool may_begin(const struct supervisor *supervisor, struct err *err)
{
	if (supervisor->stopping)
		return err_set(err, ERR_UNAVAILABLE, "inkand is stopping");
	if (!configuration_has_hsm(supervisor->running))
		return err_set(err, ERR_INVALID, "no HSM is configured: set hsm module and hsm token, then commit");
	if (supervisor->tasks.count >= TASKS_MAX)
		return err_set(err, ERR_LIMIT, "%d provisioning tasks are running already", TASKS_MAX);
	return true;
}

void tasks_begin(struct supervisor *supervisor, const struct request *request)
{
	struct timeval patience = {.tv_sec = TASK_WAIT_FOR_WORKER_MS / 1000};
	struct request asked = *request;
	struct task *task;
	struct err err;

	if (!may_begin(supervisor, &err)) {
		request_answer(&asked, &err, -1);
		return;
	}
	task = add(supervisor, request);
	if (workers_starting(supervisor) || tasks_logging_in(supervisor))
		event_add(task->wait_timer, &patience);
	else
		begin(task);
}

bool tasks_logging_in(const struct supervisor *supervisor)
{
	const struct tasks *tasks = &supervisor->tasks;
	int64_t now_ms = clock_monotonic_ms();

	for (size_t i = 0; i < tasks->count; i++) {
		const struct task *task = tasks->items[i];

		if (task->child != NULL && task->with_pin && !task->login_is_past && now_ms - task->begun_ms < TASK_LOGIN_MS)
			return true;
	}
	return false;
}

void tasks_go_on(struct supervisor *supervisor)
{
	struct tasks *tasks = &supervisor->tasks;

	for (size_t i = tasks->count; i > 0 && !workers_starting(supervisor) && !tasks_logging_in(supervisor);
	     i--) /* backwards: begin may drop the one it is given */
		if (tasks->items[i - 1]->child == NULL)
			begin(tasks->items[i - 1]);
}

void tasks_stop(struct supervisor *supervisor)
{
	struct tasks *tasks = &supervisor->tasks;
	struct err stopping;

	err_set(&stopping, ERR_UNAVAILABLE, "inkand is stopping");
	for (size_t i = tasks->count; i > 0; i--) {
		struct task *task = tasks->items[i - 1];

		if (task->child != NULL) {
			child_kill_after(task->child,
					 task->with_pin && !task->login_is_past ? STOP_LOGIN_GRACE_MS : STOP_GRACE_MS);
			continue;
		}
		request_answer(&task->request, &stopping, -1);
		drop(task);
	}
}

size_t tasks_alive(const struct supervisor *supervisor)
{
	return supervisor->tasks.count;
}
