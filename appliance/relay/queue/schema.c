#include "appliance/relay/queue/database.h"

/*
 * Migrations in order: element N-1 leads to schema N. A released one is never changed; the next is added behind it.
 *
 * A message names up to two bodies (original and re-encoded) by number; place 0 is a row of `body`, 1 a file of the spool.
 * `file` holds the numbers of all files in a table that the start can read quickly. `numbering` remembers the
 * highest number ever stored, for the time when its row is gone.
 */
static const char *const migrations[] = {
    "CREATE TABLE message ("
    " id INTEGER PRIMARY KEY,"
    " server TEXT NOT NULL,"
    " sender TEXT NOT NULL,"
    " envelope_id TEXT,"
    " message_id TEXT NOT NULL,"
    " return_full INTEGER NOT NULL,"
    " smtputf8 INTEGER NOT NULL,"
    " body_type INTEGER NOT NULL,"
    " received INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " plain_size INTEGER NOT NULL,"
    " signed_size INTEGER NOT NULL,"
    " original INTEGER, original_place INTEGER, original_size INTEGER, original_digest BLOB,"
    " encoded INTEGER, encoded_place INTEGER, encoded_size INTEGER, encoded_digest BLOB,"
    " prefix BLOB NOT NULL,"
    " addition BLOB NOT NULL"
    ") STRICT;"
    "CREATE TABLE body (number INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"
    "CREATE TABLE file (number INTEGER PRIMARY KEY) STRICT;"
    "CREATE TABLE recipient ("
    " id INTEGER PRIMARY KEY,"
    " message INTEGER NOT NULL REFERENCES message,"
    " address TEXT NOT NULL,"
    " rendering INTEGER NOT NULL,"
    " rule TEXT,"
    " original TEXT,"
    " notify INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " due INTEGER NOT NULL,"
    " attempts INTEGER NOT NULL,"
    " reply TEXT"
    ") STRICT;"
    "CREATE INDEX recipient_due ON recipient (due) WHERE state = 0;"
    "CREATE INDEX recipient_message ON recipient (message);"
    "CREATE INDEX recipient_aside ON recipient (state) WHERE state <> 0;"
    "CREATE TABLE numbering (highest INTEGER NOT NULL) STRICT;"
    "INSERT INTO numbering (highest) VALUES (0);",

    /*
     * `sender` of a recipient is that of a copy with an envelope of its own. The delivery log: what is common to a message
     * once, and a row a recipient that its results change. Ids begin with the time, so both keys are in order of time, and
     * indices on a text are searched within it. It outlives the message, until it is pruned.
     */
    "ALTER TABLE recipient ADD COLUMN sender TEXT;"
    "CREATE TABLE log_message ("
    " id INTEGER PRIMARY KEY,"
    " server TEXT NOT NULL,"
    " sender TEXT NOT NULL,"
    " header_from TEXT NOT NULL COLLATE NOCASE,"
    " message_id TEXT NOT NULL,"
    " subject TEXT NOT NULL,"
    " sender_ip TEXT NOT NULL,"
    " api_data TEXT"
    ") STRICT;"
    "CREATE INDEX log_message_server ON log_message (server);"
    "CREATE INDEX log_message_from ON log_message (header_from);"
    "CREATE TABLE log_recipient ("
    " message INTEGER NOT NULL,"
    " recipient INTEGER NOT NULL,"
    " address TEXT NOT NULL COLLATE NOCASE,"
    " rendering INTEGER NOT NULL,"
    " rule TEXT,"
    " status INTEGER NOT NULL,"
    " updated INTEGER NOT NULL,"
    " reason TEXT,"
    " source_ip TEXT,"
    " PRIMARY KEY (message, recipient)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX log_recipient_address ON log_recipient (address);",

    /*
     * Events: every change of a recipient's state, numbered in order and by time (ids_at), for lists and webhooks; pruned with
     * the log. Of each day (yyyymmdd, local time) their counts, which stay. `webhook` remembers how far a receiver has come.
     */
    "CREATE TABLE event ("
    " id INTEGER PRIMARY KEY,"
    " server TEXT NOT NULL,"
    " status INTEGER NOT NULL,"
    " message INTEGER NOT NULL,"
    " recipient INTEGER NOT NULL,"
    " reason TEXT,"
    " source_ip TEXT"
    ") STRICT;"
    "CREATE INDEX event_server ON event (server);"
    "CREATE INDEX event_status ON event (server, status);"
    "CREATE TABLE event_day ("
    " server TEXT NOT NULL, day INTEGER NOT NULL, status INTEGER NOT NULL, count INTEGER NOT NULL,"
    " PRIMARY KEY (server, day, status)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE webhook (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL) STRICT, WITHOUT ROWID;",

    /*
     * One tree for events where there were three: each server's lie together in order, and only the kinds that are rare have an
     * index. The log is pruned in order of time, so that it needs none by server.
     */
    "DROP INDEX log_message_server;"
    "DROP INDEX event_server;"
    "DROP INDEX event_status;"
    "ALTER TABLE event RENAME TO event_by_id;"
    "CREATE TABLE event ("
    " server TEXT NOT NULL,"
    " id INTEGER NOT NULL,"
    " status INTEGER NOT NULL,"
    " message INTEGER NOT NULL,"
    " recipient INTEGER NOT NULL,"
    " reason TEXT,"
    " source_ip TEXT,"
    " PRIMARY KEY (server, id)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO event (server, id, status, message, recipient, reason, source_ip)"
    " SELECT server, id, status, message, recipient, reason, source_ip FROM event_by_id ORDER BY server, id;"
    "DROP TABLE event_by_id;"
    "CREATE INDEX event_trouble ON event (server, status, id) WHERE status >= 2;",
};

#define SCHEMA_VERSION ((int)(sizeof migrations / sizeof *migrations))

static bool failed(sqlite3 *connection, const char *what, struct err *err)
{
	return err_set(err, ERR_SYSTEM, "queue.db: %s: %s", what, sqlite3_errmsg(connection));
}

static bool read_version(sqlite3 *connection, int *version, struct err *err)
{
	sqlite3_stmt *statement;
	bool read;

	if (sqlite3_prepare_v2(connection, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK)
		return failed(connection, "schema version", err);
	read = sqlite3_step(statement) == SQLITE_ROW;
	if (read)
		*version = sqlite3_column_int(statement, 0);
	else
		failed(connection, "schema version", err);
	sqlite3_finalize(statement);
	return read;
}

bool schema_check_version(sqlite3 *connection, struct err *err)
{
	int version;

	if (!read_version(connection, &version, err))
		return false;
	if (version > SCHEMA_VERSION)
		return err_set(err, ERR_INVALID,
			       "queue.db has schema %d, but this program knows only up to %d: it was written by a newer release",
			       version, SCHEMA_VERSION);
	return true;
}

static bool run_migrations(sqlite3 *connection, int version, struct err *err)
{
	char set_version[64];

	for (; version < SCHEMA_VERSION; version++)
		if (sqlite3_exec(connection, migrations[version], NULL, NULL, NULL) != SQLITE_OK)
			return failed(connection, "migration", err);
	sqlite3_snprintf(sizeof set_version, set_version, "PRAGMA user_version = %d", SCHEMA_VERSION);
	if (sqlite3_exec(connection, set_version, NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_exec(connection, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		return failed(connection, "migration", err);
	return true;
}

bool queue_schema_migrate(sqlite3 *connection, struct err *err)
{
	int version;

	if (!read_version(connection, &version, err))
		return false;
	if (version == SCHEMA_VERSION)
		return true;
	if (sqlite3_exec(connection, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return failed(connection, "migration", err);
	if (run_migrations(connection, version, err))
		return true;
	if (!sqlite3_get_autocommit(connection))
		sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL);
	return false;
}
