/* inkand: starts, watches and restarts the other programs, holds the PIN, and owns the control socket. */
#ifndef INKAN_SUPERVISOR_SUPERVISOR_H
#define INKAN_SUPERVISOR_SUPERVISOR_H

#include "appliance/supervisor/child.h"

struct supervisor_options {
	const char *state; /* directory, absolute */
	const char *programs; /* directory of inkan-relay and inkan-hsm */
	const char *log_format; /* "text" or "json", passed on to the programs */
	char *const *arguments; /* of inkand itself, for an upgrade */
	struct run_as relay, hsm;
};

/*
 * Runs until it is told to stop. False: it could not begin, or not go on. Told to upgrade it stops, but for the listening sockets
 * and the PIN, executes the program that is in `programs` then, and returns only when that failed.
 */
bool supervisor_run(const struct supervisor_options *options, struct err *err) MUST_USE;

#endif
