/*
 * A secret (PIN, password, key): octets in memory of their own that is locked, left out of core files and of
 * forked children, and wiped when freed. One owner. Never logged, never in argv or the environment.
 */
#ifndef INKAN_BASE_SECRET_H
#define INKAN_BASE_SECRET_H

#include "appliance/base/bytes.h"

#define SECRET_MAX_BYTES 4096 /* one page: the longest PIN or password */

struct secret;

/* Copies `bytes`; NULL with *err when longer than SECRET_MAX_BYTES or when no memory can be mapped. */
struct secret *secret_new(struct bytes bytes, struct err *err);
void secret_free(struct secret *secret); /* wipes; NULL is fine */
struct bytes secret_bytes(const struct secret *secret);
const char *secret_text(const struct secret *secret); /* the same octets with a NUL behind */

/* Reads the first line of a file (without its line end) as a secret. The read buffer is wiped. */
struct secret *secret_read_file(const char *path, struct err *err);

#endif
