#include "appliance/relay/queue/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"

#define BUSY_TIMEOUT_MS 5000
#define SLACK_PAGES_MIN 256
#define PROGRESS_STEPS 20000 /* of SQLite's machine, some 0.3 ms, between two looks at the clock */

struct database {
	sqlite3 *connection;
	int64_t deadline_ms; /* monotonic; 0: none */
	sqlite3_stmt *statements[STATEMENTS];
	int wal_pages;
	int wal_file_pages; /* what the WAL file has grown to */
};

/*
 * page_size and auto_vacuum count only before the first table. Checkpoints are started by the storekeeper, since SQLite
 * swallows the errors of its automatic ones. Debian's SQLite deletes securely unless told not to: 2.6 octets an octet.
 */
static const char writer_pragmas[] = "PRAGMA page_size = 4096;"
				     "PRAGMA auto_vacuum = INCREMENTAL;"
				     "PRAGMA journal_mode = WAL;"
				     "PRAGMA synchronous = FULL;"
				     "PRAGMA secure_delete = OFF;"
				     "PRAGMA wal_autocheckpoint = 0;"
				     "PRAGMA journal_size_limit = 67108864;"
				     "PRAGMA cache_size = -8192;"
				     "PRAGMA mmap_size = 0;"
				     "PRAGMA temp_store = MEMORY;"
				     "PRAGMA foreign_keys = ON;";

static const char reader_pragmas[] = "PRAGMA cache_size = -8192;"
				     "PRAGMA mmap_size = 0;"
				     "PRAGMA temp_store = MEMORY;"
				     "PRAGMA query_only = ON;";

static enum err_code code_of(sqlite3 *connection)
{
	int code = sqlite3_extended_errcode(connection);
	bool sync = code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;

	switch (code & 0xff) {
	case SQLITE_FULL:
		return ERR_LIMIT;
	case SQLITE_INTERRUPT:
		return ERR_TIMEOUT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_UNAVAILABLE;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_INTEGRITY;
	case SQLITE_IOERR: /* growing the -shm file on a full disk; a failed sync is never "full" */
		return !sync && sqlite3_system_errno(connection) == ENOSPC ? ERR_LIMIT : ERR_SYSTEM;
	default:
		return ERR_SYSTEM;
	}
}

bool database_error(struct database *database, const char *what, struct err *err)
{
	return err_set(err, code_of(database->connection), "queue.db: %s: %s (SQLite %d)", what,
		       sqlite3_errmsg(database->connection), sqlite3_extended_errcode(database->connection));
}

static int on_wal_commit(void *arg, sqlite3 *connection, const char *name, int pages)
{
	struct database *database = arg;

	(void)connection;
	(void)name;
	database->wal_pages = pages;
	if (pages > database->wal_file_pages)
		database->wal_file_pages = pages;
	return SQLITE_OK;
}

/* ---- opening ---- */

static bool execute(struct database *database, const char *sql, struct err *err)
{
	return sqlite3_exec(database->connection, sql, NULL, NULL, NULL) == SQLITE_OK || database_error(database, "open", err);
}

static struct database *open_connection(const char *path, int flags, struct err *err)
{
	struct database *database = mem_new(sizeof *database);

	if (sqlite3_open_v2(path, &database->connection, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		database_error(database, "open", err);
		database_close(database);
		return NULL;
	}
	sqlite3_extended_result_codes(database->connection, 1);
	sqlite3_busy_timeout(database->connection, BUSY_TIMEOUT_MS);
	/* else the last close would checkpoint and sync, even after a sync has failed */
	sqlite3_db_config(database->connection, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return database;
}

static bool prepare_statements(struct database *database, struct err *err)
{
	for (int i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(database->connection, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &database->statements[i], NULL) != SQLITE_OK)
			return database_error(database, statement_sql[i], err);
	return true;
}

/* SQLite gives its -wal and -shm files the mode of the database. */
static bool make_private_file(const char *path, struct err *err)
{
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(err, "open %s", path);
	close(fd);
	return true;
}

static bool require_wal(struct database *database, struct err *err)
{
	sqlite3_stmt *statement;
	bool is_wal = false;

	if (sqlite3_prepare_v2(database->connection, "PRAGMA journal_mode", -1, &statement, NULL) != SQLITE_OK)
		return database_error(database, "journal mode", err);
	if (sqlite3_step(statement) == SQLITE_ROW)
		is_wal = sqlite3_stricmp((const char *)sqlite3_column_text(statement, 0), "wal") == 0;
	sqlite3_finalize(statement);
	return is_wal || err_set(err, ERR_SYSTEM, "queue.db: this file system allows no write-ahead log");
}

static bool prepare_writer(struct database *database, struct err *err)
{
	if (!schema_check_version(database->connection, err) || !execute(database, writer_pragmas, err) ||
	    !require_wal(database, err))
		return false;
	sqlite3_wal_hook(database->connection, on_wal_commit, database); /* PRAGMA wal_autocheckpoint would remove it */
	return database_checkpoint(database, true, err) && queue_schema_migrate(database->connection, err) &&
	       prepare_statements(database, err);
}

struct database *database_open_writer(const char *path, struct err *err)
{
	struct database *database;

	if (!make_private_file(path, err))
		return NULL;
	database = open_connection(path, SQLITE_OPEN_READWRITE, err);
	if (database == NULL)
		return NULL;
	if (!prepare_writer(database, err)) {
		database_close(database);
		return NULL;
	}
	return database;
}

struct database *database_open_reader(const char *path, struct err *err)
{
	struct database *database = open_connection(path, SQLITE_OPEN_READONLY, err);

	if (database == NULL)
		return NULL;
	if (!execute(database, reader_pragmas, err) || !prepare_statements(database, err)) {
		database_close(database);
		return NULL;
	}
	return database;
}

void database_close(struct database *database)
{
	if (database == NULL)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(database->statements[i]);
	sqlite3_close(database->connection);
	free(database);
}

/* ---- running ---- */

static int is_late(void *arg)
{
	const struct database *database = arg;

	return clock_monotonic_ms() > database->deadline_ms;
}

void database_set_deadline(struct database *database, int64_t ms)
{
	database->deadline_ms = clock_monotonic_ms() + ms;
	sqlite3_progress_handler(database->connection, PROGRESS_STEPS, ms > 0 ? is_late : NULL, database);
}

sqlite3_stmt *database_statement(struct database *database, enum statement statement)
{
	return database->statements[statement];
}

bool database_step(struct database *database, sqlite3_stmt *statement, bool *row, struct err *err)
{
	int code = sqlite3_step(statement);

	if (code != SQLITE_ROW && code != SQLITE_DONE)
		return database_error(database, sqlite3_sql(statement), err);
	*row = code == SQLITE_ROW;
	return true;
}

void database_reset(sqlite3_stmt *statement)
{
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
}

bool database_run(struct database *database, sqlite3_stmt *statement, struct err *err)
{
	bool row = true, ok = true;

	while (row && ok)
		ok = database_step(database, statement, &row, err);
	database_reset(statement);
	return ok;
}

bool database_run_plain(struct database *database, enum statement statement, struct err *err)
{
	return database_run(database, database->statements[statement], err);
}

bool database_number(struct database *database, enum statement statement, int64_t missing, int64_t *number, struct err *err)
{
	sqlite3_stmt *prepared = database->statements[statement];
	bool row = false, ok = database_step(database, prepared, &row, err);

	if (ok)
		*number = row && sqlite3_column_type(prepared, 0) != SQLITE_NULL ? sqlite3_column_int64(prepared, 0) : missing;
	database_reset(prepared);
	return ok;
}

bool database_in_transaction(const struct database *database)
{
	return !sqlite3_get_autocommit(database->connection);
}

int64_t database_changes(const struct database *database)
{
	return sqlite3_changes64(database->connection);
}

/* ---- housekeeping ---- */

int database_wal_pages(const struct database *database)
{
	return database->wal_pages;
}

bool database_checkpoint(struct database *database, bool truncate, struct err *err)
{
	int pages = 0, copied = 0;
	int mode = truncate ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
	int code = sqlite3_wal_checkpoint_v2(database->connection, NULL, mode, &pages, &copied);

	if (code != SQLITE_OK && (truncate || (code & 0xff) != SQLITE_BUSY))
		return database_error(database, "checkpoint", err);
	if (code == SQLITE_OK && copied == pages)
		database->wal_pages = 0;
	if (code == SQLITE_OK && truncate)
		database->wal_file_pages = 0;
	return true;
}

bool database_shrink_wal(struct database *database, struct err *err)
{
	if (database->wal_pages > 0 || database->wal_file_pages == 0 || database_checkpoint(database, true, err))
		return true;
	return err->code == ERR_UNAVAILABLE;
}

bool database_has_slack(struct database *database)
{
	int64_t pages, unused;

	return database_number(database, S_PAGE_COUNT, 0, &pages, NULL) &&
	       database_number(database, S_FREE_PAGES, 0, &unused, NULL) && unused > SLACK_PAGES_MIN && unused > pages / 4;
}

bool database_vacuum_some(struct database *database, struct err *err)
{
	return database_run_plain(database, S_VACUUM, err);
}

/* ---- parameters and columns ---- */

void bind_number(sqlite3_stmt *statement, int at, int64_t number)
{
	sqlite3_bind_int64(statement, at, number);
}

void bind_id(sqlite3_stmt *statement, int at, uint64_t id)
{
	sqlite3_bind_int64(statement, at, (int64_t)id);
}

void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
	sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

void bind_octets(sqlite3_stmt *statement, int at, struct bytes octets)
{
	sqlite3_bind_blob64(statement, at, octets.len > 0 ? (const void *)octets.data : "", octets.len, SQLITE_STATIC);
}

char *row_text(sqlite3_stmt *statement, int at)
{
	const char *text = (const char *)sqlite3_column_text(statement, at);

	return text != NULL ? mem_string(text) : NULL;
}

void column_octets(sqlite3_stmt *statement, int at, struct buf *out)
{
	const void *data = sqlite3_column_blob(statement, at);

	buf_put(out, data, (size_t)sqlite3_column_bytes(statement, at));
}

uint64_t column_id(sqlite3_stmt *statement, int at)
{
	return (uint64_t)sqlite3_column_int64(statement, at);
}
