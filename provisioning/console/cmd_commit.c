/*
 * commit: the candidate is checked as a whole, proposed as a revision, applied by inkand, and then accepted; when inkand
 * or the relay refuses it is withdrawn, and what ran before still runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/control_client.h"
#include "provisioning/console/tree.h"
#include "provisioning/console/uninterrupted.h"

#define LOCK_DIRECTORY "run"
#define LOCK_FILE "run/commit.lock"

/* One commit at a time on a machine; the lock ends with the process. */
static bool take_lock(const char *state, int *fd, struct err *err)
{
	char *directory = mem_format("%s/%s", state, LOCK_DIRECTORY), *path = mem_format("%s/%s", state, LOCK_FILE);

	(void)mkdir(directory, 0700);
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*fd < 0)
		err_errno(err, "%s", path);
	free(path);
	free(directory);
	if (*fd < 0)
		return false;
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno == EWOULDBLOCK)
		err_set(err, ERR_UNAVAILABLE, "somebody else is committing right now; try again");
	else
		err_errno(err, "%s", LOCK_FILE);
	close(*fd);
	return false;
}

/* ---- what is to be committed ---- */

struct proposal {
	struct revision running;
	struct revision next; /* its `by` and `comment` are borrowed */
};

static void proposal_clear(struct proposal *proposal)
{
	revision_clear(&proposal->running);
	settings_clear(&proposal->next.settings);
	certificate_choices_clear(&proposal->next.choices);
}

static bool merge_running(struct console *console, struct proposal *proposal, const struct candidate *candidate, struct err *err)
{
	struct revision base = {0};
	bool merged;

	if (candidate->base != 0 && !store_revision(console->store, candidate->base, &base, err))
		return false;
	merged = tree_merge(&base.settings, &candidate->settings, &proposal->running.settings, &proposal->next.settings, err);
	revision_clear(&base);
	if (!merged)
		return err_prefix(err, "revision %llu by %s runs meanwhile, and both have changed the same",
				  (unsigned long long)proposal->running.number, proposal->running.by);
	console_say(console, "Revision %llu by %s, committed meanwhile, is kept", (unsigned long long)proposal->running.number,
		    proposal->running.by);
	return true;
}

static bool same_choices(const struct certificate_choices *a, const struct certificate_choices *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++) {
		const uint64_t *other = certificate_choices_find(b, a->items[i].address);

		same = other != NULL && *other == a->items[i].certificate;
	}
	return same;
}

static bool nothing_changes(const struct proposal *proposal)
{
	return tree_equal(&proposal->running.settings, &proposal->next.settings) &&
	       same_choices(&proposal->running.choices, &proposal->next.choices);
}

/* Loads, merges and checks. */
static bool prepare(struct console *console, struct proposal *proposal, struct err *err)
{
	struct candidate candidate;
	bool exists, fine = true;

	if (!store_revision(console->store, 0, &proposal->running, err) ||
	    !store_candidate(console->store, console->account, &candidate, &exists, err))
		return false;
	proposal->next.base = proposal->running.number;
	proposal->next.by = console->account;
	if (candidate.base != proposal->running.number)
		fine = merge_running(console, proposal, &candidate, err);
	else
		settings_copy(&proposal->next.settings, &candidate.settings);
	fine =
	    fine && settings_check(&proposal->next.settings, err) &&
	    store_resolve_certificates(console->store, &proposal->next.settings, &candidate.pins, &proposal->next.choices, err);
	candidate_clear(&candidate);
	return fine;
}

/* ---- applying ---- */

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

static bool propose_and_apply(struct console *console, const struct revision *next, bool check_only, struct err *err)
{
	enum applied applied;
	uint64_t number;

	if (!store_revision_propose(console->store, next, &number, err))
		return false;
	applied = apply(console, number, check_only, next->base, err);
	if (applied == REFUSED || check_only) {
		withdraw(console, number);
		if (applied == REFUSED)
			return err_prefix(err, check_only ? "the mail server would refuse it"
							  : "not committed, the running one stays");
		console_say(console, "The configuration is valid%s",
			    applied == NOT_RUNNING ? " (inkand is not running: addresses were not tried)" : "");
		return true;
	}
	if (!store_revision_accept(console->store, number, err))
		return false;
	console_say(console, "Committed as revision %llu%s", (unsigned long long)number,
		    applied == NOT_RUNNING ? "; inkand is not running: it takes effect when it starts" : "");
	if (applied == APPLIED)
		tls_warn(console, &next->settings);
	return true;
}

static bool commit_locked(struct console *console, const char *comment, bool check_only, struct err *err)
{
	struct proposal proposal = {.next.comment = (char *)comment};
	bool done = prepare(console, &proposal, err);

	if (done && !check_only && nothing_changes(&proposal)) {
		console_say(console, "Nothing to commit: revision %llu runs as it is",
			    (unsigned long long)proposal.running.number);
		done = store_candidate_discard(console->store, console->account, err);
	} else if (done) {
		done = propose_and_apply(console, &proposal.next, check_only, err);
	}
	proposal_clear(&proposal);
	return done;
}

static bool run_commit(struct console *console, const char *comment, bool check_only, struct err *err)
{
	sigset_t before;
	bool done;
	int lock;

	if (!take_lock(console->state, &lock, err))
		return false;
	uninterrupted_begin(&before);
	done = commit_locked(console, comment, check_only, err);
	uninterrupted_end(&before);
	close(lock);
	return done;
}

bool commit(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return run_commit(console, "", false, err);
}

bool commit_check(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return run_commit(console, "", true, err);
}

bool commit_comment(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct buf comment = {0};
	bool done;

	for (size_t i = 0; i < parsed->n_typed; i++)
		buf_printf(&comment, "%s%s", i == 0 ? "" : " ", parsed->typed[i]);
	done = run_commit(console, buf_text(&comment), false, err);
	buf_clear(&comment);
	return done;
}

/* ---- rollback ---- */

static bool load_back(struct console *console, size_t back, struct revision *revision, struct err *err)
{
	struct revisions list;
	uint64_t number;

	if (!store_revisions(console->store, &list, err))
		return false;
	number = back < list.count ? list.items[back].number : 0;
	if (number == 0)
		err_set(err, ERR_NOT_FOUND, "there is no rollback %zu: show system commit lists %zu", back, list.count);
	revisions_clear(&list);
	return number != 0 && store_revision(console->store, number, revision, err);
}

bool rollback(struct console *console, const struct parsed *parsed, struct err *err)
{
	size_t back = strtoul(parsed->typed[0], NULL, 10);
	struct candidate candidate = {0};
	struct revision revision;
	bool done;

	if (back == 0) {
		done = store_candidate_discard(console->store, console->account, err);
		if (done)
			console_say(console, "The candidate is the running configuration again");
		return done;
	}
	if (!load_back(console, back, &revision, err))
		return false;
	candidate.settings = revision.settings;
	candidate.pins = revision.choices;
	done = store_running(console->store, &candidate.base, err) &&
	       store_candidate_save(console->store, console->account, &candidate, err);
	if (done)
		console_say(console, "The candidate is revision %llu; show | compare lists what commit would change",
			    (unsigned long long)revision.number);
	revision_clear(&revision);
	return done;
}

bool show_commits(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"ROLLBACK", "rollback", true},
						       {"REVISION", "revision", true},
						       {"COMMITTED (UTC)", "time", false},
						       {"BY", "by", false},
						       {"COMMENT", "comment", false}};
	struct report report = report_of(REPORT_TABLE, columns, 5);
	struct revisions list;

	(void)parsed;
	if (!store_revisions(console->store, &list, err))
		return false;
	for (size_t i = 0; i < list.count; i++) {
		char time[CONSOLE_TIME_BYTES];

		console_time(time, list.items[i].created_ms);
		report_cell(&report, "%zu", i);
		report_cell(&report, "%llu", (unsigned long long)list.items[i].number);
		report_cell(&report, "%s", time);
		report_cell(&report, "%s", list.items[i].by);
		report_cell(&report, "%s", list.items[i].comment);
	}
	console_show(console, &report);
	revisions_clear(&list);
	report_clear(&report);
	return true;
}
