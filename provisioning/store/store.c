#include "provisioning/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioning/store/store_private.h"

static const char open_pragmas[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";

static bool run_pragmas(struct store *store, const char *pragmas, struct err *err)
{
	if (sqlite3_exec(store->db, pragmas, NULL, NULL, NULL) != SQLITE_OK)
		return store_sqlite_error(store, "open", err);
	return true;
}

static struct store *open_file(const char *path, struct err *err)
{
	struct store *store = mem_new(sizeof *store);

	store->audit_lock = -1;
	if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
		store_sqlite_error(store, "open", err);
		store_close(store);
		return NULL;
	}
	sqlite3_busy_timeout(store->db, STORE_BUSY_MS);
	return store;
}

/*
 * The file exists with mode 0600 before SQLite sees it; its -wal and -shm take the same mode. An existing one is never
 * opened here: closing it would drop the locks of another handle of this process.
 */
static bool make_file(const char *path, enum store_mode mode, struct err *err)
{
	struct stat status;
	int fd;

	if (lstat(path, &status) == 0) {
		if (!S_ISREG(status.st_mode) || (status.st_mode & 077) != 0)
			return err_set(err, ERR_DENIED, "%s must be a file of mode 0600", path);
		return true;
	}
	if (errno != ENOENT)
		return err_errno(err, "%s", path);
	if (mode == STORE_READ_ONLY)
		return err_set(err, ERR_NOT_FOUND, "%s does not exist yet", path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST)
		return err_errno(err, "%s", path);
	if (fd >= 0)
		close(fd);
	return true;
}

static struct store *open_migrated(const char *path, enum store_mode mode, struct err *err)
{
	struct store *store = open_file(path, err);

	if (store == NULL)
		return NULL;
	if (run_pragmas(store, open_pragmas, err) && schema_migrate(store, err) &&
	    (mode == STORE_READ_WRITE || run_pragmas(store, "PRAGMA query_only = ON", err)))
		return store;
	store_close(store);
	return NULL;
}

struct store *store_open(const char *directory, enum store_mode mode, struct err *err)
{
	char *path = mem_format("%s/%s", directory, STORE_FILE);
	struct store *store = make_file(path, mode, err) ? open_migrated(path, mode, err) : NULL;

	if (store != NULL)
		store->directory = mem_string(directory);
	free(path);
	return store;
}

void store_close(struct store *store)
{
	if (store == NULL)
		return;
	for (size_t i = 0; i < SQL_STATEMENTS; i++)
		sqlite3_finalize(store->statements[i]);
	sqlite3_close(store->db);
	if (store->audit_lock >= 0)
		close(store->audit_lock);
	free(store->directory);
	free(store);
}
