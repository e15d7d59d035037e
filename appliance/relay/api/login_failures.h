/*
 * How often each client gave a wrong key of late, and how long the next wrong answer waits for it: that grows, so that keys
 * cannot be tried out. Pure; times are monotonic ms.
 */
#ifndef INKAN_RELAY_API_LOGIN_FAILURES_H
#define INKAN_RELAY_API_LOGIN_FAILURES_H

#include "appliance/base/bytes.h"

#define LOGIN_WRONG_MS 1000 /* before a wrong key is answered */
#define LOGIN_WRONG_FREE 3 /* failures in a row that are answered after that; then twice as long each time */
#define LOGIN_WRONG_MAX_MS 8000
#define LOGIN_FAILURE_MEMORY_MS 900000 /* a client's failures are forgotten this long after the last */
#define LOGIN_FAILING_CLIENTS_MAX 512 /* the one that failed longest ago makes room */
#define LOGIN_CLIENT_BYTES 48 /* of an address as text, with the NUL */

struct login_failing {
	char client[LOGIN_CLIENT_BYTES];
	unsigned count;
	int64_t last;
};

struct login_failures { /* all zero: none */
	struct login_failing clients[LOGIN_FAILING_CLIENTS_MAX];
};

unsigned login_failures_add(struct login_failures *failures, const char *client, int64_t now); /* the wait in ms */
void login_failures_forget(struct login_failures *failures, const char *client); /* a right key */

#endif
