/*
 * inkan.db as a whole: copied to another file, and taken back from one. The other file is an SQLite database without a journal;
 * what names it (digest, version) is its keeper's business. Calls wait for others like those of store.h.
 */
#ifndef INKAN_STORE_BACKUP_H
#define INKAN_STORE_BACKUP_H

#include "provisioning/store/store.h"

/* A consistent copy, while others read and write. The file (0600) must not exist; after a failure it does not. */
bool store_copy(struct store *store, const char *path, struct err *err) MUST_USE;

struct store_copy_facts {
	int schema; /* as it was found */
	uint64_t revision; /* that ran there */
	size_t accounts, administrators, certificates;
	bool audit_kept; /* its audit trail is a part of this one, which takes its place; else its own stays in it */
};

/*
 * Makes a copy ready to take the place of the database: checks each page and row, brings an older schema up to this one, and
 * puts the audit trail of `store` into it, so that going back in time leaves it whole. ERR_INVALID: the schema is newer, it is
 * another database, or nobody could administer it. ERR_INTEGRITY: it is damaged.
 */
bool store_copy_prepare(struct store *store, const char *path, struct store_copy_facts *facts, struct err *err) MUST_USE;

/* The database becomes that copy: all of it, or nothing. Others who have it open see it from their next call on. */
bool store_replace(struct store *store, const char *path, struct err *err) MUST_USE;

#endif
