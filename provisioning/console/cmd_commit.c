/*
 * commit: the candidate is checked as a whole, proposed as a revision, applied by inkand, and then accepted; when inkand
 * or the relay refuses it is withdrawn, and what ran before still runs.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/audit_text.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/committing.h"
#include "provisioning/console/tree.h"
#include "provisioning/console/two_person.h"
#include "provisioning/console/uninterrupted.h"

#define CONFIRM_MINUTES 10 /* of `commit confirmed` alone */
#define CONFIRM_MINUTES_MAX 65535

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
	    (!two_person_is_on(&proposal->next.settings) || two_person_has_two(console, NULL, err)) &&
	    store_resolve_certificates(console->store, &proposal->next.settings, &candidate.pins, &proposal->next.choices, err);
	candidate_clear(&candidate);
	return fine;
}

/* ---- commit ---- */

struct order {
	const char *comment;
	bool check_only;
	long confirm_minutes; /* 0: it stays without a confirmation */
};

static void say_committed(struct console *console, const struct revision *next, const struct committed *committed)
{
	struct revision running = *next;
	char *waits;

	console_say(console, "Committed as revision %llu%s", (unsigned long long)committed->number,
		    committed->inkand ? "" : "; inkand is not running: it takes effect when it starts");
	running.number = committed->number;
	waits = revision_waits_text(&running, clock_wall_ms());
	if (waits != NULL)
		console_say(console, "It waits: %s", waits);
	free(waits);
	if (committed->inkand)
		tls_warn(console, &next->settings);
}

static bool confirm(struct console *console, const struct revision *running, int64_t until_ms, struct err *err)
{
	struct revision waiting = {.number = running->number, .confirm_ms = until_ms, .confirm_back = running->confirm_back};
	int64_t now_ms = clock_wall_ms();
	char *waits;

	if (!store_revision_confirm(console->store, running->number, until_ms, now_ms, err))
		return false;
	waits = revision_waits_text(&waiting, now_ms);
	if (waits == NULL)
		console_say(console, "Revision %llu is confirmed and stays", (unsigned long long)running->number);
	else
		console_say(console, "From now on: %s", waits);
	free(waits);
	return true;
}

static bool no_change(struct console *console, const struct proposal *proposal, int64_t until_ms, struct err *err)
{
	if (proposal->running.confirm_ms == 0)
		console_say(console, "Nothing to commit: revision %llu runs as it is",
			    (unsigned long long)proposal->running.number);
	else if (!confirm(console, &proposal->running, until_ms, err))
		return false;
	return store_candidate_discard(console->store, console->account, err);
}

/* A check confirms too, as on a router: who can type it has not locked himself out. */
static bool check(struct console *console, const struct proposal *proposal, struct err *err)
{
	struct committed committed;

	if (!revision_commit(console, &proposal->next, true, &committed, err))
		return false;
	console_say(console, "The configuration is valid%s",
		    committed.inkand ? "" : " (inkand is not running: addresses were not tried)");
	return proposal->running.confirm_ms == 0 ||
	       (confirm(console, &proposal->running, 0, err) && console_audit(console, "commit check: confirmed", "ok", err));
}

/* Checked as a whole, also by inkand, before anybody is bothered; then it is kept, for who approves it. */
static bool ask(struct console *console, struct proposal *proposal, struct err *err)
{
	struct committed checked;
	struct buf payload = {0};
	uint64_t number;
	bool asked;

	if (!revision_commit(console, &proposal->next, true, &checked, err) ||
	    !store_revision_propose(console->store, &proposal->next, &number, err))
		return false;
	msg_put_u64(&payload, number);
	asked = two_person_ask(console, APPROVAL_COMMIT, buf_bytes(&payload), (struct bytes){0}, err);
	buf_clear(&payload);
	if (console->waits)
		audit_text_commit(console, &proposal->running, &proposal->next, number);
	return asked;
}

static bool commit_changes(struct console *console, struct proposal *proposal, int64_t until_ms, struct err *err)
{
	struct revision *running = &proposal->running, *next = &proposal->next;
	struct committed committed;
	bool waits;

	if (until_ms != 0) {
		next->confirm_ms = until_ms;
		next->confirm_back = running->confirm_ms != 0 ? running->confirm_back : running->number;
		if (next->confirm_back == 0)
			return err_set(err, ERR_NOT_FOUND,
				       "this is the first commit: there is no revision to go back to; commit without confirmed");
	}
	if (!two_person_needed(console, APPROVAL_COMMIT, !two_person_same(&running->settings, &next->settings), &waits, err))
		return false;
	if (waits)
		return ask(console, proposal, err);
	if (!revision_commit(console, next, false, &committed, err))
		return false;
	audit_text_commit(console, running, next, committed.number);
	say_committed(console, next, &committed);
	return true;
}

static bool commit_proposal(struct console *console, struct proposal *proposal, const struct order *order, struct err *err)
{
	int64_t until_ms = order->confirm_minutes == 0 ? 0 : clock_wall_ms() + order->confirm_minutes * 60 * 1000;

	if (order->check_only)
		return check(console, proposal, err);
	if (nothing_changes(proposal))
		return no_change(console, proposal, until_ms, err);
	return commit_changes(console, proposal, until_ms, err);
}

/* A candidate is judged against what will run, not against a revision whose time is over. */
static bool nothing_was_late(struct console *console, struct err *err)
{
	uint64_t back;

	if (!revision_take_back(console, &back, err))
		return false;
	return back == 0 || err_set(err, ERR_TIMEOUT,
				    "the last revision was not confirmed in time: revision %llu brings back what ran before; "
				    "look at show | compare and commit again",
				    (unsigned long long)back);
}

/* ---- what was approved ---- */

/* What was asked for, if nothing else was committed meanwhile: two persons have seen these changes and no others. */
static bool load_approved(struct console *console, struct proposal *proposal, uint64_t *number, struct err *err)
{
	struct msg payload = msg_of(console->approval->payload);
	struct revision asked, *next = &proposal->next;
	bool fine;

	*number = msg_get_u64(&payload);
	if (!store_revision(console->store, 0, &proposal->running, err) || !store_revision(console->store, *number, &asked, err))
		return false;
	next->base = asked.base;
	next->by = console->account;
	settings_copy(&next->settings, &asked.settings);
	fine = asked.base == proposal->running.number
		   ? store_resolve_certificates(console->store, &next->settings, &asked.choices, &next->choices, err)
		   : err_set(err, ERR_EXISTS, "revision %llu was committed meanwhile: reject it, and let it be committed again",
			     (unsigned long long)proposal->running.number);
	fine = fine && settings_check(&next->settings, err) &&
	       (!two_person_is_on(&next->settings) || two_person_has_two(console, NULL, err));
	revision_clear(&asked);
	return fine;
}

/* A commit ends the candidate of its account, which may have been edited further since it was asked for. */
static bool commit_keeping_candidate(struct console *console, struct proposal *proposal, const struct order *order,
				     struct err *err)
{
	struct candidate candidate;
	bool exists, done;

	if (!store_candidate(console->store, console->account, &candidate, &exists, err))
		return false;
	done = commit_proposal(console, proposal, order, err);
	if (done && exists && !tree_equal(&candidate.settings, &proposal->next.settings))
		done = store_candidate_save(console->store, console->account, &candidate, err);
	candidate_clear(&candidate);
	return done;
}

static bool commit_approved(struct console *console, const struct order *order, struct err *err)
{
	char *comment =
	    mem_format("%s%s(approved by %s)", order->comment, order->comment[0] == '\0' ? "" : " ", console->approver);
	struct proposal proposal = {.next.comment = comment};
	uint64_t number;
	bool done = nothing_was_late(console, err) && load_approved(console, &proposal, &number, err) &&
		    commit_keeping_candidate(console, &proposal, order, err) &&
		    store_revision_withdraw(console->store, number, err);

	proposal_clear(&proposal);
	free(comment);
	return done;
}

/* ---- */

static bool commit_locked(struct console *console, const struct order *order, struct err *err)
{
	struct proposal proposal = {.next.comment = (char *)order->comment};
	bool done =
	    nothing_was_late(console, err) && prepare(console, &proposal, err) && commit_proposal(console, &proposal, order, err);

	proposal_clear(&proposal);
	return done;
}

static bool run_commit(struct console *console, const struct order *order, struct err *err)
{
	sigset_t before;
	bool done;
	int lock;

	if (!commit_lock(console->state, 0, &lock, err))
		return false;
	uninterrupted_begin(&before);
	done = console->approval != NULL ? commit_approved(console, order, err) : commit_locked(console, order, err);
	uninterrupted_end(&before);
	close(lock);
	return done;
}

bool commit(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return run_commit(console, &(struct order){.comment = ""}, err);
}

/* inkan.db gives a snapshot of a revision alone, with its certificates: so it is one for a moment. */
struct snapshot *candidate_snapshot(struct console *console, struct err *err)
{
	struct proposal proposal = {0};
	struct snapshot *snapshot = NULL;
	uint64_t number;

	proposal.next.comment = "";
	if (prepare(console, &proposal, err) && store_revision_propose(console->store, &proposal.next, &number, err)) {
		snapshot = store_snapshot(console->store, number, err);
		if (!store_revision_withdraw(console->store, number, err)) {
			snapshot_free(snapshot);
			snapshot = NULL;
		}
	}
	proposal_clear(&proposal);
	return snapshot;
}

bool commit_check(struct console *console, const struct parsed *parsed, struct err *err)
{
	(void)parsed;
	return run_commit(console, &(struct order){.comment = "", .check_only = true}, err);
}

static bool with_comment(struct console *console, char **words, size_t n_words, long confirm_minutes, struct err *err)
{
	struct buf comment = {0};
	bool done;

	for (size_t i = 0; i < n_words; i++)
		buf_printf(&comment, "%s%s", i == 0 ? "" : " ", words[i]);
	done = run_commit(console, &(struct order){.comment = buf_text(&comment), .confirm_minutes = confirm_minutes}, err);
	buf_clear(&comment);
	return done;
}

bool commit_comment(struct console *console, const struct parsed *parsed, struct err *err)
{
	return with_comment(console, parsed->typed, parsed->n_typed, 0, err);
}

bool commit_confirmed(struct console *console, const struct parsed *parsed, struct err *err)
{
	long minutes = parsed->n_typed > 0 ? strtol(parsed->typed[0], NULL, 10) : CONFIRM_MINUTES;

	if (minutes < 1 || minutes > CONFIRM_MINUTES_MAX)
		return err_set(err, ERR_INVALID, "minutes are 1 to %d", CONFIRM_MINUTES_MAX);
	return with_comment(console, parsed->typed + 1, parsed->n_typed > 0 ? parsed->n_typed - 1 : 0, minutes, err);
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

/* The column is there while a revision waits; nothing is in the cell of one that does not. */
static void add_commit(struct report *report, const struct revision *revision, size_t back, bool waits)
{
	char time[CONSOLE_TIME_BYTES];

	console_time(time, revision->created_ms);
	report_cell(report, "%zu", back);
	report_cell(report, "%llu", (unsigned long long)revision->number);
	report_cell(report, "%s", time);
	report_cell(report, "%s", revision->by);
	if (waits) {
		console_time(time, revision->confirm_ms);
		report_cell(report, "%s", revision->confirm_ms != 0 ? time : "");
	}
	report_cell(report, "%s", revision->comment);
}

bool show_commits(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"ROLLBACK", "rollback", true},
						       {"REVISION", "revision", true},
						       {"COMMITTED (UTC)", "time", false},
						       {"BY", "by", false},
						       {"COMMENT", "comment", false}},
					  waiting[] = {{"ROLLBACK", "rollback", true},
						       {"REVISION", "revision", true},
						       {"COMMITTED (UTC)", "time", false},
						       {"BY", "by", false},
						       {"CONFIRM UNTIL (UTC)", "confirm_until", false},
						       {"COMMENT", "comment", false}};
	struct report report;
	struct revisions list;
	char *waits = NULL;

	(void)parsed;
	if (!store_revisions(console->store, &list, err))
		return false;
	if (list.count > 0)
		waits = revision_waits_text(&list.items[0], clock_wall_ms());
	report = waits != NULL ? report_of(REPORT_TABLE, waiting, 6) : report_of(REPORT_TABLE, columns, 5);
	for (size_t i = 0; i < list.count; i++)
		add_commit(&report, &list.items[i], i, waits != NULL);
	console_show(console, &report);
	if (waits != NULL)
		console_say(console, "Attention: %s", waits);
	free(waits);
	revisions_clear(&list);
	report_clear(&report);
	return true;
}
