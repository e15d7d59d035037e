/* SQLite for the files of this folder: prepared statements by enum, queries with a sticky status, transactions. */
#ifndef INKAN_STORE_STORE_PRIVATE_H
#define INKAN_STORE_STORE_PRIVATE_H

#include <sqlite3.h>

#include "provisioning/store/store.h"

enum statement {
	SQL_BEGIN,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_ACCOUNT_LIST,
	SQL_ACCOUNT_GET,
	SQL_ACCOUNT_ADD,
	SQL_ACCOUNT_SET_PASSWORD,
	SQL_ACCOUNT_DELETE,
	SQL_ACCOUNT_COUNT_ROLE,
	SQL_ACCOUNT_FAILED,
	SQL_ACCOUNT_SUCCEEDED,
	SQL_CERTIFICATE_ADD,
	SQL_CERTIFICATE_ADD_NAME,
	SQL_CERTIFICATE_ADD_CHAIN,
	SQL_CERTIFICATE_LIST,
	SQL_CERTIFICATE_GET,
	SQL_CERTIFICATE_NAMES,
	SQL_CERTIFICATE_CHAIN,
	SQL_CERTIFICATE_CURRENT,
	SQL_CERTIFICATE_SUPERSEDE,
	SQL_CERTIFICATE_MAKE_CURRENT,
	SQL_CERTIFICATE_ADDRESS,
	SQL_CERTIFICATE_PROMOTE,
	SQL_CERTIFICATE_DELETE,
	SQL_CERTIFICATE_KEY_AGAIN,
	SQL_CERTIFICATE_FORGET_PASSWORDS,
	SQL_PENDING_ADD,
	SQL_PENDING_END,
	SQL_PENDING_LIST,
	SQL_REQUEST_ADD,
	SQL_REQUEST_LIST,
	SQL_REQUEST_DELETE,
	SQL_REQUEST_INSTALLED,
	SQL_REVISION_ADD,
	SQL_REVISION_ADD_SETTING,
	SQL_REVISION_ADD_CHOICE,
	SQL_REVISION_GET,
	SQL_REVISION_LIST,
	SQL_REVISION_SETTINGS,
	SQL_REVISION_CHOICES,
	SQL_REVISION_ACCEPT,
	SQL_REVISION_DELETE,
	SQL_REVISION_PRUNE,
	SQL_REVISION_CONFIRM,
	SQL_REVISION_SETTLE,
	SQL_RUNNING_GET,
	SQL_RUNNING_SET,
	SQL_CANDIDATE_GET,
	SQL_CANDIDATE_ADD,
	SQL_CANDIDATE_ADD_SETTING,
	SQL_CANDIDATE_ADD_PIN,
	SQL_CANDIDATE_SETTINGS,
	SQL_CANDIDATE_PINS,
	SQL_CANDIDATE_DELETE,
	SQL_CANDIDATE_UNPIN,
	SQL_OPERATED,
	SQL_AUDIT_LAST,
	SQL_AUDIT_ADD,
	SQL_AUDIT_TAIL,
	SQL_AUDIT_ALL,
	SQL_APPROVAL_ADD,
	SQL_APPROVAL_GET,
	SQL_APPROVAL_LIST,
	SQL_APPROVAL_DECIDE,
	SQL_AUDIT_BEGUN_ADD,
	SQL_AUDIT_BEGUN_END,
	SQL_AUDIT_BEGUN_LIST,
	SQL_AUDIT_EVENTS_GET,
	SQL_AUDIT_EVENTS_SET,
	SQL_AUDIT_KEY_ADD,
	SQL_AUDIT_KEY_LIST,
	SQL_AUDIT_CHECKPOINT_ADD,
	SQL_AUDIT_CHECKPOINT_LIST,
	SQL_AUDIT_CHECKPOINT_DUE,
	SQL_STATEMENTS
};

#define AUDIT_NESTED_MAX 4 /* commands that run others: system setup */

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_STATEMENTS]; /* prepared when first used */
	char *directory;
	int audit_lock; /* STATE/audit.lock (audit_begun.c); -1: not open */
	int64_t audit_begun[AUDIT_NESTED_MAX]; /* the rows of this handle's commands that are under way */
	size_t audit_depth; /* how many */
};

/* "WHAT: …" from SQLite's last error. False. */
bool store_sqlite_error(struct store *store, const char *what, struct err *err);

/* Migrations (schema.c): brings user_version to SCHEMA_VERSION. */
#define SCHEMA_VERSION 6
bool schema_version(sqlite3 *db, int *version, struct err *err) MUST_USE;
bool schema_migrate(struct store *store, struct err *err) MUST_USE;

/* ---- one run of a statement: bind in order, then query_run, or query_row until false and query_end ---- */

struct query {
	struct store *store;
	sqlite3_stmt *statement;
	int bound;
	int status; /* SQLITE_OK, _ROW, _DONE, or the first error */
};

struct query query_of(struct store *store, enum statement statement);
void query_text(struct query *query, const char *text);
void query_number(struct query *query, int64_t number);
void query_bytes(struct query *query, struct bytes bytes); /* copied */

bool query_row(struct query *query); /* false: no more, or an error */
bool query_end(struct query *query, struct err *err) MUST_USE; /* resets the statement */
bool query_run(struct query *query, struct err *err) MUST_USE; /* of a statement without rows */
int64_t query_changes(const struct query *query); /* rows changed by the last query_run */

char *column_text(const struct query *query, int column); /* a copy; "" for NULL */
int64_t column_number(const struct query *query, int column);
struct bytes column_bytes(const struct query *query, int column); /* a copy of its own */

/* A write transaction: nothing between may return without transaction_end, which rolls back unless `ok`. */
bool transaction_begin(struct store *store, struct err *err) MUST_USE;
bool transaction_end(struct store *store, bool ok, struct err *err) MUST_USE; /* false when !ok, *err kept */

/* ---- shared between the files ---- */

/* One certificate by its id; *found false: there is none. */
bool certificate_load(struct store *store, uint64_t id, struct stored_certificate *certificate, bool *found,
		      struct err *err) MUST_USE;

/* Inside a transaction: `id` becomes what its address means. An id that is gone is ignored. */
bool certificate_make_current(struct store *store, uint64_t id, struct err *err) MUST_USE;

/* Inside a transaction: the key is named by something else from now on. */
bool pending_key_end(struct store *store, struct bytes key_id, struct err *err) MUST_USE;
bool request_installed(struct store *store, struct bytes key_id, struct err *err) MUST_USE;

/* Inside a transaction, or as one of its own: the account edits nothing any more. */
bool candidate_drop(struct store *store, const char *account, struct err *err) MUST_USE;

/* Rows of (path, value) and (address, certificate), keyed by a revision's number or, with `account`, by an account. */
struct row_key {
	const char *account;
	uint64_t revision;
};
bool rows_load(struct store *store, struct row_key key, struct settings *settings, struct certificate_choices *choices,
	       struct err *err) MUST_USE;
bool rows_save(struct store *store, struct row_key key, const struct settings *settings,
	       const struct certificate_choices *choices, struct err *err) MUST_USE;

#endif
