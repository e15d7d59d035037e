/*
 * What the files of inkand share. Each part has a header of its own and is changed by its own file alone; all of it
 * lives on the one event loop.
 */
#ifndef INKAN_SUPERVISOR_PRIVATE_H
#define INKAN_SUPERVISOR_PRIVATE_H

#include "appliance/supervisor/apply.h"
#include "appliance/supervisor/configuration.h"
#include "appliance/supervisor/confirm.h"
#include "appliance/supervisor/control_socket.h"
#include "appliance/supervisor/listeners.h"
#include "appliance/supervisor/login.h"
#include "appliance/supervisor/passwords.h"
#include "appliance/supervisor/pin.h"
#include "appliance/supervisor/relay.h"
#include "appliance/supervisor/supervisor.h"
#include "appliance/supervisor/tasks.h"
#include "appliance/supervisor/workers.h"
#include "provisioning/store/audit_journal.h"

struct supervisor {
	struct event_base *base;
	const struct supervisor_options *options;
	int64_t started; /* wall seconds */
	struct configuration *running; /* applied; never NULL */
	struct configuration *previous; /* the one before, which mail in flight may still need; or NULL */
	struct listeners listeners;
	struct pin pin;
	struct relay relay;
	struct workers workers;
	struct login login;
	struct apply *apply; /* the one under way, or NULL */
	struct tasks tasks;
	struct passwords passwords;
	struct confirm confirm;
	struct control control;
	struct audit_journal audit; /* what happened, for the audit (audit_journal.h) */
	bool stopping;
	bool upgrading; /* stopping, to execute the program anew */
};

/* Mail that needs a signature is put off at once: no worker is ready and none may log in. *why is valid until a change. */
bool supervisor_locked(const struct supervisor *supervisor, const char **why);

void supervisor_stop(struct supervisor *supervisor); /* orderly: the relay first, then the workers */
void supervisor_upgrade(struct supervisor *supervisor); /* the same, and executes the program anew */
void supervisor_child_gone(struct supervisor *supervisor); /* goes on with stopping, when that is under way */

/* A child process of the given program: "inkan-relay" or "inkan-hsm". */
struct child *supervisor_spawn(struct supervisor *supervisor, const char *program, const char *role, int death_signal,
			       const struct child_events *events, struct err *err);

/* A line for the audit; when the disk does not take it, it waits for the next one. */
void supervisor_audit(struct supervisor *supervisor, const char *format, ...) PRINTF_LIKE(2, 3);

struct supervisor_status;
void supervisor_status_fill(const struct supervisor *supervisor, struct supervisor_status *status); /* _clear it */

#endif
