#include "provisioning/console/login.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/banner.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/terminal.h"
#include "provisioning/store/form.h"
#include "provisioning/store/settings.h"

static bool any_account(struct console *console, bool *any, struct err *err)
{
	struct accounts accounts;

	if (!store_accounts(console->store, &accounts, err))
		return false;
	*any = accounts.count > 0;
	accounts_clear(&accounts);
	return true;
}

static bool is_account(struct console *console, const char *name)
{
	struct accounts accounts;
	bool found = false;

	if (name == NULL || !store_accounts(console->store, &accounts, NULL))
		return false;
	for (size_t i = 0; i < accounts.count && !found; i++)
		found = strcmp(accounts.items[i].name, name) == 0;
	accounts_clear(&accounts);
	return found;
}

/*
 * The audit row of a login; a login whose row cannot be written does not happen. What is no account's name is not written
 * down: it may be a password that was typed too early.
 */
static bool audited(struct console *console, const char *what, bool done, struct err *err)
{
	struct audit_entry entry = {.who = is_account(console, console->account) ? console->account : (char *)"unknown",
				    .from = console->origin,
				    .what = (char *)what,
				    .result = done ? (char *)"ok" : err->text};
	struct err audit_err;

	if (store_audit_add(console->store, &entry, &audit_err))
		return done;
	if (done)
		*err = audit_err;
	return err_prefix(err, "no login without its audit row");
}

static struct secret *read_password(const char *account, const char *file, struct err *err)
{
	char *prompt;
	struct secret *password;

	if (file != NULL)
		return secret_read_file(file, err);
	prompt = mem_format("Password of account %s: ", account);
	password = prompt_secret(prompt, err);
	free(prompt);
	return password;
}

static bool verify(struct console *console, const char *file, struct err *err)
{
	struct secret *password = read_password(console->account, file, err);
	bool verified;

	if (password == NULL)
		return false;
	verified =
	    store_account_verify(console->store, console->account, secret_text(password), clock_wall_ms(), &console->role, err);
	secret_free(password);
	return verified;
}

static void become(struct console *console, char *account)
{
	free(console->account);
	console->account = account;
}

static bool ask_account(struct console *console, const char *prompt, struct err *err)
{
	char *name = prompt_text(prompt, err);

	if (name == NULL)
		return false;
	become(console, name);
	return setting_type_check(SETTING_NAME, name, err);
}

/* ---- the first administrator ---- */

static struct secret *first_password(const char *file, struct err *err)
{
	return file != NULL ? secret_read_file(file, err) : prompt_new_secret("New password of the administrator", err);
}

static bool make_first(struct console *console, const char *account, const char *file, struct err *err)
{
	struct secret *password;
	bool made;

	console_say(console, "This appliance has no account yet: this one becomes its first administrator");
	if (account == NULL) {
		if (!ask_account(console, "Name of the administrator: ", err))
			return false;
	} else {
		become(console, mem_string(account));
		if (!setting_type_check(SETTING_NAME, account, err))
			return false;
	}
	password = first_password(file, err);
	if (password == NULL)
		return false;
	made = store_account_add(console->store, console->account, ROLE_ADMINISTRATOR, secret_text(password), "", err);
	secret_free(password);
	console->role = ROLE_ADMINISTRATOR;
	return audited(console, "first administrator", made, err);
}

/* ---- */

static bool login_at_terminal(struct console *console, struct err *err)
{
	for (int attempt = 1; attempt <= LOGIN_ATTEMPTS; attempt++) {
		if (!ask_account(console, "Account: ", err))
			continue;
		if (audited(console, "login", verify(console, NULL, err), err))
			return true;
		if (attempt < LOGIN_ATTEMPTS)
			console_say(console, "error: %s", err->text);
	}
	return false;
}

bool login_can_begin(const char *account, struct err *err)
{
	return account != NULL || isatty(STDIN_FILENO) || err_set(err, ERR_INVALID, "say who you are: -u ACCOUNT");
}

/* Before anybody has said who he is. */
static void show_banner(struct console *console)
{
	struct buf text = {0};
	struct revision running;
	const char *banner;
	struct err err;

	if (!console->interactive || !store_revision(console->store, 0, &running, &err))
		return;
	banner = settings_value(&running.settings, "system banner");
	if (banner != NULL)
		banner_put(&text, banner);
	fputs(buf_text(&text), console->messages);
	fflush(console->messages);
	terminal_set_idle(setting_parse_duration_ms(setting_effective(&running.settings, "system idle-timeout")));
	buf_clear(&text);
	revision_clear(&running);
}

bool login(struct console *console, const char *account, const char *password_file, struct err *err)
{
	bool any;

	if (!login_can_begin(account, err))
		return false;
	if (!any_account(console, &any, err))
		return false;
	show_banner(console);
	if (!any)
		return make_first(console, account, password_file, err);
	if (account == NULL)
		return login_at_terminal(console, err);
	become(console, mem_string(account));
	return audited(console, "login", verify(console, password_file, err), err);
}

bool login_confirm(struct console *console, struct err *err)
{
	enum account_role role = console->role;
	bool confirmed = verify(console, NULL, err);

	console->role = role;
	return confirmed || err_prefix(err, "not confirmed");
}
