/* STATE/run/control.sock: consoles of root and of inkand's own user (appliance/base/control.h has the frames). */
#ifndef INKAN_SUPERVISOR_CONTROL_SOCKET_H
#define INKAN_SUPERVISOR_CONTROL_SOCKET_H

#include <stddef.h>

#include "appliance/base/err.h"

#define CONTROL_CONSOLES_MAX 32

struct console;
struct evconnlistener;
struct supervisor;

struct control {
	struct evconnlistener *listener;
	char *path;
	struct console **consoles;
	size_t count;
};

bool control_open(struct supervisor *supervisor, struct err *err) MUST_USE;
void control_close(struct supervisor *supervisor);

#endif
