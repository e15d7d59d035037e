#include "provisioning/console/key_making.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "appliance/base/clock.h"

#define LOCK_POLL_MS 50

static int open_lock(const struct console *console, struct err *err)
{
	char *path = mem_format("%s/" KEYS_LOCK, console->state);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		err_errno(err, "%s", path);
	free(path);
	return fd;
}

static bool share_lock(struct console *console, struct key_making *making, struct err *err)
{
	int64_t deadline = clock_monotonic_ms() + KEYS_LOCK_WAIT_MS;

	making->lock = open_lock(console, err);
	if (making->lock < 0)
		return false;
	while (flock(making->lock, LOCK_SH | LOCK_NB) != 0) {
		if (clock_monotonic_ms() > deadline) {
			close(making->lock);
			return err_set(err, ERR_TIMEOUT, "another console is removing keys from the token: try again");
		}
		usleep(LOCK_POLL_MS * 1000);
	}
	return true;
}

bool key_making_begin(struct console *console, struct key_making *making, struct err *err)
{
	struct key_making begun = {.lock = -1};
	struct pending_key row = {.key_id = bytes_of(begun.id, sizeof begun.id),
				  .what = console->audit_text,
				  .by = console->account,
				  .from = console->origin};

	keys_sweep(console);
	if (getrandom(begun.id, sizeof begun.id, 0) != sizeof begun.id)
		return err_errno(err, "getrandom");
	if (!share_lock(console, &begun, err))
		return false;
	if (!store_pending_key_add(console->store, &row, err)) {
		close(begun.lock);
		return false;
	}
	*making = begun;
	return true;
}

bool key_making_task(struct console *console, struct key_making *making, struct task *task, struct err *err)
{
	making->clean = true; /* until the task has begun */
	if (!task_open(console, task, err))
		return false;
	making->clean = false;
	task->call.lock = making->lock;
	task->call.clean = &making->clean;
	return true;
}

void key_making_end(struct console *console, struct key_making *making, bool named)
{
	struct err err;

	if (!named && making->clean && !store_pending_key_end(console->store, bytes_of(making->id, sizeof making->id), &err))
		console_say(console, "warning: %s", err.text);
	close(making->lock);
	making->lock = -1;
}

/* ---- removing ---- */

static bool remove_key(struct console *console, struct bytes key_id, uint32_t *destroyed, struct err *err)
{
	struct task task;
	bool done = task_open(console, &task, err);

	if (done) {
		done = provision_delete(&task.call, key_id, destroyed, err);
		task_close(&task);
	}
	return done;
}

void key_making_take_back(struct console *console, struct key_making *making, struct err *why)
{
	struct err err;
	uint32_t destroyed;

	making->clean = remove_key(console, bytes_of(making->id, sizeof making->id), &destroyed, &err);
	if (!making->clean)
		err_prefix(why, "the key is left on the token until it can be removed (%s)", err.text);
}

static bool audit_removal(struct console *console, const struct pending_key *key, uint32_t destroyed, struct err *err)
{
	char began[CONSOLE_TIME_BYTES], *what;
	struct audit_entry entry = {.who = (char *)"", .from = (char *)"sweep", .result = (char *)"ok"};
	bool written;

	console_time(began, key->began_ms);
	what = mem_format("remove the key of \"%s\", begun by %s at %s and broken off [%u object%s removed from the token]",
			  key->what, key->by, began, destroyed, destroyed == 1 ? "" : "s");
	entry.what = what;
	written = store_audit_add(console->store, &entry, err);
	if (written && destroyed > 0)
		console_say(console, "\"%s\" of %s was broken off: its key was removed from the token", key->what, began);
	free(what);
	return written;
}

/* The audit row before the row that asks for it goes: a sweep that is itself broken off begins again. */
static bool settle(struct console *console, const struct pending_keys *keys, size_t count, const uint32_t *destroyed,
		   struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		/* What the token had begun has no id: it goes with the last row. */
		uint32_t objects = destroyed[i] + (i + 1 == count ? destroyed[count] : 0);

		if (!audit_removal(console, &keys->items[i], objects, err) ||
		    !store_pending_key_end(console->store, keys->items[i].key_id, err))
			return false;
	}
	return true;
}

static bool sweep_keys(struct console *console, const struct pending_keys *keys, struct err *err)
{
	size_t count = keys->count < SWEEP_MAX_KEYS ? keys->count : SWEEP_MAX_KEYS;
	struct sweep_task sweep = {.key_ids = mem_new_array(count, sizeof *sweep.key_ids), .count = count};
	uint32_t *destroyed = mem_new_array(count + 1, sizeof *destroyed);
	struct task task;
	bool done = task_open(console, &task, err);

	for (size_t i = 0; i < count; i++)
		sweep.key_ids[i] = keys->items[i].key_id;
	if (done) {
		done = provision_sweep(&task.call, &sweep, destroyed, err) && settle(console, keys, count, destroyed, err);
		task_close(&task);
	}
	free(sweep.key_ids);
	free(destroyed);
	return done;
}

static void sweep_rows(struct console *console)
{
	struct pending_keys keys;
	struct err err = {0};

	if (!store_pending_keys(console->store, &keys, &err))
		return;
	if (keys.count > 0 && !sweep_keys(console, &keys, &err))
		console_say(
		    console,
		    "note: %zu key%s of broken-off commands may be on the token and will be removed when it can be reached (%s)",
		    keys.count, keys.count == 1 ? "" : "s", err.text);
	pending_keys_clear(&keys);
}

static bool has_rows(struct console *console)
{
	struct pending_keys keys;
	bool any;

	if (!store_pending_keys(console->store, &keys, NULL))
		return false;
	any = keys.count > 0;
	pending_keys_clear(&keys);
	return any;
}

void keys_sweep(struct console *console)
{
	int lock;

	if (!has_rows(console))
		return;
	lock = open_lock(console, NULL);
	if (lock < 0)
		return;
	if (flock(lock, LOCK_EX | LOCK_NB) == 0)
		sweep_rows(console);
	close(lock);
}
