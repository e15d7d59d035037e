/*
 * The provisioning process' one way to the token: module, token, session, login. Two processes that log in to SoftHSM at
 * the same moment may both fail for no reason that lasts (pkcs11.md §8), so what may be such a failure is tried again
 * with a fresh C_Initialize; a rejected PIN never is.
 */
#ifndef INKAN_HSM_PROVISION_CONNECTION_H
#define INKAN_HSM_PROVISION_CONNECTION_H

#include "appliance/base/secret.h"
#include "hsm/protocol/worker.h"
#include "hsm/token/module.h"

#define CONNECTION_TRIES 4
#define CONNECTION_FIRST_WAIT_MS 100 /* doubled with each */

struct connection {
	struct module *module; /* NULL: it does not load */
	struct session session;
	struct token_info info;
	bool present; /* the token is there and the session open */
	bool logged_in;
	enum worker_exit exit; /* what the process has to report */
	struct err why; /* why not everything is there */
};

enum connection_login {
	CONNECTION_LOGIN_IF_PIN,
	CONNECTION_LOGIN_NEEDED,
	CONNECTION_NONE /* the task makes its own, in other processes */
};

/*
 * Gets as far as it can and always fills *connection. `pin` NULL: none was given; the token is logged in without one only
 * where a login is needed and it has a protected authentication path.
 */
void connection_open(struct connection *connection, const struct hsm_settings *settings, const struct secret *pin,
		     enum connection_login login);
void connection_close(struct connection *connection);

/* Whether the session is open, and logged in. ERR_DENIED without PIN, else what hindered it. */
bool connection_require_login(const struct connection *connection, struct err *err) MUST_USE;

#endif
