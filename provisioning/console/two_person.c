#include "provisioning/console/two_person.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"

static const char *const kind_names[] = {
    [APPROVAL_CERTIFICATES] = "certificates", [APPROVAL_COMMIT] = "commit", [APPROVAL_ACCOUNTS] = "accounts"};

static bool names(const struct settings *settings, const char *kind)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].path, TWO_PERSON_SETTING) == 0 &&
		    (kind == NULL || strcmp(settings->items[i].value, kind) == 0))
			return true;
	}
	return false;
}

bool two_person_is_on(const struct settings *settings)
{
	return names(settings, NULL);
}

bool two_person_same(const struct settings *a, const struct settings *b)
{
	for (size_t i = APPROVAL_CERTIFICATES; i <= APPROVAL_ACCOUNTS; i++) {
		if (names(a, kind_names[i]) != names(b, kind_names[i]))
			return false;
	}
	return true;
}

bool two_person_needed(struct console *console, enum approval_kind kind, bool anyway, bool *needed, struct err *err)
{
	struct revision running;

	*needed = false;
	if (console->approval != NULL)
		return true;
	if (!store_revision(console->store, 0, &running, err))
		return false;
	*needed = names(&running.settings, kind_names[kind]) || (anyway && two_person_is_on(&running.settings));
	revision_clear(&running);
	return true;
}

bool two_person_has_two(struct console *console, const char *without, struct err *err)
{
	struct accounts accounts;
	size_t administrators = 0;

	if (!store_accounts(console->store, &accounts, err))
		return false;
	for (size_t i = 0; i < accounts.count; i++)
		administrators += accounts.items[i].role == ROLE_ADMINISTRATOR &&
				  (without == NULL || strcmp(accounts.items[i].name, without) != 0);
	accounts_clear(&accounts);
	return administrators >= 2 ||
	       err_set(err, ERR_DENIED,
		       "with " TWO_PERSON_SETTING " there must be two administrators: account add NAME role administrator");
}

static int64_t lifetime_ms(struct console *console)
{
	struct revision running;
	int64_t lifetime = 24 * 3600 * 1000;

	if (!store_revision(console->store, 0, &running, NULL))
		return lifetime;
	lifetime = setting_parse_duration_ms(setting_effective(&running.settings, "system approval-lifetime"));
	revision_clear(&running);
	return lifetime;
}

bool two_person_ask(struct console *console, enum approval_kind kind, struct bytes payload, struct bytes key_id, struct err *err)
{
	int64_t now_ms = clock_wall_ms();
	const struct approval approval = {.kind = kind,
					  .what = console->audit_text,
					  .by = console->account,
					  .from = console->origin,
					  .asked_ms = now_ms,
					  .expires_ms = now_ms + lifetime_ms(console),
					  .payload = payload,
					  .key_id = key_id};
	uint64_t number;
	char *text;

	if (!store_approval_add(console->store, &approval, &number, err))
		return false;
	text = mem_format("%s [waits for approval %llu]", console->audit_text, (unsigned long long)number);
	free(console->audit_text);
	console->audit_text = text;
	console->waits = true;
	if (!console->interactive)
		return err_set(err, ERR_UNAVAILABLE, "not done yet: another administrator must type \"approve %llu\"",
			       (unsigned long long)number);
	console_say(console, "Not done yet: another administrator must type \"approve %llu\"", (unsigned long long)number);
	return true;
}

/* ---- what is over ---- */

static bool withdraw(struct console *console, const struct approval *approval, struct err *err)
{
	struct msg msg = msg_of(approval->payload);

	return approval->kind != APPROVAL_COMMIT || store_revision_withdraw(console->store, msg_get_u64(&msg), err);
}

static bool expire(struct console *console, const struct approval *approval, struct err *err)
{
	struct audit_entry entry = {.who = (char *)"", .from = (char *)"timer", .result = (char *)"ok"};
	bool written;

	if (!store_approval_decide(console->store, approval->number, APPROVAL_WAITING, APPROVAL_EXPIRED, "", err) ||
	    !withdraw(console, approval, err))
		return false;
	entry.what = mem_format("approval %llu is over: nobody approved \"%s\" of %s", (unsigned long long)approval->number,
				approval->what, approval->by);
	written = store_audit_add(console->store, &entry, err);
	free(entry.what);
	return written;
}

void two_person_expire(struct console *console)
{
	int64_t now_ms = clock_wall_ms();
	struct approvals approvals;
	struct err err;

	if (!store_approvals(console->store, &approvals, NULL))
		return;
	for (size_t i = 0; i < approvals.count; i++) {
		if (approvals.items[i].expires_ms <= now_ms && !expire(console, &approvals.items[i], &err))
			console_say(console, "warning: %s", err.text);
	}
	approvals_clear(&approvals);
}

void two_person_tell(struct console *console)
{
	struct approvals approvals;

	if (console->role != ROLE_ADMINISTRATOR || !store_approvals(console->store, &approvals, NULL))
		return;
	if (approvals.count > 0)
		console_say(console, "%zu action%s for an approval: show approvals", approvals.count,
			    approvals.count == 1 ? " waits" : "s wait");
	approvals_clear(&approvals);
}
