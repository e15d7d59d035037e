/*
 * Commands under way. Who has begun one holds a lock on the octet of STATE/audit.lock that its row numbers, which ends with the
 * process however it ends: a row whose octet is free was broken off.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/store/audit_private.h"

#define LOCK_FILE "audit.lock"

static bool open_lock(struct store *store, struct err *err)
{
	char *path;

	if (store->audit_lock >= 0)
		return true;
	path = mem_format("%s/" LOCK_FILE, store->directory);
	store->audit_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->audit_lock < 0)
		err_errno(err, "%s", path);
	free(path);
	return store->audit_lock >= 0;
}

static struct flock octet(short type, int64_t at)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
}

static bool begin(struct store *store, const struct audit_entry *entry, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_BEGUN_ADD);
	struct flock lock;

	query_number(&query, clock_wall_ms());
	query_text(&query, entry->who);
	query_text(&query, entry->from);
	query_text(&query, entry->what);
	if (!query_run(&query, err))
		return false;
	store->audit_begun[store->audit_depth++] = sqlite3_last_insert_rowid(store->db);
	lock = octet(F_WRLCK, store->audit_begun[store->audit_depth - 1]);
	return fcntl(store->audit_lock, F_OFD_SETLK, &lock) == 0 || err_errno(err, LOCK_FILE);
}

static void release(struct store *store)
{
	struct flock lock = octet(F_UNLCK, store->audit_begun[--store->audit_depth]);

	(void)fcntl(store->audit_lock, F_OFD_SETLK, &lock);
}

bool store_audit_begin(struct store *store, const struct audit_entry *entry, struct err *err)
{
	size_t depth = store->audit_depth;

	if (depth == AUDIT_NESTED_MAX)
		return err_set(err, ERR_LIMIT, "commands within commands");
	if (!open_lock(store, err) || !transaction_begin(store, err))
		return false;
	if (transaction_end(store, begin(store, entry, err), err))
		return true;
	if (store->audit_depth > depth)
		release(store);
	return false;
}

static bool forget(struct store *store, int64_t id, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_BEGUN_END);

	query_number(&query, id);
	return query_run(&query, err);
}

bool store_audit_end(struct store *store, const struct audit_entry *entry, struct err *err)
{
	struct audit_read_up read;
	bool done =
	    transaction_begin(store, err) &&
	    transaction_end(store,
			    audit_read_up(store, &read, err) && forget(store, store->audit_begun[store->audit_depth - 1], err) &&
				audit_append(store, entry, err),
			    err);

	release(store);
	if (done)
		audit_read_up_done(store, &read);
	return done;
}

/* ---- those whose console has ended ---- */

static bool is_under_way(struct store *store, int64_t id)
{
	struct flock lock = octet(F_WRLCK, id);

	for (size_t i = 0; i < store->audit_depth; i++) { /* a handle does not see its own locks */
		if (store->audit_begun[i] == id)
			return true;
	}
	return fcntl(store->audit_lock, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static bool settle(struct store *store, int64_t id, const struct audit_entry *entry, struct err *err)
{
	return is_under_way(store, id) || (audit_append(store, entry, err) && forget(store, id, err));
}

struct broken_off {
	int64_t *ids;
	struct audit_entries entries;
};

static bool list(struct store *store, struct broken_off *found, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_BEGUN_LIST);
	struct audit_entries *entries = &found->entries;

	while (query_row(&query)) {
		found->ids = mem_resize(found->ids, entries->count + 1, sizeof *found->ids);
		found->ids[entries->count] = column_number(&query, 0);
		entries->items = mem_resize(entries->items, entries->count + 1, sizeof *entries->items);
		entries->items[entries->count++] = (struct audit_entry){
		    .time_ms = column_number(&query, 1),
		    .who = column_text(&query, 2),
		    .from = column_text(&query, 3),
		    .what = column_text(&query, 4),
		    .result = mem_string("begun, but its end was not recorded: look at what it has changed"),
		};
	}
	return query_end(&query, err);
}

bool audit_broken_off(struct store *store, struct err *err)
{
	struct broken_off found = {0};
	bool fine = list(store, &found, err);

	fine = fine && (found.entries.count == 0 || open_lock(store, err));
	for (size_t i = 0; fine && i < found.entries.count; i++)
		fine = settle(store, found.ids[i], &found.entries.items[i], err);
	audit_entries_clear(&found.entries);
	free(found.ids);
	return fine;
}
