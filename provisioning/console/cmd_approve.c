#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/key_making.h"
#include "provisioning/console/tree.h"
#include "provisioning/console/two_person.h"

/* Behind what was typed, so that the row says what was approved. */
static void name_in_audit(struct console *console, const struct approval *approval)
{
	char time[CONSOLE_TIME_BYTES], *text;

	console_time(time, approval->asked_ms);
	text = mem_format("%s: %s, asked for by %s from %s at %s", console->audit_text, approval->what, approval->by,
			  approval->from, time);
	free(console->audit_text);
	console->audit_text = text;
}

static bool load_waiting(struct console *console, const struct parsed *parsed, struct approval *approval, struct err *err)
{
	struct approval found;

	two_person_expire(console);
	if (!store_approval(console->store, strtoull(parsed->typed[0], NULL, 10), &found, err))
		return false;
	if (found.state == APPROVAL_WAITING) {
		*approval = found;
		name_in_audit(console, approval);
		return true;
	}
	err_set(err, ERR_NOT_FOUND, "approval %llu does not wait any more: it %s%s", (unsigned long long)found.number,
		found.state == APPROVAL_EXPIRED	   ? "was not approved in time"
		: found.state == APPROVAL_APPROVED ? "was approved by "
						   : "was rejected by ",
		found.decided_by);
	approval_clear(&found);
	return false;
}

/* Marked before it is done, so that nothing is done twice; what could not be done waits on. */
static bool run_approved(struct console *console, const struct approval *approval, struct err *err)
{
	struct err again;

	if (!store_approval_decide(console->store, approval->number, APPROVAL_WAITING, APPROVAL_APPROVED, console->account, err))
		return false;
	if (console_run_approved(console, approval, err))
		return true;
	if (!store_approval_decide(console->store, approval->number, APPROVAL_APPROVED, APPROVAL_WAITING, "", &again))
		return err_prefix(err, "%s", again.text);
	return err_prefix(err, "approved, but it cannot be done");
}

bool approve(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct approval approval;
	bool done;

	if (!load_waiting(console, parsed, &approval, err))
		return false;
	if (strcmp(approval.by, console->account) == 0)
		done = err_set(err, ERR_DENIED, "%s asked for it: somebody else must approve it", approval.by);
	else
		done = run_approved(console, &approval, err);
	approval_clear(&approval);
	return done;
}

bool reject(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct approval approval;
	struct msg payload;
	bool done;

	if (!load_waiting(console, parsed, &approval, err))
		return false;
	if (console->role != ROLE_ADMINISTRATOR && strcmp(approval.by, console->account) != 0)
		done = err_set(err, ERR_DENIED, "an operator may take back only what he has asked for himself");
	else
		done = store_approval_decide(console->store, approval.number, APPROVAL_WAITING, APPROVAL_REJECTED,
					     console->account, err);
	payload = msg_of(approval.payload);
	if (done && approval.kind == APPROVAL_COMMIT)
		done = store_revision_withdraw(console->store, msg_get_u64(&payload), err);
	if (done && approval.key_id.len > 0)
		keys_sweep(console);
	approval_clear(&approval);
	return done;
}

bool show_approvals(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"NUMBER", "number", true},
						       {"ASKED FOR (UTC)", "asked", false},
						       {"BY", "by", false},
						       {"UNTIL (UTC)", "until", false},
						       {"ACTION", "action", false}};
	struct report report = report_of(REPORT_TABLE, columns, 5);
	struct approvals approvals;

	(void)parsed;
	two_person_expire(console);
	if (!store_approvals(console->store, &approvals, err))
		return false;
	for (size_t i = 0; i < approvals.count; i++) {
		const struct approval *approval = &approvals.items[i];
		char asked[CONSOLE_TIME_BYTES], until[CONSOLE_TIME_BYTES];

		console_time(asked, approval->asked_ms);
		console_time(until, approval->expires_ms);
		report_cell(&report, "%llu", (unsigned long long)approval->number);
		report_cell(&report, "%s", asked);
		report_cell(&report, "%s", approval->by);
		report_cell(&report, "%s", until);
		report_cell(&report, "%s", approval->what);
	}
	console_show(console, &report);
	approvals_clear(&approvals);
	report_clear(&report);
	return true;
}

/* ---- one ---- */

static void add_line(char sign, const struct setting *setting, void *arg)
{
	struct buf line = {0};

	tree_put_line(&line, setting);
	report_cell(arg, "%c %s", sign, buf_text(&line));
	buf_clear(&line);
}

/* As they would change what runs now. */
static bool add_changes(struct console *console, const struct approval *approval, struct report *report, struct err *err)
{
	struct msg payload = msg_of(approval->payload);
	struct revision running, asked;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	if (!store_revision(console->store, msg_get_u64(&payload), &asked, err)) {
		revision_clear(&running);
		return false;
	}
	tree_compare(&running.settings, &asked.settings, add_line, report);
	revision_clear(&running);
	revision_clear(&asked);
	return true;
}

bool show_approval(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"", "line", false}};
	struct report report = report_of(REPORT_LINES, columns, 1);
	struct approval approval;
	bool shown = true;

	if (!store_approval(console->store, strtoull(parsed->typed[0], NULL, 10), &approval, err))
		return false;
	report_cell(&report, "%llu, by %s from %s: %s", (unsigned long long)approval.number, approval.by, approval.from,
		    approval.what);
	if (approval.kind == APPROVAL_COMMIT && approval.state == APPROVAL_WAITING)
		shown = add_changes(console, &approval, &report, err);
	if (shown)
		console_show(console, &report);
	report_clear(&report);
	approval_clear(&approval);
	return shown;
}
