/*
 * backup and restore of inkan.db as a whole: configuration with its revisions, certificates, accounts. The keys stay in the HSM.
 * The audit trail is never taken back in time.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/backup_file.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/committing.h"
#include "provisioning/console/control_client.h"
#include "provisioning/console/login.h"
#include "provisioning/console/two_person.h"
#include "provisioning/console/uninterrupted.h"
#include "provisioning/store/backup.h"

/* ---- backup ---- */

static bool make_backup(struct console *console, const char *path, bool force, struct err *err)
{
	char *copy = mem_format("%s/%s.backup-%ld", console->state, STORE_FILE, (long)getpid());
	char time[CONSOLE_TIME_BYTES];
	bool made = store_copy(console->store, copy, err);

	if (made) {
		console_time(time, clock_wall_ms());
		made = backup_write(copy, path, time, console->account, force, err);
		(void)unlink(copy);
	}
	if (made)
		console_say(
		    console,
		    "Backup written: %s. It holds password hashes and sealed passwords, so keep it safe; the keys stay in "
		    "the HSM",
		    path);
	free(copy);
	return made;
}

bool backup(struct console *console, const struct parsed *parsed, struct err *err)
{
	return make_backup(console, parsed->typed[0], false, err);
}

bool backup_force(struct console *console, const struct parsed *parsed, struct err *err)
{
	return make_backup(console, parsed->typed[0], true, err);
}

/* ---- restore ---- */

struct restoring {
	char *copy; /* the backup's database, beside ours */
	char *aside; /* where ours is kept */
	struct backup_head head;
	struct store_copy_facts facts;
	uint64_t before; /* the revision that runs */
};

static void say_backup(struct console *console, const struct restoring *restoring)
{
	const struct store_copy_facts *facts = &restoring->facts;

	console_say(console, "Backup of %s UTC by %s: revision %llu ran, %zu accounts, %zu certificates", restoring->head.made,
		    restoring->head.by, (unsigned long long)facts->revision, facts->accounts, facts->certificates);
	console_say(console, "All of it takes the place of what is here, also the accounts and their passwords;\n%s",
		    facts->audit_kept ? "the audit trail goes on"
				      : "its audit trail, another appliance's, goes on; the one here is kept aside");
}

/* inkand reads the revision anew. When it refuses, what was here is put back. */
static bool tell_inkand(struct console *console, const struct restoring *restoring, bool *runs, struct err *err)
{
	struct control_client client;
	struct err why;
	bool done;

	*runs = false;
	if (!control_open(&client, console->state, err))
		return err->code == ERR_UNAVAILABLE;
	done = control_apply(&client, restoring->facts.revision, false, err);
	control_close(&client);
	*runs = done;
	if (done)
		return true;
	if (!store_replace(console->store, restoring->aside, &why))
		return err_prefix(err, "what was here could not be put back (%s), it is in %s", why.text, restoring->aside);
	(void)unlink(restoring->aside);
	if (err->code == ERR_TIMEOUT && control_open(&client, console->state, &why)) {
		(void)!control_apply(&client, restoring->before, false, &why);
		control_close(&client);
	}
	return err_prefix(err, "not restored, what was here stays");
}

static bool replace(struct console *console, const struct restoring *restoring, struct err *err)
{
	bool runs;

	if (!store_copy(console->store, restoring->aside, err))
		return false;
	if (!store_replace(console->store, restoring->copy, err)) {
		(void)unlink(restoring->aside);
		return false;
	}
	if (!tell_inkand(console, restoring, &runs, err))
		return false;
	console_say(console, "Restored: revision %llu %s. What was here is kept in\n%s",
		    (unsigned long long)restoring->facts.revision, runs ? "runs" : "runs when inkand starts", restoring->aside);
	console_say(console, "Keys that only the former certificates named stay on the token. Log in again");
	console->configuring = false;
	console->ended = true; /* the account may be another by now, or gone */
	return true;
}

static bool restore_confirmed(struct console *console, struct restoring *restoring, struct err *err)
{
	sigset_t before;
	bool done;
	int lock;

	say_backup(console, restoring);
	if (!login_confirm(console, err) || !commit_lock(console->state, 0, &lock, err))
		return false;
	uninterrupted_begin(&before);
	/* again: rows of the audit have come since */
	done = store_copy_prepare(console->store, restoring->copy, &restoring->facts, err) &&
	       store_running(console->store, &restoring->before, err) && replace(console, restoring, err);
	uninterrupted_end(&before);
	close(lock);
	return done;
}

static char *aside_name(const struct console *console)
{
	char time[CONSOLE_TIME_BYTES], *name;

	console_time(time, clock_wall_ms());
	name = mem_format("%s/%s.before-restore %s", console->state, STORE_FILE, time);
	for (char *at = name + strlen(console->state); *at != '\0'; at++)
		if (*at == ' ' || *at == ':')
			*at = '-';
	return name;
}

/* It would bring back accounts, the rule itself, and everything that two persons have decided. */
static bool one_person_may(struct console *console, struct err *err)
{
	bool waits;

	if (!two_person_needed(console, APPROVAL_COMMIT, true, &waits, err))
		return false;
	return !waits ||
	       err_set(err, ERR_DENIED,
		       "with " TWO_PERSON_SETTING " nothing is restored: let a commit that deletes it be approved first");
}

bool restore(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct restoring restoring = {.copy = mem_format("%s/%s.restore-%ld", console->state, STORE_FILE, (long)getpid()),
				      .aside = aside_name(console)};
	bool done = one_person_may(console, err) && backup_read(parsed->typed[0], restoring.copy, &restoring.head, err);

	if (done) {
		done = store_copy_prepare(console->store, restoring.copy, &restoring.facts, err)
			   ? restore_confirmed(console, &restoring, err)
			   : err_prefix(err, "%s", parsed->typed[0]);
		(void)unlink(restoring.copy);
	}
	free(restoring.copy);
	free(restoring.aside);
	return done;
}
