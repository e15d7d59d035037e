/* Who is at the console (design §6). */
#ifndef INKAN_CONSOLE_LOGIN_H
#define INKAN_CONSOLE_LOGIN_H

#include "provisioning/console/console.h"

#define LOGIN_ATTEMPTS 3 /* at a terminal, then the console ends */

/* ERR_INVALID: no account is named and there is no terminal to ask at. Touches no state. */
bool login_can_begin(const char *account, struct err *err) MUST_USE;

/*
 * Sets console->account and ->role. `account` may be NULL at a terminal: it is asked for. `password_file` may be NULL:
 * the password is asked for. Without any account this makes the first administrator. Each outcome leaves an audit row.
 * ERR_INVALID: login_can_begin() is false.
 */
bool login(struct console *console, const char *account, const char *password_file, struct err *err) MUST_USE;

/* Asks the login's own password again, before something final. */
bool login_confirm(struct console *console, struct err *err) MUST_USE;

#endif
