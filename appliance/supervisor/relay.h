/* The relay as inkand's child: started with the listening sockets, the applied configuration and the ready workers. */
#ifndef INKAN_SUPERVISOR_RELAY_H
#define INKAN_SUPERVISOR_RELAY_H

#include "appliance/base/secret.h"
#include "appliance/supervisor/backoff.h"
#include "appliance/supervisor/child.h"
#include "appliance/supervisor/listeners.h"
#include "appliance/supervisor/watch.h"

struct event;
struct supervisor;
struct worker;

enum relay_state {
	RELAY_STOPPED,
	RELAY_WAITING, /* for its next start */
	RELAY_STARTING, /* not ready yet */
	RELAY_RUNNING,
	RELAY_STOPPING
};

/* `refused` is NULL when the relay runs (or, check only, would run) the configuration. */
typedef void relay_configured_cb(const struct err *refused, void *arg);

struct relay_answer {
	relay_configured_cb *cb; /* NULL: only logged */
	void *arg;
};

struct relay {
	struct supervisor *supervisor;
	enum relay_state state;
	struct child *child; /* while there is a process */
	struct event *start_timer;
	int64_t start_at_ms; /* RELAY_WAITING; monotonic */
	int64_t ready_at_ms; /* 0: not ready */
	struct backoff backoff;
	uint32_t restarts;
	char last_error[ERR_TEXT_MAX];
	struct watch watch; /* while it runs */
	uint32_t held_up_ms; /* its event loop, as it last said */
	char *suspended; /* why its circuit breaker is open; NULL: it is not */
	char *told_locked; /* why signing is locked, as it was told ("" unlocked); NULL: not yet */
	struct relay_answer *answers; /* RELAY_CONFIGURED frames to come, in order */
	size_t n_answers;
};

void relay_init(struct supervisor *supervisor);
void relay_clear(struct supervisor *supervisor);

void relay_start(struct supervisor *supervisor); /* now, whatever the back-off says */
void relay_stop(struct supervisor *supervisor); /* supervisor_relay_stopped follows when it has ended */
bool relay_has_process(const struct supervisor *supervisor);

/* The frames of relay.h; without a process they are dropped, since a start sends everything anew. */
void relay_send_listeners(struct supervisor *supervisor, const struct listeners *listeners);
void relay_send_worker(struct supervisor *supervisor, const struct worker *worker, int fd); /* takes fd */
void relay_send_locked(struct supervisor *supervisor); /* when it changed */
void relay_send_password(struct supervisor *supervisor, const char *sealed, const struct secret *password);
bool relay_send_console(struct supervisor *supervisor, int fd, struct err *err) MUST_USE; /* takes fd */

/* `cb` follows once, also when the relay dies. Only with a process. */
void relay_configure(struct supervisor *supervisor, const struct snapshot *snapshot, bool check, relay_configured_cb *cb,
		     void *arg);
void relay_configure_cancel(struct supervisor *supervisor, const void *arg); /* no callback with this arg follows */

#endif
