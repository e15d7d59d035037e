/* Logging in to the token: an operator's PIN, or the file that the configuration names. */
#ifndef INKAN_SUPERVISOR_LOGIN_H
#define INKAN_SUPERVISOR_LOGIN_H

#include "appliance/base/secret.h"
#include "appliance/supervisor/request.h"

#define LOGIN_DEADLINE_MS 20000

struct event;
struct supervisor;

struct login {
	struct request request;
	struct event *timer;
};

void login_init(struct supervisor *supervisor);
void login_clear(struct supervisor *supervisor);

/* An operator's PIN (taken): answered when a worker became ready with it, or failed. */
void login_begin(struct supervisor *supervisor, struct secret *pin, const struct request *request);
void login_out(struct supervisor *supervisor); /* wipes the PIN, stops the workers */

/* Reads the PIN file, when the running configuration names one and no PIN is there, and starts the workers. */
void login_from_file(struct supervisor *supervisor);

/* What the workers met. */
void login_succeeded(struct supervisor *supervisor);
void login_rejected(struct supervisor *supervisor, const char *why); /* by the token: the PIN is never tried again */
void login_failed(struct supervisor *supervisor, const char *why); /* for another reason */

#endif
