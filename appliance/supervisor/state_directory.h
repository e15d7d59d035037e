/* The state directory (design §7): made where it is missing, with its owners and modes, and locked against a second inkand. */
#ifndef INKAN_SUPERVISOR_STATE_DIRECTORY_H
#define INKAN_SUPERVISOR_STATE_DIRECTORY_H

#include "appliance/supervisor/child.h"

/*
 * STATE 0711 and STATE/run 0700 of inkand's own user, STATE/mail and STATE/maildir 0700 of the relay's. What exists
 * must have that owner; its mode is mended. *lock is a descriptor that holds STATE/run/inkand.lock; ERR_EXISTS names
 * the process that holds it.
 */
bool state_directory_prepare(const char *state, const struct run_as *relay, int *lock, struct err *err) MUST_USE;

#endif
