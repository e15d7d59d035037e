/*
 * api_user and api_key against the users of a server. The hash of a password costs milliseconds, so a key that was right is
 * remembered as an HMAC under a key of this process, with the configuration's hash beside it: another hash, another answer.
 * Wrong keys are checked in full each time, and the reply waits, longer each time (login_failures.h). Loop's thread.
 */
#ifndef INKAN_RELAY_API_LOGIN_H
#define INKAN_RELAY_API_LOGIN_H

#include "appliance/relay/policy/config.h"

#define LOGIN_REMEMBERED_MAX 256 /* keys */

struct login;
struct login_check;
struct pool;
struct event_base;

struct login *login_new(struct event_base *base, struct pool *pool);
void login_free(struct login *login); /* running checks are dropped without a callback */

enum login_result { LOGIN_RIGHT, LOGIN_WRONG, LOGIN_BUSY };

/* `client`: its address as text. `done` is called once, possibly before login_check returns (then NULL is returned), unless the
 * check is forgotten. */
typedef void login_done(enum login_result result, void *arg);
struct login_check *login_check(struct login *login, const struct config_server *server, const char *client, const char *user,
				const char *key, login_done *done, void *arg);
void login_forget(struct login_check *check); /* NULL is fine */

#endif
