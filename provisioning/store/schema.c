#include "provisioning/store/store_private.h"

/* Entry N brings version N to version N + 1. Never edited once released: a change is one more entry. */
static const char *const migrations[SCHEMA_VERSION] = {
    "CREATE TABLE account ("
    "  name TEXT PRIMARY KEY, role INTEGER NOT NULL, password TEXT NOT NULL, created_ms INTEGER NOT NULL,"
    "  created_by TEXT NOT NULL, failures INTEGER NOT NULL DEFAULT 0, last_failure_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"

    "CREATE TABLE certificate ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, key_type TEXT NOT NULL, key_id BLOB NOT NULL,"
    "  not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, subject TEXT NOT NULL, issuer TEXT NOT NULL,"
    "  serial TEXT NOT NULL, fingerprint TEXT NOT NULL, rung TEXT NOT NULL, sensitive INTEGER NOT NULL,"
    "  extractable INTEGER NOT NULL, local INTEGER NOT NULL, always_sensitive INTEGER NOT NULL,"
    "  never_extractable INTEGER NOT NULL, sealed_password BLOB NOT NULL, imported_by TEXT NOT NULL,"
    "  imported_ms INTEGER NOT NULL, state INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX certificate_address ON certificate (address);"
    /* an address means one certificate at a time */
    "CREATE UNIQUE INDEX certificate_current ON certificate (address) WHERE state = 1;"
    "CREATE TABLE certificate_name ("
    "  certificate INTEGER NOT NULL REFERENCES certificate ON DELETE CASCADE, position INTEGER NOT NULL,"
    "  name TEXT NOT NULL, PRIMARY KEY (certificate, position)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE certificate_chain ("
    "  certificate INTEGER NOT NULL REFERENCES certificate ON DELETE CASCADE, position INTEGER NOT NULL,"
    "  der BLOB NOT NULL, PRIMARY KEY (certificate, position)"
    ") STRICT;"

    "CREATE TABLE revision ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT, base INTEGER NOT NULL, by TEXT NOT NULL, comment TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL, accepted INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE TABLE revision_setting ("
    "  revision INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE, position INTEGER NOT NULL,"
    "  path TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (revision, position)"
    ") STRICT, WITHOUT ROWID;"
    /* the certificate may have been deleted since: no reference */
    "CREATE TABLE revision_certificate ("
    "  revision INTEGER NOT NULL REFERENCES revision ON DELETE CASCADE, address TEXT NOT NULL,"
    "  certificate INTEGER NOT NULL, PRIMARY KEY (revision, address)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE running (one INTEGER PRIMARY KEY CHECK (one = 1), revision INTEGER NOT NULL REFERENCES revision) STRICT;"

    "CREATE TABLE candidate ("
    "  account TEXT PRIMARY KEY REFERENCES account ON DELETE CASCADE, base INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE candidate_setting ("
    "  account TEXT NOT NULL REFERENCES candidate ON DELETE CASCADE, position INTEGER NOT NULL,"
    "  path TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (account, position)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE candidate_certificate ("
    "  account TEXT NOT NULL REFERENCES candidate ON DELETE CASCADE, address TEXT NOT NULL,"
    "  certificate INTEGER NOT NULL, PRIMARY KEY (account, address)"
    ") STRICT, WITHOUT ROWID;"

    "CREATE TABLE audit ("
    "  number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, who TEXT NOT NULL, source TEXT NOT NULL,"
    "  what TEXT NOT NULL, result TEXT NOT NULL, hash BLOB NOT NULL"
    ") STRICT;",

    "ALTER TABLE certificate ADD COLUMN attributes TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE pending_key ("
    "  key_id BLOB PRIMARY KEY, what TEXT NOT NULL, by TEXT NOT NULL, source TEXT NOT NULL, began_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE certificate_request ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, name TEXT NOT NULL, key_type TEXT NOT NULL,"
    "  key_id BLOB NOT NULL, attributes TEXT NOT NULL, csr BLOB NOT NULL, requested_by TEXT NOT NULL,"
    "  requested_ms INTEGER NOT NULL, UNIQUE (kind, name)"
    ") STRICT;",

    "ALTER TABLE certificate ADD COLUMN kind INTEGER NOT NULL DEFAULT 1;", /* enum certificate_kind: 1 signs mail */

    /* `commit confirmed`: until when it waits for its confirmation (0: it does not), and what runs again without one */
    "ALTER TABLE revision ADD COLUMN confirm_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE revision ADD COLUMN confirm_back INTEGER NOT NULL DEFAULT 0;",

    /* commands under way; how far inkand's events are in the chain; the token's audit keys and what they signed */
    "CREATE TABLE audit_begun ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT, time_ms INTEGER NOT NULL, who TEXT NOT NULL, source TEXT NOT NULL,"
    "  what TEXT NOT NULL"
    ") STRICT;"
    "CREATE TABLE audit_events ("
    "  one INTEGER PRIMARY KEY CHECK (one = 1), file INTEGER NOT NULL, position INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE audit_key ("
    "  fingerprint BLOB PRIMARY KEY, public_key BLOB NOT NULL, since_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE audit_checkpoint ("
    "  number INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, hash BLOB NOT NULL, key BLOB NOT NULL,"
    "  signature BLOB NOT NULL"
    ") STRICT;",

    /* what waits for a second person, and what was decided */
    "CREATE TABLE approval ("
    "  number INTEGER PRIMARY KEY AUTOINCREMENT, kind INTEGER NOT NULL, what TEXT NOT NULL, by TEXT NOT NULL,"
    "  source TEXT NOT NULL, asked_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, payload BLOB NOT NULL,"
    "  key_id BLOB NOT NULL, state INTEGER NOT NULL DEFAULT 1, decided_by TEXT NOT NULL DEFAULT '',"
    "  decided_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;",
};

bool schema_version(sqlite3 *db, int *version, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	bool read = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
		    sqlite3_step(statement) == SQLITE_ROW;

	if (read)
		*version = sqlite3_column_int(statement, 0);
	else
		err_set(err, ERR_UNAVAILABLE, "%s: %s", STORE_FILE, sqlite3_errmsg(db));
	sqlite3_finalize(statement);
	return read;
}

static bool run_migrations(struct store *store, struct err *err)
{
	char set_version[64];
	int version;

	/* Read again inside the transaction: another process may have migrated meanwhile. */
	if (!schema_version(store->db, &version, err))
		return false;
	for (; version < SCHEMA_VERSION; version++) {
		if (sqlite3_exec(store->db, migrations[version], NULL, NULL, NULL) != SQLITE_OK)
			return store_sqlite_error(store, "migration", err);
	}
	sqlite3_snprintf((int)sizeof set_version, set_version, "PRAGMA user_version = %d", SCHEMA_VERSION);
	if (sqlite3_exec(store->db, set_version, NULL, NULL, NULL) != SQLITE_OK)
		return store_sqlite_error(store, "migration", err);
	return true;
}

bool schema_migrate(struct store *store, struct err *err)
{
	int version;

	if (!schema_version(store->db, &version, err))
		return false;
	if (version > SCHEMA_VERSION)
		return err_set(err, ERR_INVALID,
			       "%s has schema %d, which is newer than this program knows (%d): install the newer Inkan",
			       STORE_FILE, version, SCHEMA_VERSION);
	if (version == SCHEMA_VERSION)
		return true;
	if (!transaction_begin(store, err))
		return false;
	return transaction_end(store, run_migrations(store, err), err);
}
