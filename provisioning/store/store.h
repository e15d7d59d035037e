/*
 * inkan.db: revisions of the configuration, certificates, accounts and the audit trail. Domain verbs over SQLite, whose
 * types stay in this folder (WAL, synchronous=FULL: what a call has reported as done survives a power cut).
 *
 * One handle belongs to one thread. Several processes may hold one each: a call waits up to STORE_BUSY_MS for another's
 * transaction, then fails with ERR_UNAVAILABLE. Every verb is a transaction of its own. Strings and arrays of results
 * belong to the caller, who releases them with the matching _clear.
 */
#ifndef INKAN_STORE_STORE_H
#define INKAN_STORE_STORE_H

#include "provisioning/store/snapshot.h"

#define STORE_FILE "inkan.db"
#define STORE_BUSY_MS 5000
#define STORE_REVISIONS_KEPT 100

struct store;

enum store_mode {
	STORE_READ_WRITE, /* the console: makes the database when there is none */
	STORE_READ_ONLY /* inkand: ERR_NOT_FOUND when there is none; no verb below that changes may be called */
};

/*
 * Opens DIRECTORY/inkan.db (0600) and brings an older schema up to this one, in one transaction, in either mode.
 * ERR_INVALID: the schema is newer than this program.
 */
struct store *store_open(const char *directory, enum store_mode mode, struct err *err);
void store_close(struct store *store); /* NULL is fine */

/* ---- accounts ---- */

enum account_role { ROLE_ADMINISTRATOR = 1, ROLE_OPERATOR = 2, ROLE_AUDITOR = 4 };

const char *account_role_name(enum account_role role);
bool account_role_parse(const char *name, enum account_role *role);

struct account {
	char *name;
	enum account_role role;
	int64_t created_ms;
	char *created_by; /* "" for the first one */
};

struct accounts {
	struct account *items;
	size_t count;
};

void account_clear(struct account *account);
void accounts_clear(struct accounts *accounts);

bool store_accounts(struct store *store, struct accounts *accounts, struct err *err) MUST_USE; /* by name */

/* ERR_EXISTS: the name is taken. The password is hashed here; password.h has its limits. */
bool store_account_add(struct store *store, const char *name, enum account_role role, const char *password, const char *by,
		       struct err *err) MUST_USE;
bool store_account_set_password(struct store *store, const char *name, const char *password, struct err *err) MUST_USE;

/* With its candidate. ERR_DENIED: it is the last administrator. */
bool store_account_delete(struct store *store, const char *name, struct err *err) MUST_USE;

/*
 * Checks a password. ERR_DENIED: wrong, or no such account (the same text and time). After ACCOUNT_FREE_FAILURES failures
 * in a row each further one makes the account wait twice as long, up to ACCOUNT_WAIT_MAX_MS; while it waits the answer is
 * ERR_LIMIT, whatever the password. `now_ms` is wall time.
 */
#define ACCOUNT_FREE_FAILURES 3
#define ACCOUNT_WAIT_MAX_MS 60000
bool store_account_verify(struct store *store, const char *name, const char *password, int64_t now_ms, enum account_role *role,
			  struct err *err) MUST_USE;

/* ---- certificates ---- */

enum certificate_state {
	CERTIFICATE_CURRENT = 1, /* what its address means at the next commit */
	CERTIFICATE_SUPERSEDED = 2 /* an earlier one of the address; its key is still on the token */
};

struct stored_certificate {
	struct certificate certificate; /* its id is given by the store */
	char *subject, *issuer, *serial, *fingerprint;
	char *rung; /* how the key came to the token; "generate": it was born there */
	char *attributes; /* all that were read back ("token private sensitive !extractable …"); "" of an older Inkan's import */
	bool sensitive, extractable, local, always_sensitive, never_extractable; /* CKA_*, read back after the import */
	struct bytes sealed_password; /* owned; empty: not kept */
	char *imported_by;
	int64_t imported_ms;
	enum certificate_state state;
};

struct stored_certificates {
	struct stored_certificate *items;
	size_t count;
};

void stored_certificate_clear(struct stored_certificate *certificate);
void stored_certificates_clear(struct stored_certificates *certificates);

/*
 * Registers a certificate as the current one of its address; the one before becomes superseded; a pending key or a request with
 * its key id is done with. With `renewal` there must be one before (ERR_NOT_FOUND), without it there must be none (ERR_EXISTS).
 * Takes effect at the next commit.
 */
bool store_certificate_add(struct store *store, const struct stored_certificate *certificate, bool renewal, uint64_t *id,
			   struct err *err) MUST_USE;

/*
 * The key of a registered certificate was brought to the token again, under its old CKA_ID: what is known of the key replaces
 * what was. ERR_NOT_FOUND: no such certificate.
 */
bool store_certificate_key_again(struct store *store, uint64_t id, const struct stored_certificate *certificate,
				 struct err *err) MUST_USE;

/* The sealed passwords of an address, current and superseded, are wiped. *forgotten is their number. */
bool store_certificate_forget_passwords(struct store *store, const char *address, uint32_t *forgotten, struct err *err) MUST_USE;

/* Of one address, or of all when it is NULL: by address, the current one first, then the newest. None is no error. */
bool store_certificates(struct store *store, const char *address, struct stored_certificates *certificates,
			struct err *err) MUST_USE;

/* Forgets the row. That nothing operates it and that its key has left the token is the caller's business. */
bool store_certificate_delete(struct store *store, uint64_t id, struct err *err) MUST_USE;

/* ---- keys that are being made: found again when nobody finished them ---- */

/* What is on its way to the token. The row is there before the key can be, and goes with what names the key instead. */
struct pending_key {
	struct bytes key_id;
	char *what; /* the command, for the audit */
	char *by, *from;
	int64_t began_ms; /* set by the store */
};

struct pending_keys {
	struct pending_key *items;
	size_t count;
};

void pending_keys_clear(struct pending_keys *keys);

bool store_pending_key_add(struct store *store, const struct pending_key *key, struct err *err) MUST_USE;
bool store_pending_key_end(struct store *store, struct bytes key_id, struct err *err) MUST_USE;

/* Those that no certificate and no request names, oldest first. */
bool store_pending_keys(struct store *store, struct pending_keys *keys, struct err *err) MUST_USE;

/* ---- requests: keys born on the token that wait for their certificate ---- */

enum certificate_kind { CERTIFICATE_KIND_MAIL = 1, CERTIFICATE_KIND_TLS = 2 };

struct certificate_request {
	uint64_t id; /* given by the store */
	enum certificate_kind kind;
	char *name; /* mail address, or host name */
	char *key_type; /* "RSA-2048", … */
	struct bytes key_id;
	char *attributes; /* as in struct stored_certificate */
	struct bytes csr; /* DER */
	char *requested_by;
	int64_t requested_ms;
};

struct certificate_requests {
	struct certificate_request *items;
	size_t count;
};

void certificate_request_clear(struct certificate_request *request);
void certificate_requests_clear(struct certificate_requests *requests);

/* ERR_EXISTS: the name has one already. A pending key with its key id is done with. */
bool store_request_add(struct store *store, const struct certificate_request *request, struct err *err) MUST_USE;

/* Of one name, or of all when it is NULL: by kind and name. None is no error. */
bool store_requests(struct store *store, const char *name, struct certificate_requests *requests, struct err *err) MUST_USE;

/* The one of that kind and name. ERR_NOT_FOUND: there is none. */
bool store_request(struct store *store, enum certificate_kind kind, const char *name, struct certificate_request *request,
		   struct err *err) MUST_USE;

/* Forgets the row. That its key has left the token is the caller's business. */
bool store_request_delete(struct store *store, uint64_t id, struct err *err) MUST_USE;

/* ---- revisions ---- */

/* Which certificate an address means in a revision. */
struct certificate_choice {
	char *address;
	uint64_t certificate;
};

struct certificate_choices {
	struct certificate_choice *items;
	size_t count;
};

void certificate_choices_add(struct certificate_choices *choices, const char *address, uint64_t certificate);
const uint64_t *certificate_choices_find(const struct certificate_choices *choices, const char *address); /* or NULL */
void certificate_choices_clear(struct certificate_choices *choices);

struct revision {
	uint64_t number; /* 0: none yet, the empty configuration */
	uint64_t base; /* the running one when it was made */
	char *by;
	char *comment;
	int64_t created_ms;
	int64_t confirm_ms; /* wall time until which it waits for a confirmation; 0: it does not */
	uint64_t confirm_back; /* the revision whose copy runs when none came */
	struct settings settings;
	struct certificate_choices choices;
};

struct revisions {
	struct revision *items; /* without settings and choices */
	size_t count;
};

void revision_clear(struct revision *revision);
void revisions_clear(struct revisions *revisions);

bool store_running(struct store *store, uint64_t *revision, struct err *err) MUST_USE; /* 0: nothing was committed yet */

/* Revision `number`, or the running one for 0. ERR_NOT_FOUND: no such revision, or no longer kept. */
bool store_revision(struct store *store, uint64_t number, struct revision *revision, struct err *err) MUST_USE;

/* Committed revisions, the running one first, then backwards: the index is the N of `rollback N`. */
bool store_revisions(struct store *store, struct revisions *revisions, struct err *err) MUST_USE;

/*
 * The certificate that each `server * smime certificate ADDRESS` and `server * … listen * certificate NAME` means: the pinned one
 * while it is registered, else the current one. ERR_NOT_FOUND names the server and the address that has none.
 */
bool store_resolve_certificates(struct store *store, const struct settings *settings, const struct certificate_choices *pins,
				struct certificate_choices *choices, struct err *err) MUST_USE;

/*
 * A commit in three steps, since inkand reads the proposed revision in a process of its own: propose it, have it
 * applied, then accept or withdraw it. A proposed revision is in no list until it is accepted.
 * Accepting makes it the running one, makes its choices the current certificates, ends the account's candidate and drops
 * revisions beyond STORE_REVISIONS_KEPT. ERR_EXISTS: another revision than `base` runs by now.
 */
bool store_revision_propose(struct store *store, const struct revision *revision, uint64_t *number, struct err *err) MUST_USE;
bool store_revision_accept(struct store *store, uint64_t number, struct err *err) MUST_USE;
bool store_revision_withdraw(struct store *store, uint64_t number, struct err *err) MUST_USE;

/*
 * `commit confirmed`: the revision waits until another time, or (0) no more, and stays. ERR_TIMEOUT: its time was over at
 * `now_ms`, so that from then on nobody can keep it, or it did not wait. Accepting another revision ends the wait, too.
 */
bool store_revision_confirm(struct store *store, uint64_t number, int64_t until_ms, int64_t now_ms, struct err *err) MUST_USE;

/* The configuration of a revision (0: the running one, or an empty one) with the certificates it means. */
struct snapshot *store_snapshot(struct store *store, uint64_t revision, struct err *err);

/* ---- candidates: the configuration that an account is editing ---- */

struct candidate {
	uint64_t base; /* the revision that ran when it began */
	struct settings settings;
	struct certificate_choices pins; /* after a rollback: certificates to go back to */
};

void candidate_clear(struct candidate *candidate);

/* *exists false: the account edits nothing, and *candidate is a fresh copy of the running configuration. */
bool store_candidate(struct store *store, const char *account, struct candidate *candidate, bool *exists,
		     struct err *err) MUST_USE;
bool store_candidate_save(struct store *store, const char *account, const struct candidate *candidate, struct err *err) MUST_USE;
bool store_candidate_discard(struct store *store, const char *account, struct err *err) MUST_USE;

/*
 * Where an address's certificate is in operation: looks at the settings above, of the running
 * configuration and of every candidate. The first one found is described in *where ("server default of the running
 * configuration"; free() it), or NULL.
 */
bool store_certificate_operated(struct store *store, const char *address, char **where, struct err *err) MUST_USE;

/* ---- audit ---- */

struct audit_entry {
	uint64_t number;
	int64_t time_ms;
	char *who; /* account, or "" before a login */
	char *from; /* terminal or address */
	char *what; /* the command, secrets replaced */
	char *result; /* "ok" or why not */
};

struct audit_entries {
	struct audit_entry *items;
	size_t count;
};

void audit_entries_clear(struct audit_entries *entries);

/*
 * Appends a row to the chain (audit_chain.h), behind what inkand has reported meanwhile (audit_journal.h) and commands that were
 * broken off. number is set here, and time_ms when it is 0.
 */
bool store_audit_add(struct store *store, const struct audit_entry *entry, struct err *err) MUST_USE;

/* The same without a row of its own. */
bool store_audit_read_up(struct store *store, struct err *err) MUST_USE;

/*
 * A command that changes something is written down before it begins: one that cannot be written down is not begun, and one
 * whose console dies is found by the next (and gets a row that says so). store_audit_end puts its row into the chain; when that
 * fails, what was written down stays, for the next that can. Commands may run others: begin and end come in pairs.
 */
bool store_audit_begin(struct store *store, const struct audit_entry *entry, struct err *err) MUST_USE;
bool store_audit_end(struct store *store, const struct audit_entry *entry, struct err *err) MUST_USE;

/* Which rows; a zeroed one: all. */
struct audit_choice {
	const char *who; /* exactly; NULL: anybody */
	const char *text; /* in what, result or from, whatever its case; NULL: any */
	int64_t since_ms, until_ms; /* 0: no bound */
	bool failed; /* only what was refused */
	uint64_t number; /* this one only; 0: any */
};

/* The last `most` of them, oldest first. */
bool store_audit_find(struct store *store, const struct audit_choice *choice, size_t most, struct audit_entries *entries,
		      struct err *err) MUST_USE;

/* The same of all. */
bool store_audit_list(struct store *store, size_t most, struct audit_entries *entries, struct err *err) MUST_USE;

/* Every row in order with its stored hash (32 octets), as of one moment; `row` returns false with *err to stop. */
typedef bool audit_row(const struct audit_entry *entry, const uint8_t *hash, void *arg, struct err *err);
bool store_audit_walk(struct store *store, audit_row *row, void *arg, struct err *err) MUST_USE;

/* Follows the chain from the first row. ERR_INTEGRITY names the first row that was changed, removed or put in. */
bool store_audit_verify(struct store *store, struct err *err) MUST_USE;

#endif
