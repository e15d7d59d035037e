/*
 * Actions that wait for a second person (set system two-person). What is asked for is kept as the command that was typed and
 * what it had made by then (payload); it is done when somebody else approves. Rows stay, for the audit.
 */
#ifndef INKAN_STORE_APPROVALS_H
#define INKAN_STORE_APPROVALS_H

#include "provisioning/store/store.h"

enum approval_kind { APPROVAL_CERTIFICATES = 1, APPROVAL_COMMIT = 2, APPROVAL_ACCOUNTS = 3 };
enum approval_state { APPROVAL_WAITING = 1, APPROVAL_APPROVED = 2, APPROVAL_REJECTED = 3, APPROVAL_EXPIRED = 4 };

struct approval {
	uint64_t number; /* given by the store */
	enum approval_kind kind;
	char *what; /* the command */
	char *by, *from;
	int64_t asked_ms, expires_ms;
	struct bytes payload; /* owned; no secret */
	struct bytes key_id; /* owned: of a key on the token that is kept while it waits; empty: none */
	enum approval_state state;
	char *decided_by; /* "" while it waits */
};

struct approvals {
	struct approval *items;
	size_t count;
};

void approval_clear(struct approval *approval);
void approvals_clear(struct approvals *approvals);

bool store_approval_add(struct store *store, const struct approval *approval, uint64_t *number, struct err *err) MUST_USE;

/* ERR_NOT_FOUND: there is none of that number. */
bool store_approval(struct store *store, uint64_t number, struct approval *approval, struct err *err) MUST_USE;

/* Those that wait, oldest first. */
bool store_approvals(struct store *store, struct approvals *approvals, struct err *err) MUST_USE;

/* From one state to another: ERR_EXISTS when it is in another state by now. */
bool store_approval_decide(struct store *store, uint64_t number, enum approval_state from, enum approval_state to, const char *by,
			   struct err *err) MUST_USE;

/* Accounts with the hash of a password that was asked for before. */
bool store_account_add_hashed(struct store *store, const char *name, enum account_role role, const char *hash, const char *by,
			      struct err *err) MUST_USE;
bool store_account_set_hash(struct store *store, const char *name, const char *hash, struct err *err) MUST_USE;

#endif
