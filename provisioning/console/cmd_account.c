#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/history_file.h"
#include "provisioning/console/login.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/two_person.h"
#include "provisioning/store/password.h"

static struct secret *ask_new_password(const char *account, struct err *err)
{
	char *name = mem_format("New password of account %s", account);
	struct secret *password = prompt_new_secret(name, err);

	free(name);
	return password;
}

static bool find_account(struct console *console, const char *name, enum account_role *role)
{
	struct accounts accounts;
	bool found = false;

	if (!store_accounts(console->store, &accounts, NULL))
		return false;
	for (size_t i = 0; i < accounts.count && !found; i++) {
		found = strcmp(accounts.items[i].name, name) == 0;
		*role = accounts.items[i].role;
	}
	accounts_clear(&accounts);
	return found;
}

/* The hash of a new password: asked for, or of the approval that runs. free() it. */
static char *new_hash(struct console *console, const char *account, struct err *err)
{
	struct secret *password;
	char *hash;

	if (console->approval != NULL)
		return bytes_string(console->approval->payload);
	password = ask_new_password(account, err);
	if (password == NULL)
		return NULL;
	hash = password_hash(secret_text(password), err);
	secret_free(password);
	return hash;
}

bool account_add(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *name = parsed->typed[0];
	enum account_role role = ROLE_AUDITOR, other;
	bool waits, done;
	char *hash;

	account_role_parse(parsed->words[parsed->count - 1], &role);
	if (!two_person_needed(console, APPROVAL_ACCOUNTS, role == ROLE_ADMINISTRATOR, &waits, err))
		return false;
	hash = new_hash(console, name, err);
	if (hash == NULL)
		return false;
	if (!waits)
		done = store_account_add_hashed(console->store, name, role, hash, console->account, err);
	else if (find_account(console, name, &other))
		done = err_set(err, ERR_EXISTS, "there is an account %s already", name);
	else
		done = two_person_ask(console, APPROVAL_ACCOUNTS, bytes_text(hash), (struct bytes){0}, err);
	free(hash);
	return done;
}

/* With the rule on two administrators stay. */
static bool can_go(struct console *console, const char *name, struct err *err)
{
	enum account_role role;
	struct revision running;
	bool on;

	if (strcmp(name, console->approval != NULL ? console->approver : console->account) == 0)
		return err_set(err, ERR_DENIED, "%s is this login's own account", name);
	if (!find_account(console, name, &role) || role != ROLE_ADMINISTRATOR)
		return true;
	if (!store_revision(console->store, 0, &running, err))
		return false;
	on = two_person_is_on(&running.settings);
	revision_clear(&running);
	return !on || two_person_has_two(console, name, err);
}

bool account_delete(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *name = parsed->typed[0];
	enum account_role role;
	bool waits;

	if (!can_go(console, name, err) || !two_person_needed(console, APPROVAL_ACCOUNTS, false, &waits, err))
		return false;
	if (waits && find_account(console, name, &role))
		return two_person_ask(console, APPROVAL_ACCOUNTS, (struct bytes){0}, (struct bytes){0}, err);
	if (!store_account_delete(console->store, name, err))
		return false;
	history_forget(console, name);
	return true;
}

bool account_password_names_nobody(struct console *console, const struct parsed *parsed)
{
	enum account_role role;

	return parsed->n_typed > 0 && !find_account(console, parsed->typed[0], &role);
}

bool account_password(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *account = parsed->n_typed > 0 ? parsed->typed[0] : console->account;
	bool own = strcmp(account, console->account) == 0, waits = false, set;
	enum account_role role;
	char *hash;

	if (!own && console->role != ROLE_ADMINISTRATOR)
		return err_set(err, ERR_DENIED, "only an administrator may change another's password");
	if (!find_account(console, account, &role))
		return err_set(err, ERR_NOT_FOUND, "there is no such account");
	if (own ? !login_confirm(console, err)
		: !two_person_needed(console, APPROVAL_ACCOUNTS, role == ROLE_ADMINISTRATOR, &waits, err))
		return false;
	hash = new_hash(console, account, err);
	if (hash == NULL)
		return false;
	set = waits ? two_person_ask(console, APPROVAL_ACCOUNTS, bytes_text(hash), (struct bytes){0}, err)
		    : store_account_set_hash(console->store, account, hash, err);
	free(hash);
	return set;
}

bool show_accounts(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {
	    {"ACCOUNT", "account", false}, {"ROLE", "role", false}, {"SINCE", "since", false}, {"BY", "by", false}};
	struct report report = report_of(REPORT_TABLE, columns, 4);
	struct accounts accounts;

	(void)parsed;
	if (!store_accounts(console->store, &accounts, err))
		return false;
	for (size_t i = 0; i < accounts.count; i++) {
		char date[CONSOLE_TIME_BYTES];

		console_date(date, accounts.items[i].created_ms / 1000);
		report_cell(&report, "%s", accounts.items[i].name);
		report_cell(&report, "%s", account_role_name(accounts.items[i].role));
		report_cell(&report, "%s", date);
		report_cell(&report, "%s", accounts.items[i].created_by);
	}
	console_show(console, &report);
	accounts_clear(&accounts);
	report_clear(&report);
	return true;
}
