/*
 * A connection to queue.db with its prepared statements. One thread at a time. The pragmas and the schema are in database.c and
 * schema.c; the SQL of every statement is in statements.c.
 *
 * Errors: ERR_LIMIT the disk is full (rolled back, the next transaction may succeed), ERR_UNAVAILABLE another program
 * holds the database, ERR_INTEGRITY the file is damaged, ERR_SYSTEM anything else: no sync may be tried again (queue.md §4).
 */
#ifndef INKAN_QUEUE_DATABASE_H
#define INKAN_QUEUE_DATABASE_H

#include <sqlite3.h>

#include "appliance/base/bytes.h"
#include "appliance/relay/queue/statements.h"

struct database;

/* The writing connection: makes or migrates the database, empties the WAL of the last run. A newer schema is ERR_INVALID. */
struct database *database_open_writer(const char *path, struct err *err);
struct database *database_open_reader(const char *path, struct err *err); /* read-only; after the writer */
void database_close(struct database *database); /* neither checkpoints nor syncs; NULL is fine */

sqlite3_stmt *database_statement(struct database *database, enum statement statement);

/* One step: *row says whether there is a row to read. The statement must be reset with database_reset after the last one. */
bool database_step(struct database *database, sqlite3_stmt *statement, bool *row, struct err *err) MUST_USE;
void database_reset(sqlite3_stmt *statement);

/* Every later step ends with ERR_TIMEOUT once `ms` from now have passed; 0: never. */
void database_set_deadline(struct database *database, int64_t ms);

/* Runs to the end, resets. Rows are not looked at. */
bool database_run(struct database *database, sqlite3_stmt *statement, struct err *err) MUST_USE;
bool database_run_plain(struct database *database, enum statement statement, struct err *err) MUST_USE;

/* The single integer of a statement without parameters; `missing` when it has no row or NULL. */
bool database_number(struct database *database, enum statement statement, int64_t missing, int64_t *number,
		     struct err *err) MUST_USE;

bool database_in_transaction(const struct database *database);
int64_t database_changes(const struct database *database); /* rows of the last INSERT, UPDATE or DELETE */

/* Pages in the WAL since its last checkpoint. */
int database_wal_pages(const struct database *database);

/* Copies the WAL into the database. `truncate` requires that nobody reads and that all of it was copied. */
bool database_checkpoint(struct database *database, bool truncate, struct err *err) MUST_USE;

/* Gives the space of a WAL that is wholly copied back to the file system. Nothing happens while somebody reads. */
bool database_shrink_wal(struct database *database, struct err *err) MUST_USE;

/* More than a quarter of the file is unused. */
bool database_has_slack(struct database *database);
bool database_vacuum_some(struct database *database, struct err *err) MUST_USE;

/* *err from the connection's last error. Returns false. */
bool database_error(struct database *database, const char *what, struct err *err);

/* Parameters; the octets must stay until the statement is reset. */
void bind_number(sqlite3_stmt *statement, int at, int64_t number);
void bind_id(sqlite3_stmt *statement, int at, uint64_t id);
void bind_text(sqlite3_stmt *statement, int at, const char *text); /* NULL is SQL NULL */
void bind_octets(sqlite3_stmt *statement, int at, struct bytes octets); /* empty is an empty BLOB, not NULL */

/* Columns. Copies: free() or buf_clear() them. */
char *row_text(sqlite3_stmt *statement, int at); /* NULL for SQL NULL */
void column_octets(sqlite3_stmt *statement, int at, struct buf *out);
uint64_t column_id(sqlite3_stmt *statement, int at);

/* schema.c: brings the schema to the newest version, in one transaction; for database_open_writer. */
bool queue_schema_migrate(sqlite3 *connection, struct err *err) MUST_USE;
bool schema_check_version(sqlite3 *connection, struct err *err) MUST_USE; /* not newer than this program */

#endif
