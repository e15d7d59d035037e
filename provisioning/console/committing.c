#include "provisioning/console/committing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/control_client.h"
#include "provisioning/console/uninterrupted.h"

#define LOCK_DIRECTORY "run"
#define LOCK_FILE "run/commit.lock"
#define LOCK_AGAIN_MS 100

/* ---- the lock ---- */

static int open_lock(const char *state, struct err *err)
{
	char *directory = mem_format("%s/%s", state, LOCK_DIRECTORY), *path = mem_format("%s/%s", state, LOCK_FILE);
	int fd;

	(void)mkdir(directory, 0700);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		err_errno(err, "%s", path);
	free(path);
	free(directory);
	return fd;
}

bool commit_lock(const char *state, int wait_ms, int *fd, struct err *err)
{
	int64_t deadline_ms = clock_monotonic_ms() + wait_ms;
	int lock = open_lock(state, err);

	if (lock < 0)
		return false;
	while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK && clock_monotonic_ms() < deadline_ms) {
			(void)usleep(LOCK_AGAIN_MS * 1000);
			continue;
		}
		if (errno == EWOULDBLOCK)
			err_set(err, ERR_UNAVAILABLE, "somebody else is committing right now; try again");
		else
			err_errno(err, "%s", LOCK_FILE);
		close(lock);
		return false;
	}
	*fd = lock;
	return true;
}

/* ---- propose, apply, accept ---- */

enum applied { APPLIED, NOT_RUNNING, REFUSED };

static enum applied apply(struct console *console, uint64_t number, bool check_only, uint64_t before, struct err *err)
{
	struct control_client client;
	struct err ignored;
	bool done;

	if (!control_open(&client, console->state, err))
		return err->code == ERR_UNAVAILABLE ? NOT_RUNNING : REFUSED;
	done = control_apply(&client, number, check_only, err);
	control_close(&client);
	/* Nobody knows whether the relay has it when the answer did not come: ask for what ran before. */
	if (!done && !check_only && err->code == ERR_TIMEOUT && before != 0 && control_open(&client, console->state, &ignored)) {
		if (!control_apply(&client, before, false, &ignored))
			err_prefix(err, "revision %llu could not be put back (%s)", (unsigned long long)before, ignored.text);
		control_close(&client);
	}
	return done ? APPLIED : REFUSED;
}

static void withdraw(struct console *console, uint64_t number)
{
	struct err err;

	if (!store_revision_withdraw(console->store, number, &err))
		console_say(console, "%s", err.text);
}

bool revision_commit(struct console *console, const struct revision *next, bool check_only, struct committed *committed,
		     struct err *err)
{
	enum applied applied;
	uint64_t number;

	if (!store_revision_propose(console->store, next, &number, err))
		return false;
	applied = apply(console, number, check_only, next->base, err);
	if (applied == REFUSED || check_only)
		withdraw(console, number);
	if (applied == REFUSED)
		return err_prefix(err, check_only ? "the mail server would refuse it" : "not committed, the running one stays");
	if (!check_only && !store_revision_accept(console->store, number, err))
		return false;
	*committed = (struct committed){.number = check_only ? 0 : number, .inkand = applied == APPLIED};
	return true;
}

/* ---- commit confirmed ---- */

bool revision_is_late(const struct revision *running, int64_t now_ms)
{
	return running->confirm_ms != 0 && running->confirm_ms <= now_ms;
}

char *revision_waits_text(const struct revision *running, int64_t now_ms)
{
	long long seconds = (long long)((running->confirm_ms - now_ms + 999) / 1000), minutes = (seconds + 59) / 60;

	if (running->confirm_ms == 0)
		return NULL;
	if (seconds <= 0)
		return mem_format("revision %llu was not confirmed in time and is being rolled back to %llu",
				  (unsigned long long)running->number, (unsigned long long)running->confirm_back);
	return mem_format("revision %llu will be rolled back to %llu in %lld %s unless you commit",
			  (unsigned long long)running->number, (unsigned long long)running->confirm_back,
			  seconds < 60 ? seconds : minutes,
			  seconds == 1	 ? "second"
			  : seconds < 60 ? "seconds"
			  : minutes == 1 ? "minute"
					 : "minutes");
}

/* What the revision before had, with the certificates that it meant. */
static bool copy_of_earlier(struct console *console, const struct revision *late, struct revision *next, struct err *err)
{
	struct revision earlier;
	bool resolved;

	if (!store_revision(console->store, late->confirm_back, &earlier, err))
		return false;
	resolved = store_resolve_certificates(console->store, &earlier.settings, &earlier.choices, &next->choices, err);
	if (resolved) {
		next->settings = earlier.settings;
		earlier.settings = (struct settings){0};
	}
	revision_clear(&earlier);
	return resolved;
}

static bool take_back(struct console *console, const struct revision *late, uint64_t *back, struct err *err)
{
	struct revision next = {.base = late->number, .by = console->account};
	struct committed committed;
	char *what;
	bool done;

	next.comment = mem_format("revision %llu was not confirmed: revision %llu again", (unsigned long long)late->number,
				  (unsigned long long)late->confirm_back);
	what = mem_format("commit confirmed: %s", next.comment);
	done = copy_of_earlier(console, late, &next, err) && revision_commit(console, &next, false, &committed, err) &&
	       console_audit(console, what, "ok", err);
	if (done)
		*back = committed.number;
	free(what);
	free(next.comment);
	settings_clear(&next.settings);
	certificate_choices_clear(&next.choices);
	return done;
}

bool revision_take_back(struct console *console, uint64_t *back, struct err *err)
{
	char *account = console->account, *origin = console->origin;
	struct revision running;
	bool done = true;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	*back = 0;
	if (revision_is_late(&running, clock_wall_ms())) {
		console->account = (char *)COMMIT_AUTOMATIC; /* whoever happens to be there did not do it */
		console->origin = (char *)"timer";
		done = take_back(console, &running, back, err);
		console->account = account;
		console->origin = origin;
	}
	revision_clear(&running);
	return done;
}

bool commit_take_back(struct console *console, struct err *err)
{
	sigset_t before;
	uint64_t back;
	bool done;
	int lock;

	if (!commit_lock(console->state, COMMIT_LOCK_WAIT_MS, &lock, err))
		return false;
	uninterrupted_begin(&before);
	done = revision_take_back(console, &back, err);
	uninterrupted_end(&before);
	close(lock);
	return done;
}
