/*
 * SASL PLAIN (RFC 4616) and LOGIN as a dialogue of octets, and the check of a password against its crypt(5) hash on a thread of
 * the pool, since yescrypt takes its time. The dialogue is pure. Loop's thread.
 */
#ifndef INKAN_RELAY_SMTP_AUTH_H
#define INKAN_RELAY_SMTP_AUTH_H

#include "appliance/relay/policy/config.h"

struct pool;

enum smtp_auth_step { SMTP_AUTH_PLAIN, SMTP_AUTH_LOGIN_USER, SMTP_AUTH_LOGIN_PASSWORD };

struct smtp_auth {
	enum smtp_auth_step step;
	struct buf user, password;
};

enum smtp_auth_result {
	SMTP_AUTH_MORE, /* LOGIN: the password is still to come */
	SMTP_AUTH_COMPLETE, /* user and password are there */
	SMTP_AUTH_CANCELLED, /* "*" */
	SMTP_AUTH_ENCODING /* not base64 */,
	SMTP_AUTH_INVALID /* not what the mechanism wants, or in the name of another user */
};

/* "PLAIN" or "LOGIN" in any case starts the dialogue in *auth, which is empty; false: another mechanism. */
bool smtp_auth_start(struct smtp_auth *auth, struct bytes mechanism);

/* One line of the client, without CRLF. */
enum smtp_auth_result smtp_auth_feed(struct smtp_auth *auth, struct bytes line);
void smtp_auth_clear(struct smtp_auth *auth); /* wipes */

/* ---- Checks ---- */

struct smtp_auth_checks; /* those that run, SMTP_AUTH_CHECKS_MAX at most */
struct smtp_auth_check;

struct smtp_auth_checks *smtp_auth_checks_new(struct pool *pool);

/* Running checks go on and free what is left at their end. */
void smtp_auth_checks_free(struct smtp_auth_checks *checks);

typedef void smtp_auth_done(bool right, void *arg);

/*
 * Takes user and password out of *auth. `done` is called once unless forgotten. A user that does not exist takes as long as
 * one who does. NULL: too many checks are running, and nothing was taken.
 */
struct smtp_auth_check *smtp_auth_check_start(struct smtp_auth_checks *checks, const struct config_server *server,
					      struct smtp_auth *auth, smtp_auth_done *done, void *arg);
void smtp_auth_check_forget(struct smtp_auth_check *check); /* no callback follows; NULL is fine */
const char *smtp_auth_check_user(struct smtp_auth_check *check);

#endif
