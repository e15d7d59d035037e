/* Logging in to the token: an operator's PIN, or the file that the configuration names. */
#ifndef INKAN_SUPERVISOR_LOGIN_H
#define INKAN_SUPERVISOR_LOGIN_H

#include "appliance/base/secret.h"
#include "appliance/supervisor/request.h"

#define LOGIN_DEADLINE_MS 20000
#define LOGIN_KEYPAD_DEADLINE_MS 80000 /* a person types at the token */
#define LOGOUT_DEADLINE_MS 40000 /* workers finish their signatures, and end */

struct event;
struct supervisor;

struct login {
	struct request request;
	struct event *timer;
	struct request out; /* a logout that waits for the workers to end */
	struct event *out_timer;
};

void login_init(struct supervisor *supervisor);
void login_clear(struct supervisor *supervisor);

/* An operator's PIN (taken; empty with CONTROL_LOGIN_KEYPAD): answered when a worker became ready with it, or failed. */
void login_begin(struct supervisor *supervisor, struct secret *pin, unsigned flags, const struct request *request);

/* Wipes the PIN and stops the workers, whose memory holds it too: answered when the last one has ended. */
void login_out(struct supervisor *supervisor, const struct request *request);
void login_worker_ended(struct supervisor *supervisor);

/* Reads the PIN file, when the running configuration names one and no PIN is there, and starts the workers. */
void login_from_file(struct supervisor *supervisor);

/* What the workers met. */
void login_succeeded(struct supervisor *supervisor);
void login_rejected(struct supervisor *supervisor, const char *why); /* by the token: the PIN is never tried again */
void login_failed(struct supervisor *supervisor, const char *why); /* for another reason */

#endif
