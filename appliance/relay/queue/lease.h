/*
 * Who delivers what: leases of recipients by claim token, in memory alone, so that all are free after a restart. The
 * storekeeper changes them; lease_is_held may be asked by any thread.
 */
#ifndef INKAN_QUEUE_LEASE_H
#define INKAN_QUEUE_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lease {
	uint64_t recipient; /* 0: a free slot */
	uint64_t message;
	uint64_t token;
	bool reported; /* its result is part of the running transaction */
};

struct leases;

struct leases *leases_new(void);
void leases_free(struct leases *leases); /* NULL is fine */

void lease_grant(struct leases *leases, uint64_t recipient, uint64_t message, uint64_t token);
void lease_end(struct leases *leases, uint64_t recipient);
struct lease *lease_find(struct leases *leases, uint64_t recipient); /* storekeeper; valid until the next grant or end */
bool lease_is_held(struct leases *leases, uint64_t recipient); /* any thread */
size_t lease_count(const struct leases *leases); /* storekeeper */

#endif
