#include "provisioning/store/backup.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/store/store_private.h"

#define AGAIN_MS 20

static bool failed(sqlite3 *db, const char *what, struct err *err)
{
	int code = sqlite3_errcode(db) & 0xff;

	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return err_set(err, ERR_INTEGRITY, "%s: the database is damaged: %s", what, sqlite3_errmsg(db));
	return err_set(err, ERR_UNAVAILABLE, "%s: %s", what, sqlite3_errmsg(db));
}

static sqlite3 *open_copy(const char *path, struct err *err)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(db, STORE_BUSY_MS);
		return db;
	}
	failed(db, path, err);
	sqlite3_close(db);
	return NULL;
}

static bool run(sqlite3 *db, const char *sql, struct err *err)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || failed(db, "copy of " STORE_FILE, err);
}

/* The first column of the first row, as text; free() it. */
static char *ask(sqlite3 *db, const char *sql, struct err *err)
{
	sqlite3_stmt *statement = NULL;
	char *answer = NULL;

	if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(statement, 0);

		answer = mem_string(text == NULL ? "" : text);
	} else {
		failed(db, "copy of " STORE_FILE, err);
	}
	sqlite3_finalize(statement);
	return answer;
}

static bool ask_number(sqlite3 *db, const char *sql, uint64_t *number, struct err *err)
{
	char *answer = ask(db, sql, err);

	if (answer == NULL)
		return false;
	*number = strtoull(answer, NULL, 10);
	free(answer);
	return true;
}

/* ---- page by page ---- */

static bool copy_pages(sqlite3 *to, sqlite3 *from, struct err *err)
{
	const struct timespec again = {.tv_nsec = AGAIN_MS * 1000000L};
	int64_t deadline_ms = clock_monotonic_ms() + STORE_BUSY_MS;
	sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
	int status;

	if (backup == NULL)
		return failed(to, "copy of " STORE_FILE, err);
	while ((status = sqlite3_backup_step(backup, -1)) == SQLITE_BUSY || status == SQLITE_LOCKED) {
		if (clock_monotonic_ms() >= deadline_ms)
			break;
		(void)nanosleep(&again, NULL);
	}
	if (sqlite3_backup_finish(backup) == SQLITE_OK && status == SQLITE_DONE)
		return true;
	return err_set(err, ERR_UNAVAILABLE, "copy of " STORE_FILE ": %s", sqlite3_errstr(status));
}

bool store_copy(struct store *store, const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	sqlite3 *copy;
	bool copied;

	if (fd < 0)
		return err_errno(err, "%s", path);
	close(fd);
	copy = open_copy(path, err);
	copied = copy != NULL && copy_pages(copy, store->db, err) && run(copy, "PRAGMA journal_mode = DELETE", err);
	sqlite3_close(copy);
	if (!copied)
		(void)unlink(path);
	return copied;
}

bool store_replace(struct store *store, const char *path, struct err *err)
{
	sqlite3 *copy = open_copy(path, err);
	bool replaced = copy != NULL && copy_pages(store->db, copy, err);

	sqlite3_close(copy);
	return replaced;
}

/* ---- is it ours, and whole? ---- */

static bool check_pages(sqlite3 *copy, struct err *err)
{
	char *answer = ask(copy, "PRAGMA integrity_check(1)", err);
	bool whole = answer != NULL && strcmp(answer, "ok") == 0;
	uint64_t orphans = 0;

	if (answer != NULL && !whole)
		err_set(err, ERR_INTEGRITY, "the database is damaged: %s", answer);
	free(answer);
	if (!whole || !ask_number(copy, "SELECT count(*) FROM pragma_foreign_key_check", &orphans, err))
		return false;
	return orphans == 0 || err_set(err, ERR_INTEGRITY, "the database is damaged: rows refer to others that are not there");
}

static bool migrate(sqlite3 *copy, struct store_copy_facts *facts, struct err *err)
{
	struct store store = {.db = copy};
	bool migrated = schema_version(copy, &facts->schema, err) && schema_migrate(&store, err);

	for (size_t i = 0; i < SQL_STATEMENTS; i++)
		sqlite3_finalize(store.statements[i]);
	return migrated;
}

static bool attach(sqlite3 *copy, struct store *store, struct err *err)
{
	char *sql = sqlite3_mprintf("ATTACH %Q AS live", sqlite3_db_filename(store->db, "main"));
	bool attached = run(copy, sql, err);

	sqlite3_free(sql);
	return attached;
}

/* Tables, indexes, and nothing that would run: the same as ours, made by the same steps. */
static bool check_schema(sqlite3 *copy, struct err *err)
{
	uint64_t differences = 0;

	if (!ask_number(copy,
			"SELECT (SELECT count(*) FROM (SELECT type, name, tbl_name, sql FROM main.sqlite_schema EXCEPT "
			"SELECT type, name, tbl_name, sql FROM live.sqlite_schema)) + "
			"(SELECT count(*) FROM (SELECT type, name, tbl_name, sql FROM live.sqlite_schema EXCEPT "
			"SELECT type, name, tbl_name, sql FROM main.sqlite_schema))",
			&differences, err))
		return false;
	return differences == 0 || err_set(err, ERR_INVALID, "it is no database of Inkan");
}

static bool count(sqlite3 *copy, struct store_copy_facts *facts, struct err *err)
{
	uint64_t accounts, administrators, certificates;

	if (!ask_number(copy, "SELECT count(*) FROM main.account", &accounts, err) ||
	    !ask_number(copy, "SELECT count(*) FROM main.account WHERE role = 1", &administrators, err) ||
	    !ask_number(copy, "SELECT count(*) FROM main.certificate", &certificates, err) ||
	    !ask_number(copy, "SELECT coalesce(max(revision), 0) FROM main.running", &facts->revision, err))
		return false;
	facts->accounts = accounts;
	facts->administrators = administrators;
	facts->certificates = certificates;
	return administrators > 0 || err_set(err, ERR_INVALID, "it has no administrator");
}

/* ---- the audit trail goes on ---- */

static bool is_earlier_part(sqlite3 *copy, bool *earlier, struct err *err)
{
	uint64_t strangers = 0;

	if (!ask_number(copy,
			"SELECT count(*) FROM main.audit AS theirs LEFT JOIN live.audit AS ours USING (number) "
			"WHERE ours.hash IS NOT theirs.hash",
			&strangers, err))
		return false;
	*earlier = strangers == 0;
	return true;
}

static bool take_table(sqlite3 *copy, const char *table, struct err *err)
{
	char *sql =
	    sqlite3_mprintf("DELETE FROM main.\"%w\"; INSERT INTO main.\"%w\" SELECT * FROM live.\"%w\"", table, table, table);
	bool taken = run(copy, sql, err);

	sqlite3_free(sql);
	return taken;
}

/* `whole` false: only what is of this machine, the commands under way and how far inkand's events were taken in. */
static bool take_audit(sqlite3 *copy, bool whole, struct err *err)
{
	sqlite3_stmt *tables = NULL;
	bool taken = sqlite3_prepare_v2(copy,
					"SELECT name FROM live.sqlite_schema WHERE type = 'table' AND "
					"(name IN ('audit_begun', 'audit_events') OR "
					"?1 AND (name = 'audit' OR name GLOB 'audit_*'))",
					-1, &tables, NULL) == SQLITE_OK ||
		     failed(copy, "audit", err);

	sqlite3_bind_int(tables, 1, whole);
	while (taken && sqlite3_step(tables) == SQLITE_ROW)
		taken = take_table(copy, (const char *)sqlite3_column_text(tables, 0), err);
	sqlite3_finalize(tables);
	return taken;
}

static bool prepare(sqlite3 *copy, struct store *store, struct store_copy_facts *facts, struct err *err)
{
	return run(copy, "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL", err) &&
	       check_pages(copy, err) && migrate(copy, facts, err) && attach(copy, store, err) && check_schema(copy, err) &&
	       count(copy, facts, err) && is_earlier_part(copy, &facts->audit_kept, err) && run(copy, "BEGIN IMMEDIATE", err) &&
	       take_audit(copy, facts->audit_kept, err) && run(copy, "COMMIT", err);
}

bool store_copy_prepare(struct store *store, const char *path, struct store_copy_facts *facts, struct err *err)
{
	struct store_copy_facts found = {0};
	sqlite3 *copy = open_copy(path, err);
	bool prepared = copy != NULL && prepare(copy, store, &found, err);

	sqlite3_close(copy);
	if (prepared)
		*facts = found;
	return prepared;
}
