/*
 * The console's conversation with inkand (appliance/base/control.h) on STATE/run/control.sock. Blocking calls, each with
 * a deadline of its own. Errors carry inkand's text.
 */
#ifndef INKAN_CONSOLE_CONTROL_CLIENT_H
#define INKAN_CONSOLE_CONTROL_CLIENT_H

#include "appliance/base/control.h"

#define CONTROL_SOCKET "run/control.sock"
#define CONTROL_CALL_MS 10000 /* hello, status, provision */
#define CONTROL_LOGOUT_MS 60000 /* workers finish their signatures */
#define CONTROL_LOGIN_MS 90000 /* workers start and log in */
#define CONTROL_APPLY_MS 120000 /* listeners, workers and relay follow */

struct control_client {
	int fd;
	int most_ms; /* of each call, where it is less than the call's own deadline; 0: that one */
};

/* Connects and says hello. ERR_UNAVAILABLE: inkand is not running. */
bool control_open(struct control_client *client, const char *state, struct err *err) MUST_USE;
bool control_open_within(struct control_client *client, const char *state, int most_ms, struct err *err) MUST_USE;
void control_close(struct control_client *client);

bool control_status(struct control_client *client, struct supervisor_status *status, struct err *err) MUST_USE;
/* flags: CONTROL_LOGIN_* of control.h */
bool control_login(struct control_client *client, struct bytes pin, unsigned flags, struct err *err) MUST_USE;
bool control_logout(struct control_client *client, struct err *err) MUST_USE;
bool control_apply(struct control_client *client, uint64_t revision, bool check_only, struct err *err) MUST_USE;

/* The descriptor of a task connection (hsm/client/provision.h), which the caller closes. */
bool control_provision(struct control_client *client, int *fd, struct err *err) MUST_USE;

/* The descriptor of a connection to the relay (relay_client.h), which the caller closes. */
bool control_relay(struct control_client *client, int *fd, struct err *err) MUST_USE;

#endif
