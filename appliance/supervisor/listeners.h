/*
 * The sockets that the relay accepts mail on. inkand binds them, so that they stay open while the relay is restarted,
 * and a commit binds what is new before it closes what is no longer named. Loop's thread.
 */
#ifndef INKAN_SUPERVISOR_LISTENERS_H
#define INKAN_SUPERVISOR_LISTENERS_H

#include "provisioning/store/snapshot.h"

#define LISTENER_BACKLOG 1024

struct listener {
	char *address; /* as configured, "127.0.0.1:25", "[::1]:25"; of the HTTP API "api 127.0.0.1:8443", of the
			  metrics "metrics 127.0.0.1:9100" */
	int fd; /* listening, non-blocking, close-on-exec */
};

struct listeners {
	struct listener *items;
	size_t count;
};

/* The addresses that a configuration names. ERR_EXISTS when two servers name the same. path_words_free the result. */
char **listeners_wanted(const struct settings *settings, struct err *err);

/* Binds those of `wanted` that `have` lacks into *added (an empty list). All or none. */
bool listeners_bind_new(const struct listeners *have, char *const *wanted, struct listeners *added, struct err *err) MUST_USE;

/* Takes what `added` holds and closes what `wanted` does not name; `added` is empty afterwards. */
void listeners_adopt(struct listeners *have, struct listeners *added, char *const *wanted);

void listeners_clear(struct listeners *listeners); /* closes them all */

#endif
