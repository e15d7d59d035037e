/* What the files of the audit share: all inside a transaction. */
#ifndef INKAN_STORE_AUDIT_PRIVATE_H
#define INKAN_STORE_AUDIT_PRIVATE_H

#include "provisioning/store/audit_chain.h"
#include "provisioning/store/store_private.h"

/* Number and hash of the last row; 0 and zeroes: there is none. */
bool audit_last(struct store *store, uint64_t *number, struct audit_link *link, struct err *err) MUST_USE;

bool audit_append(struct store *store, const struct audit_entry *entry, struct err *err) MUST_USE;

struct audit_entry audit_entry_read(const struct query *query); /* of the columns number, time_ms, who, source, what, result */

/* Files of inkand's journal that are wholly in the chain once the transaction is committed. */
struct audit_read_up {
	uint64_t remove_from, remove_below; /* numbers; equal: none */
};

/* Appends what inkand has reported and the commands that were broken off. */
bool audit_read_up(struct store *store, struct audit_read_up *read, struct err *err) MUST_USE;
void audit_read_up_done(struct store *store, const struct audit_read_up *read); /* after the commit */

bool audit_broken_off(struct store *store, struct err *err) MUST_USE; /* audit_begun.c: the second half of it */

#endif
