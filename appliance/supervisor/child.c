#include "appliance/supervisor/child.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/log.h"
#include "appliance/supervisor/child_exec.h"

#define LAST_MESSAGES_MS 200 /* wait for the channel's end when the process is gone: a grandchild may hold it open */
#define CLOSED_CHANNEL_MS 30000 /* a process that lives on without its channel is killed then */

struct child {
	pid_t pid;
	int pidfd;
	struct child_events events;
	struct channel *channel;
	struct event *exited_event;
	struct event *settle_timer;
	struct event *kill_timer;
	bool channel_closed;
	bool exited;
	struct child_end end;
};

static struct timeval timeval_of_ms(int64_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

void child_forget(struct child *child)
{
	if (child == NULL)
		return;
	event_free(child->exited_event);
	event_free(child->settle_timer);
	event_free(child->kill_timer);
	channel_free(child->channel);
	close(child->pidfd);
	free(child);
}

static void finish(struct child *child)
{
	child->events.ended(&child->end, child->events.arg);
	child_forget(child);
}

static void on_settled(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	finish(arg);
}

static void on_kill_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;

	(void)fd;
	(void)what;
	if (!child->exited)
		(void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
}

static void on_exited(evutil_socket_t fd, short what, void *arg)
{
	struct child *child = arg;
	struct timeval settle = timeval_of_ms(LAST_MESSAGES_MS);
	siginfo_t info = {0};

	(void)what;
	if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0)
		return;
	event_del(child->exited_event);
	child->exited = true;
	if (info.si_code == CLD_EXITED)
		child->end = (struct child_end){.code = info.si_status};
	else
		child->end = (struct child_end){.code = -1, .signal = info.si_status};
	if (child->channel_closed)
		finish(child);
	else
		event_add(child->settle_timer, &settle);
}

static void on_channel_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct child *child = arg;

	child->events.message(channel, type, msg, fd, child->events.arg);
}

static void on_channel_closed(struct channel *channel, const struct err *why, void *arg)
{
	struct child *child = arg;

	(void)channel;
	child->channel_closed = true;
	if (child->exited) {
		finish(child);
		return;
	}
	if (why->code != ERR_UNAVAILABLE)
		log_error("child.channel", LOG_NUMBER("pid", child->pid), LOG_ERR(why));
	if (!event_pending(child->kill_timer, EV_TIMEOUT, NULL))
		child_kill_after(child, CLOSED_CHANNEL_MS);
}

static struct child *watch(struct event_base *base, pid_t pid, int pidfd, int control, const struct child_events *events)
{
	struct child *child = mem_new(sizeof *child);

	child->pid = pid;
	child->pidfd = pidfd;
	child->events = *events;
	child->channel = channel_new(base, control, on_channel_message, on_channel_closed, child);
	child->exited_event = event_new(base, pidfd, EV_READ | EV_PERSIST, on_exited, child);
	child->settle_timer = evtimer_new(base, on_settled, child);
	child->kill_timer = evtimer_new(base, on_kill_timer, child);
	event_add(child->exited_event, NULL);
	return child;
}

struct child *child_spawn(struct event_base *base, const struct child_program *program, const struct child_events *events,
			  struct err *err)
{
	int control[2], pidfd;
	pid_t pid;

	if (!frame_socketpair(control, false, err))
		return NULL;
	pid = child_exec(program, control[1], err);
	close(control[1]);
	if (pid < 0) {
		close(control[0]);
		return NULL;
	}
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		err_errno(err, "pidfd_open");
		close(control[0]);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return NULL;
	}
	return watch(base, pid, pidfd, control[0], events);
}

void child_send(struct child *child, uint16_t type, struct bytes payload, int pass_fd)
{
	channel_send(child->channel, type, payload, pass_fd);
}

pid_t child_pid(const struct child *child)
{
	return child->pid;
}

void child_kill_after(struct child *child, int64_t ms)
{
	struct timeval after = timeval_of_ms(ms);

	if (ms < 0)
		event_del(child->kill_timer);
	else
		event_add(child->kill_timer, &after);
}

void child_abort(struct child *child, int64_t ms)
{
	if (!child->exited)
		(void)pidfd_send_signal(child->pidfd, SIGABRT, NULL, 0);
	child_kill_after(child, ms);
}

void child_end_text(const struct child_end *end, char *out, size_t size)
{
	if (end->signal != 0)
		snprintf(out, size, "killed by signal %d (%s)", end->signal, strsignal(end->signal));
	else
		snprintf(out, size, "exit code %d", end->code);
}
