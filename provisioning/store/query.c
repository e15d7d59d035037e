#include "provisioning/store/store_private.h"

#define CERTIFICATE_COLUMNS                                                                                                      \
	"id, address, key_type, key_id, not_before, not_after, subject, issuer, serial, fingerprint, rung, sensitive, "          \
	"extractable, local, always_sensitive, never_extractable, sealed_password, imported_by, imported_ms, state, "            \
	"attributes, kind"

#define REVISION_COLUMNS "number, base, by, comment, created_ms, confirm_ms, confirm_back"

#define APPROVAL_COLUMNS "number, kind, what, by, source, asked_ms, expires_ms, payload, key_id, state, decided_by"

static const char *const sql[SQL_STATEMENTS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",

    [SQL_ACCOUNT_LIST] = "SELECT name, role, created_ms, created_by FROM account ORDER BY name",
    [SQL_ACCOUNT_GET] = "SELECT role, password, failures, last_failure_ms FROM account WHERE name = ?",
    [SQL_ACCOUNT_ADD] = "INSERT INTO account (name, role, password, created_ms, created_by) VALUES (?, ?, ?, ?, ?)",
    [SQL_ACCOUNT_SET_PASSWORD] = "UPDATE account SET password = ?2, failures = 0 WHERE name = ?1",
    [SQL_ACCOUNT_DELETE] = "DELETE FROM account WHERE name = ?",
    [SQL_ACCOUNT_COUNT_ROLE] = "SELECT count(*) FROM account WHERE role = ? AND name <> ?",
    [SQL_ACCOUNT_FAILED] = "UPDATE account SET failures = failures + 1, last_failure_ms = ?2 WHERE name = ?1",
    [SQL_ACCOUNT_SUCCEEDED] = "UPDATE account SET failures = 0 WHERE name = ? AND failures > 0",

    [SQL_CERTIFICATE_ADD] =
	"INSERT INTO certificate (address, key_type, key_id, not_before, not_after, subject, issuer, serial, fingerprint, rung, "
	"sensitive, extractable, local, always_sensitive, never_extractable, sealed_password, imported_by, imported_ms, "
	"attributes, kind, state) "
	"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    [SQL_CERTIFICATE_ADD_NAME] = "INSERT INTO certificate_name (certificate, position, name) VALUES (?, ?, ?)",
    [SQL_CERTIFICATE_ADD_CHAIN] = "INSERT INTO certificate_chain (certificate, position, der) VALUES (?, ?, ?)",
    [SQL_CERTIFICATE_LIST] =
	"SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE ?1 = '' OR address = ?1 ORDER BY address, state, id DESC",
    [SQL_CERTIFICATE_GET] = "SELECT " CERTIFICATE_COLUMNS " FROM certificate WHERE id = ?",
    [SQL_CERTIFICATE_NAMES] = "SELECT name FROM certificate_name WHERE certificate = ? ORDER BY position",
    [SQL_CERTIFICATE_CHAIN] = "SELECT der FROM certificate_chain WHERE certificate = ? ORDER BY position",
    [SQL_CERTIFICATE_CURRENT] = "SELECT id FROM certificate WHERE address = ? AND state = 1",
    [SQL_CERTIFICATE_SUPERSEDE] = "UPDATE certificate SET state = 2 WHERE address = ? AND state = 1",
    [SQL_CERTIFICATE_MAKE_CURRENT] = "UPDATE certificate SET state = 1 WHERE id = ?",
    [SQL_CERTIFICATE_ADDRESS] = "SELECT address, state FROM certificate WHERE id = ?",
    /* when the current one goes, the newest that is left takes its place */
    [SQL_CERTIFICATE_PROMOTE] = "UPDATE certificate SET state = 1 WHERE id = (SELECT max(id) FROM certificate WHERE address = ?)",
    [SQL_CERTIFICATE_DELETE] = "DELETE FROM certificate WHERE id = ?",
    [SQL_CERTIFICATE_KEY_AGAIN] =
	"UPDATE certificate SET rung = ?2, sensitive = ?3, extractable = ?4, local = ?5, always_sensitive = ?6, "
	"never_extractable = ?7, attributes = ?8, sealed_password = ?9, imported_by = ?10, imported_ms = ?11 WHERE id = ?1",
    [SQL_CERTIFICATE_FORGET_PASSWORDS] =
	"UPDATE certificate SET sealed_password = x'' WHERE address = ? AND length(sealed_password) > 0",

    [SQL_PENDING_ADD] = "INSERT INTO pending_key (key_id, what, by, source, began_ms) VALUES (?, ?, ?, ?, ?)",
    [SQL_PENDING_END] = "DELETE FROM pending_key WHERE key_id = ?",
    [SQL_PENDING_LIST] = "SELECT key_id, what, by, source, began_ms FROM pending_key "
			 "WHERE key_id NOT IN (SELECT key_id FROM certificate UNION SELECT key_id FROM certificate_request "
			 "UNION SELECT key_id FROM approval WHERE state = 1) "
			 "ORDER BY began_ms",
    [SQL_REQUEST_ADD] = "INSERT INTO certificate_request (kind, name, key_type, key_id, attributes, csr, requested_by, "
			"requested_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_REQUEST_LIST] = "SELECT id, kind, name, key_type, key_id, attributes, csr, requested_by, requested_ms "
			 "FROM certificate_request WHERE (?1 = '' OR name = ?1) AND (?2 = 0 OR kind = ?2) ORDER BY kind, name",
    [SQL_REQUEST_DELETE] = "DELETE FROM certificate_request WHERE id = ?",
    [SQL_REQUEST_INSTALLED] = "DELETE FROM certificate_request WHERE key_id = ?",

    [SQL_REVISION_ADD] =
	"INSERT INTO revision (base, by, comment, created_ms, confirm_ms, confirm_back) VALUES (?, ?, ?, ?, ?, ?)",
    [SQL_REVISION_ADD_SETTING] = "INSERT INTO revision_setting (revision, position, path, value) VALUES (?, ?, ?, ?)",
    [SQL_REVISION_ADD_CHOICE] = "INSERT INTO revision_certificate (revision, address, certificate) VALUES (?, ?, ?)",
    [SQL_REVISION_GET] = "SELECT " REVISION_COLUMNS " FROM revision WHERE number = ?",
    [SQL_REVISION_LIST] = "SELECT " REVISION_COLUMNS " FROM revision WHERE accepted = 1 ORDER BY number DESC",
    [SQL_REVISION_SETTINGS] = "SELECT path, value FROM revision_setting WHERE revision = ? ORDER BY position",
    [SQL_REVISION_CHOICES] = "SELECT address, certificate FROM revision_certificate WHERE revision = ? ORDER BY address",
    [SQL_REVISION_ACCEPT] = "UPDATE revision SET accepted = 1 WHERE number = ? AND accepted = 0",
    [SQL_REVISION_DELETE] = "DELETE FROM revision WHERE number = ? AND accepted = 0",
    [SQL_REVISION_PRUNE] = "DELETE FROM revision WHERE accepted = 1 AND number NOT IN "
			   "(SELECT number FROM revision WHERE accepted = 1 ORDER BY number DESC LIMIT ?) "
			   "AND number NOT IN (SELECT confirm_back FROM revision WHERE confirm_ms > 0)",
    [SQL_REVISION_CONFIRM] = "UPDATE revision SET confirm_ms = ?2 WHERE number = ?1 AND confirm_ms > ?3",
    [SQL_REVISION_SETTLE] = "UPDATE revision SET confirm_ms = 0 WHERE confirm_ms > 0 AND number <> ?",
    [SQL_RUNNING_GET] = "SELECT revision FROM running",
    [SQL_RUNNING_SET] = "INSERT INTO running (one, revision) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET revision = ?1",

    [SQL_CANDIDATE_GET] = "SELECT base FROM candidate WHERE account = ?",
    [SQL_CANDIDATE_ADD] = "INSERT INTO candidate (account, base) VALUES (?, ?)",
    [SQL_CANDIDATE_ADD_SETTING] = "INSERT INTO candidate_setting (account, position, path, value) VALUES (?, ?, ?, ?)",
    [SQL_CANDIDATE_ADD_PIN] = "INSERT INTO candidate_certificate (account, address, certificate) VALUES (?, ?, ?)",
    [SQL_CANDIDATE_SETTINGS] = "SELECT path, value FROM candidate_setting WHERE account = ? ORDER BY position",
    [SQL_CANDIDATE_PINS] = "SELECT address, certificate FROM candidate_certificate WHERE account = ? ORDER BY address",
    [SQL_CANDIDATE_DELETE] = "DELETE FROM candidate WHERE account = ?",
    [SQL_CANDIDATE_UNPIN] = "DELETE FROM candidate_certificate WHERE address = ?",

    [SQL_OPERATED] = "SELECT path, '' FROM revision_setting JOIN running USING (revision) "
		     "WHERE value = ?1 AND (path GLOB 'server * smime certificate' OR path GLOB 'server * listen * certificate') "
		     "UNION ALL SELECT path, account FROM candidate_setting "
		     "WHERE value = ?1 AND (path GLOB 'server * smime certificate' OR path GLOB 'server * listen * certificate')",

    [SQL_AUDIT_LAST] = "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1",
    [SQL_AUDIT_ADD] = "INSERT INTO audit (number, time_ms, who, source, what, result, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
    [SQL_AUDIT_TAIL] =
	"SELECT number, time_ms, who, source, what, result, hash FROM (SELECT * FROM audit WHERE "
	"(?1 = '' OR who = ?1) AND (?2 = '' OR instr(lower(what || ' ' || result || ' ' || source), lower(?2)) > 0) "
	"AND time_ms >= ?3 AND time_ms <= ?4 AND (?5 = 0 OR result <> 'ok') AND (?6 = 0 OR number = ?6) "
	"ORDER BY number DESC LIMIT ?7) ORDER BY number",
    [SQL_AUDIT_ALL] = "SELECT number, time_ms, who, source, what, result, hash FROM audit ORDER BY number",
    [SQL_APPROVAL_ADD] = "INSERT INTO approval (kind, what, by, source, asked_ms, expires_ms, payload, key_id) "
			 "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [SQL_APPROVAL_GET] = "SELECT " APPROVAL_COLUMNS " FROM approval WHERE number = ?",
    [SQL_APPROVAL_LIST] = "SELECT " APPROVAL_COLUMNS " FROM approval WHERE state = 1 ORDER BY number",
    [SQL_APPROVAL_DECIDE] = "UPDATE approval SET state = ?3, decided_by = ?4, decided_ms = ?5 WHERE number = ?1 AND state = ?2",
    [SQL_AUDIT_BEGUN_ADD] = "INSERT INTO audit_begun (time_ms, who, source, what) VALUES (?, ?, ?, ?)",
    [SQL_AUDIT_BEGUN_END] = "DELETE FROM audit_begun WHERE id = ?",
    [SQL_AUDIT_BEGUN_LIST] = "SELECT id, time_ms, who, source, what FROM audit_begun ORDER BY id",
    [SQL_AUDIT_EVENTS_GET] = "SELECT file, position FROM audit_events",
    [SQL_AUDIT_EVENTS_SET] = "INSERT INTO audit_events (one, file, position) VALUES (1, ?1, ?2) "
			     "ON CONFLICT (one) DO UPDATE SET file = ?1, position = ?2",
    [SQL_AUDIT_KEY_ADD] = "INSERT OR IGNORE INTO audit_key (fingerprint, public_key, since_ms) VALUES (?, ?, ?)",
    [SQL_AUDIT_KEY_LIST] = "SELECT fingerprint, public_key, since_ms FROM audit_key ORDER BY since_ms, fingerprint",
    [SQL_AUDIT_CHECKPOINT_ADD] =
	"INSERT OR REPLACE INTO audit_checkpoint (number, time_ms, hash, key, signature) VALUES (?, ?, ?, ?, ?)",
    [SQL_AUDIT_CHECKPOINT_LIST] = "SELECT number, time_ms, hash, key, signature FROM audit_checkpoint ORDER BY number",
    [SQL_AUDIT_CHECKPOINT_DUE] = "SELECT count(*), coalesce(sum(what NOT IN ('login', 'logout') AND source <> 'inkand'), 0), "
				 "(SELECT coalesce(max(time_ms), 0) FROM audit_checkpoint) FROM audit "
				 "WHERE number > (SELECT coalesce(max(number), 0) FROM audit_checkpoint)",
};

bool store_sqlite_error(struct store *store, const char *what, struct err *err)
{
	int code = sqlite3_errcode(store->db) & 0xff;
	bool busy = code == SQLITE_BUSY || code == SQLITE_LOCKED || code == SQLITE_FULL || code == SQLITE_IOERR;

	return err_set(err, busy ? ERR_UNAVAILABLE : ERR_INTERNAL, "%s: %s: %s", STORE_FILE, what, sqlite3_errmsg(store->db));
}

struct query query_of(struct store *store, enum statement statement)
{
	struct query query = {.store = store, .status = SQLITE_OK};
	sqlite3_stmt **prepared = &store->statements[statement];

	if (*prepared == NULL)
		query.status = sqlite3_prepare_v3(store->db, sql[statement], -1, SQLITE_PREPARE_PERSISTENT, prepared, NULL);
	query.statement = *prepared;
	return query;
}

void query_text(struct query *query, const char *text)
{
	if (query->status == SQLITE_OK)
		query->status = sqlite3_bind_text(query->statement, ++query->bound, text, -1, SQLITE_TRANSIENT);
}

void query_number(struct query *query, int64_t number)
{
	if (query->status == SQLITE_OK)
		query->status = sqlite3_bind_int64(query->statement, ++query->bound, number);
}

void query_bytes(struct query *query, struct bytes bytes)
{
	const void *data = bytes.len > 0 ? bytes.data : (const void *)"";

	if (query->status == SQLITE_OK)
		query->status = sqlite3_bind_blob64(query->statement, ++query->bound, data, bytes.len, SQLITE_TRANSIENT);
}

bool query_row(struct query *query)
{
	if (query->status == SQLITE_OK || query->status == SQLITE_ROW)
		query->status = sqlite3_step(query->statement);
	return query->status == SQLITE_ROW;
}

bool query_end(struct query *query, struct err *err)
{
	bool ok = query->status == SQLITE_DONE || query->status == SQLITE_ROW;

	if (!ok)
		store_sqlite_error(query->store, query->statement == NULL ? "statement" : sqlite3_sql(query->statement), err);
	sqlite3_reset(query->statement);
	sqlite3_clear_bindings(query->statement);
	return ok;
}

bool query_run(struct query *query, struct err *err)
{
	query_row(query);
	return query_end(query, err);
}

int64_t query_changes(const struct query *query)
{
	return sqlite3_changes64(query->store->db);
}

char *column_text(const struct query *query, int column)
{
	const char *text = (const char *)sqlite3_column_text(query->statement, column);

	return mem_string(text == NULL ? "" : text);
}

int64_t column_number(const struct query *query, int column)
{
	return sqlite3_column_int64(query->statement, column);
}

struct bytes column_bytes(const struct query *query, int column)
{
	const void *data = sqlite3_column_blob(query->statement, column);
	size_t len = (size_t)sqlite3_column_bytes(query->statement, column);

	if (len == 0)
		return (struct bytes){0};
	return bytes_of(mem_copy(data, len), len);
}

bool transaction_begin(struct store *store, struct err *err)
{
	struct query query = query_of(store, SQL_BEGIN);

	return query_run(&query, err);
}

bool transaction_end(struct store *store, bool ok, struct err *err)
{
	struct query query = query_of(store, SQL_COMMIT);

	if (ok && query_run(&query, err))
		return true;
	query = query_of(store, SQL_ROLLBACK);
	query_row(&query); /* SQLite has rolled back already after some errors */
	sqlite3_reset(query.statement);
	return false;
}
