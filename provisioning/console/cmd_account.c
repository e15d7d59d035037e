#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/login.h"
#include "provisioning/console/prompt.h"

static struct secret *ask_new_password(const char *account, struct err *err)
{
	char *name = mem_format("New password of account %s", account);
	struct secret *password = prompt_new_secret(name, err);

	free(name);
	return password;
}

bool account_add(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct secret *password = ask_new_password(parsed->typed[0], err);
	enum account_role role = ROLE_AUDITOR;
	bool added;

	if (password == NULL)
		return false;
	account_role_parse(parsed->words[parsed->count - 1], &role);
	added = store_account_add(console->store, parsed->typed[0], role, secret_text(password), console->account, err);
	secret_free(password);
	return added;
}

bool account_delete(struct console *console, const struct parsed *parsed, struct err *err)
{
	if (strcmp(parsed->typed[0], console->account) == 0)
		return err_set(err, ERR_DENIED, "%s is this login's own account", console->account);
	return store_account_delete(console->store, parsed->typed[0], err);
}

bool account_password(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *account = parsed->n_typed > 0 ? parsed->typed[0] : console->account;
	struct secret *password;
	bool own = strcmp(account, console->account) == 0, set;

	if (!own && console->role != ROLE_ADMINISTRATOR)
		return err_set(err, ERR_DENIED, "only an administrator may change another's password");
	if (own && !login_confirm(console, err))
		return false;
	password = ask_new_password(account, err);
	if (password == NULL)
		return false;
	set = store_account_set_password(console->store, account, secret_text(password), err);
	secret_free(password);
	if (!set && err->code == ERR_NOT_FOUND) { /* the word may be a password */
		free(console->audit_text);
		console->audit_text = mem_string("account password [no account]");
		err_set(err, ERR_NOT_FOUND, "there is no such account");
	}
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
