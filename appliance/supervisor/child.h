/*
 * A child process with its control channel (CHILD_CONTROL_FD): fork, privileges dropped, exec, and an eye on its end.
 * Everything but descriptors 0 to 3 is closed in the child, its environment holds what `child_environment` names, and
 * it leads a session of its own. Loop's thread.
 */
#ifndef INKAN_SUPERVISOR_CHILD_H
#define INKAN_SUPERVISOR_CHILD_H

#include <sys/types.h>

#include "appliance/base/channel.h"

struct child;

/* The user that a program runs as. */
struct run_as {
	uid_t uid;
	gid_t gid;
	bool change; /* false: as inkand itself */
};

struct child_program {
	const char *path;
	const char *const *arguments; /* NULL-terminated; the first is the program's name */
	struct run_as run_as;
	int death_signal; /* what the kernel sends it when inkand dies, 0: it sees the end of its channel */
};

struct child_end {
	int code; /* exit code, or -1 */
	int signal; /* that killed it, or 0 */
};

/* `ended` is called once, after the last message; the child is freed when it returns. */
struct child_events {
	channel_message_cb *message;
	void (*ended)(const struct child_end *end, void *arg);
	void *arg;
};

struct child *child_spawn(struct event_base *base, const struct child_program *program, const struct child_events *events,
			  struct err *err);

/* One frame on its control channel; pass_fd is -1 or a descriptor whose ownership goes along. */
void child_send(struct child *child, uint16_t type, struct bytes payload, int pass_fd);

pid_t child_pid(const struct child *child);
void child_kill_after(struct child *child, int64_t ms); /* SIGKILL then; a later call replaces the time, -1 takes it back */
void child_abort(struct child *child, int64_t ms); /* SIGABRT now, SIGKILL after that time */
void child_forget(struct child *child); /* no callback follows; the process is left alone. NULL is fine */

/* "exit code 12", "killed by signal 9 (Killed)" */
void child_end_text(const struct child_end *end, char *out, size_t size);

#endif
