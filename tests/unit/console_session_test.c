/* The console as a whole against a fake inkand: commit, refusal, rollback, certificates, PINs, roles, the audit trail. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/control.h"
#include "provisioning/console/console.h"
#include "provisioning/console/login.h"
#include "provisioning/console/script.h"
#include "provisioning/console/commands.h"
#include "tests/unit/console_fixture.h"

static struct err err;

static void set_up_signing(struct fixture *fixture)
{
	done(fixture, "set hsm module /m.so");
	done(fixture, "set hsm token inkan");
	done(fixture, "set server default smime enabled");
	done(fixture, "commit");
}

static bool import(struct fixture *fixture, const char *verb, const char *address)
{
	char *line = mem_format("certificate %s %s %s", verb, address, fixture->pkcs12);
	bool imported;

	set_input("right\n");
	imported = done(fixture, line);
	free(line);
	return imported;
}

/* ---- configuration ---- */

static void a_commit_reaches_inkand_and_runs(void)
{
	struct fixture fixture;
	struct fake_seen seen;

	fixture_open(&fixture, true);
	done(&fixture, "set system host-name mx.example.jp");
	done(&fixture, "set hsm threads 4");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "+ set system host-name mx.example.jp\n+ set hsm threads 4\n");
	CHECK_INT(running(&fixture), 0);
	done(&fixture, "commit comment \"first  one\"");
	CHECK_TEXT(fixture.messages, "Committed as revision 1\n");
	seen = fake_inkand_seen(fixture.inkand);
	CHECK_INT(seen.n_applies, 1);
	CHECK_INT(seen.applies[0].revision, 1);
	CHECK_INT(seen.applies[0].settings, 2);
	CHECK(!seen.applies[0].check_only);
	CHECK_INT(running(&fixture), 1);
	last_audit(
	    &fixture,
	    "commit comment \"first  one\" [revision 1, after 0]\n+ set system host-name mx.example.jp\n+ set hsm threads 4",
	    "ok");
	done(&fixture, "show configuration");
	CHECK_TEXT(fixture.out, "set system host-name mx.example.jp\nset hsm threads 4\n");
	done(&fixture, "show system commit");
	CHECK_CONTAINS(fixture.out, "first  one");
	done(&fixture, "commit");
	CHECK_TEXT(fixture.messages, "Nothing to commit: revision 1 runs as it is\n");
	fixture_close(&fixture);
}

static void what_the_mail_server_refuses_does_not_run(void)
{
	struct fixture fixture;
	struct revisions list;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 4");
	done(&fixture, "commit");
	done(&fixture, "set hsm threads 5");
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.refuse_apply = "127.0.0.1:25: address already in use"});
	refused(&fixture, "commit", "not committed, the running one stays: 127.0.0.1:25: address already in use");
	last_audit(&fixture, "commit", "address already in use");
	refused(&fixture, "commit check", "the mail server would refuse it: 127.0.0.1:25");
	CHECK_INT(running(&fixture), 1);
	if (CHECK_OK(store_revisions(fixture.console.store, &list, &err), &err)) {
		CHECK_INT(list.count, 1);
		revisions_clear(&list);
	}
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "- set hsm threads 4\n+ set hsm threads 5\n");
	fake_inkand_answer(fixture.inkand, (struct fake_answers){0});
	done(&fixture, "commit check");
	CHECK_TEXT(fixture.messages, "The configuration is valid\n");
	CHECK(fake_inkand_seen(fixture.inkand).applies[3].check_only);
	CHECK_INT(running(&fixture), 1);
	done(&fixture, "commit");
	CHECK(running(&fixture) > 1);
	fixture_close(&fixture);
}

static void a_configuration_that_is_wrong_as_a_whole_never_gets_there(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	done(&fixture, "set server default smtp listen 127.0.0.1:2525");
	done(&fixture, "set server default next-hop mx.example.jp");
	done(&fixture, "set server default smime certificate " ADDRESS);
	refused(&fixture, "commit", "server default smime certificate: no certificate is registered for " ADDRESS);
	CHECK_INT(fake_inkand_seen(fixture.inkand).n_applies, 0);
	fixture_close(&fixture);
}

static void without_inkand_a_commit_is_stored(void)
{
	struct fixture fixture;

	fixture_open(&fixture, false);
	done(&fixture, "set hsm threads 4");
	done(&fixture, "commit check");
	CHECK_TEXT(fixture.messages, "The configuration is valid (inkand is not running: addresses were not tried)\n");
	done(&fixture, "commit");
	CHECK_CONTAINS(fixture.messages, "inkand is not running: it takes effect when it starts");
	CHECK(running(&fixture) > 0);
	refused(&fixture, "hsm login", "inkand is not running");
	refused(&fixture, "show hsm", "inkand is not running");
	fixture_close(&fixture);
}

static void rollback_goes_back_by_commits(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 1");
	done(&fixture, "commit");
	done(&fixture, "set hsm threads 2");
	done(&fixture, "commit");
	done(&fixture, "rollback 1");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "- set hsm threads 2\n+ set hsm threads 1\n");
	done(&fixture, "show configuration | compare 1");
	CHECK_TEXT(fixture.out, "");
	done(&fixture, "commit");
	CHECK_INT(running(&fixture), 3);
	done(&fixture, "show configuration");
	CHECK_TEXT(fixture.out, "set hsm threads 1\n");
	done(&fixture, "set hsm threads 9");
	done(&fixture, "rollback 0");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "");
	refused(&fixture, "rollback 3", "there is no rollback 3: show system commit lists 3");
	refused(&fixture, "rollback x", "\"x\" is not a number");
	fixture_close(&fixture);
}

static void become(struct fixture *fixture, const char *account, enum account_role role)
{
	free(fixture->console.account);
	fixture->console.account = mem_string(account);
	fixture->console.role = role;
}

static void two_accounts_edit_side_by_side(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	CHECK_OK(store_account_add(fixture.console.store, "bob", ROLE_OPERATOR, "bobs password", "admin", &err), &err);
	done(&fixture, "set hsm threads 2");
	done(&fixture, "commit");
	done(&fixture, "set hsm threads 3");
	become(&fixture, "bob", ROLE_OPERATOR);
	done(&fixture, "set hsm token bobs");
	done(&fixture, "commit");
	become(&fixture, "admin", ROLE_ADMINISTRATOR);
	done(&fixture, "commit");
	CHECK_CONTAINS(fixture.messages, "Revision 2 by bob, committed meanwhile, is kept");
	done(&fixture, "show configuration");
	CHECK_TEXT(fixture.out, "set hsm token bobs\nset hsm threads 3\n");
	done(&fixture, "set hsm threads 4");
	become(&fixture, "bob", ROLE_OPERATOR);
	done(&fixture, "set hsm threads 5");
	done(&fixture, "commit");
	become(&fixture, "admin", ROLE_ADMINISTRATOR);
	refused(&fixture, "commit",
		"revision 4 by bob runs meanwhile, and both have changed the same: hsm threads was changed by both");
	fixture_close(&fixture);
}

static void the_password_of_a_sender_is_asked_for_and_hidden(void)
{
	struct fixture fixture;
	struct snapshot *snapshot;

	fixture_open(&fixture, true);
	set_input("sender password\nsender password\n");
	done(&fixture, "set server default user alice password");
	last_audit(&fixture, "set server default user alice password", "ok");
	done(&fixture, "commit");
	done(&fixture, "show configuration | match user");
	CHECK_TEXT(fixture.out, "set server default user alice password <hidden>\n");
	done(&fixture, "show configuration | json");
	CHECK(strstr(fixture.out, "$y$") == NULL);
	snapshot = store_snapshot(fixture.console.store, 0, &err);
	if (CHECK_OK(snapshot != NULL, &err))
		CHECK_CONTAINS(settings_value(&snapshot->settings, "server default user alice password"), "$y$");
	snapshot_free(snapshot);
	set_input("sender password\nother password\n");
	refused(&fixture, "set server default user bob password", "New password of user bob: the two entries differ");
	set_input("");
	refused(&fixture, "set server default user bob password", "standard input has ended");
	refused(&fixture, "set server default user bob password hunter2", "prompted for, never given here");
	fixture_close(&fixture);
}

static void deleting_what_is_not_set_is_an_error(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	refused(&fixture, "delete hsm threads", "hsm threads is not set");
	last_audit(&fixture, "delete hsm threads", "is not set");
	done(&fixture, "set server default smtp allow-network ::1");
	refused(&fixture, "delete server default smtp allow-network ::2", "server default smtp allow-network ::2 is not set");
	done(&fixture, "delete server default");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "");
	fixture_close(&fixture);
}

/* ---- modes, places, scripts ---- */

static void a_person_configures_in_configuration_mode(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	fixture.console.interactive = true;
	refused(&fixture, "set hsm threads 4", "\"set\" is not known here");
	done(&fixture, "configure");
	done(&fixture, "set hsm threads 4");
	done(&fixture, "show hsm");
	CHECK_TEXT(fixture.out, "set hsm threads 4\n");
	done(&fixture, "show | compare");
	CHECK_TEXT(fixture.out, "+ set hsm threads 4\n");
	done(&fixture, "run show accounts");
	CHECK_CONTAINS(fixture.out, "admin");
	refused(&fixture, "run set hsm threads 4", "\"set\" is not known here");
	done(&fixture, "exit");
	CHECK(!fixture.console.ended);
	done(&fixture, "configure");
	CHECK_CONTAINS(fixture.messages, "The candidate holds earlier edits");
	done(&fixture, "exit");
	done(&fixture, "exit");
	CHECK(fixture.console.ended);
	fixture_close(&fixture);
}

static void an_error_points_at_its_place(void)
{
	static const struct {
		const char *line;
		size_t column, width;
		int exit_code;
		const char *printed;
	} cases[] = {
	    {"set server default smtp listen 0.0.0.0:99999", 39, 5, EXIT_USAGE,
	     "set server default smtp listen 0.0.0.0:99999\n                                       ^^^^^\n"
	     "error: port \"99999\" is not a number from 1 to 65535\n"},
	    {"  frobnicate", 2, 10, EXIT_USAGE, NULL},
	    {"show", 5, 1, EXIT_USAGE, NULL},
	    {"show accounts | frob", 16, 4, EXIT_USAGE, NULL},
	    {"show accounts |", 16, 1, EXIT_USAGE, NULL},
	    {"set hsm token \"x", 14, 1, EXIT_USAGE, NULL},
	    {"delete hsm threads", 0, 0, EXIT_ERROR, "error: hsm threads is not set\n"},
	};
	struct fixture fixture;

	fixture_open(&fixture, false);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fault fault;

		test_case("%s", cases[i].line);
		CHECK(!run(&fixture, cases[i].line, &fault));
		CHECK_INT(fault.column, cases[i].column);
		CHECK_INT(fault.width, cases[i].width);
		CHECK_INT(fault.exit_code, cases[i].exit_code);
		fault_print(&fault, cases[i].line, "", fixture.console.messages);
		if (cases[i].printed != NULL)
			CHECK_TEXT(fixture.messages, cases[i].printed);
	}
	fixture_close(&fixture);
}

static void a_script_stops_at_its_first_error(void)
{
	struct fixture fixture;
	char *path;

	fixture_open(&fixture, true);
	path = mem_format("%s/script", fixture.console.state);
	CHECK(test_write_file(path, bytes_text("# a comment\n\nconfigure\nset hsm threads 4\r\nshow | compare\ncommit\nexit\n")));
	CHECK_INT(script_run_file(&fixture.console, path), EXIT_OK);
	CHECK_CONTAINS(fixture.out, "+ set hsm threads 4\n");
	CHECK_INT(running(&fixture), 1);
	CHECK(test_write_file(path, bytes_text("set hsm threads 5\nset hsm threads x\nset hsm threads 6\n")));
	CHECK_INT(script_run_file(&fixture.console, path), EXIT_USAGE);
	fflush(fixture.console.messages);
	CHECK_CONTAINS(fixture.messages, "script:2: error: \"x\" is not a number");
	done(&fixture, "show configuration | compare");
	CHECK_CONTAINS(fixture.out, "+ set hsm threads 5");
	test_case("secrets between the lines of standard input");
	set_input(
	    "set server default user alice password\nsender password\nsender password\nset hsm threads 7\nexit\nnonsense\n");
	CHECK_INT(script_run_input(&fixture.console), EXIT_OK);
	done(&fixture, "show configuration | compare");
	CHECK_CONTAINS(fixture.out, "+ set hsm threads 7");
	free(path);
	fixture_close(&fixture);
}

/* ---- certificates ---- */

static void an_imported_certificate_is_registered_and_operated(void)
{
	struct fixture fixture;
	char *line;

	fixture_open(&fixture, true);
	set_up_signing(&fixture);
	import(&fixture, "import", ADDRESS);
	CHECK_CONTAINS(fixture.out, "Key came by: rewrap");
	CHECK_CONTAINS(fixture.out, "Sensitive:   yes");
	CHECK_CONTAINS(fixture.messages, "unwrapping");
	CHECK_CONTAINS(fixture.messages, "warning: issued for long");
	done(&fixture, "show certificates");
	CHECK_CONTAINS(fixture.out, "expiring, unused");
	line = mem_format("certificate import " ADDRESS " %s", fixture.pkcs12);
	set_input("right\n");
	refused(&fixture, line, ADDRESS " is already registered; use certificate renew");
	last_audit(&fixture, line, "is already registered");
	free(line);
	CHECK_INT(fake_inkand_seen(fixture.inkand).imported, 1);
	done(&fixture, "set server default smime certificate " ADDRESS);
	done(&fixture, "commit");
	CHECK_INT(fake_inkand_seen(fixture.inkand).applies[1].certificates, 1);
	done(&fixture, "show certificates");
	CHECK_CONTAINS(fixture.out, "expiring, operated on default");
	certificates_warn(&fixture.console); /* as at a login */
	fflush(fixture.console.messages);
	CHECK_CONTAINS(fixture.messages, "warning: the certificate of " ADDRESS " expires on ");
	CHECK_CONTAINS(fixture.messages, " days");
	done(&fixture, "show certificates detail");
	CHECK_CONTAINS(fixture.out, "kept, sealed by the token");
	fixture_close(&fixture);
}

static void what_the_hsm_program_refuses_is_not_stored(void)
{
	struct fixture fixture;
	char *line;

	fixture_open(&fixture, true);
	line = mem_format("certificate import " ADDRESS " %s", fixture.pkcs12);
	set_input("wrong\n");
	refused(&fixture, line, "wrong password of the PKCS#12 file");
	last_audit(&fixture, line, "wrong password");
	set_input("right\n");
	fake_inkand_answer(fixture.inkand,
			   (struct fake_answers){.refuse_import = "the certificate is for b@example.jp, not for " ADDRESS});
	refused(&fixture, line, "the certificate is for b@example.jp");
	refused(&fixture, "certificate import " ADDRESS " /nonexistent", "/nonexistent: No such file or directory");
	refused(&fixture, "certificate import " ADDRESS " /", "/ is not a file");
	done(&fixture, "show certificates");
	CHECK_TEXT(fixture.out, "");
	CHECK_INT(fake_inkand_seen(fixture.inkand).keys, 0);
	free(line);
	fixture_close(&fixture);
}

/* Another console registers the same address while the HSM works: the second key must not stay on the token. */
static void register_meanwhile(const char *state)
{
	char address[] = ADDRESS;
	struct stored_certificate certificate = {
	    .certificate = {.address = address, .key_type = (char *)"EC-P256", .key_id = bytes_text("other")},
	    .subject = (char *)"",
	    .issuer = (char *)"",
	    .serial = (char *)"",
	    .fingerprint = (char *)"",
	    .rung = (char *)"",
	    .imported_by = (char *)"bob"};
	struct store *store = store_open(state, STORE_READ_WRITE, NULL);
	uint64_t id;

	if (store == NULL || !store_certificate_add(store, &certificate, false, &id, NULL))
		abort();
	store_close(store);
}

static void a_key_that_cannot_be_registered_leaves_the_token(void)
{
	struct fixture fixture;
	struct fake_seen seen;
	char *line;

	fixture_open(&fixture, true);
	line = mem_format("certificate import " ADDRESS " %s", fixture.pkcs12);
	set_input("right\n");
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.at_import = register_meanwhile});
	refused(&fixture, line, ADDRESS " is already registered");
	seen = fake_inkand_seen(fixture.inkand);
	CHECK_INT(seen.imported, 1);
	CHECK_INT(seen.deleted, 1);
	CHECK_INT(seen.keys, 0);
	free(line);
	fixture_close(&fixture);
}

static void a_renewal_waits_for_the_commit(void)
{
	struct fixture fixture;
	char *line;

	fixture_open(&fixture, true);
	set_up_signing(&fixture);
	line = mem_format("certificate renew " ADDRESS " %s", fixture.pkcs12);
	refused(&fixture, line, "no certificate is registered for " ADDRESS "; use certificate import");
	import(&fixture, "import", ADDRESS);
	done(&fixture, "set server default smime certificate " ADDRESS);
	done(&fixture, "commit");
	import(&fixture, "renew", ADDRESS);
	done(&fixture, "show certificates");
	CHECK_CONTAINS(fixture.out, "renewed: takes effect at commit");
	CHECK_CONTAINS(fixture.out, "operated on default until commit");
	set_input(ADMIN_PASSWORD "\n");
	refused(&fixture, "certificate delete " ADDRESS " previous", "signs until the next commit");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "! certificate " ADDRESS ": 2 takes the place of 1\n");
	done(&fixture, "commit");
	done(&fixture, "rollback 1");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "! certificate " ADDRESS ": 1 takes the place of 2\n");
	done(&fixture, "rollback 0");
	set_input(ADMIN_PASSWORD "\n");
	done(&fixture, "certificate delete " ADDRESS " previous");
	CHECK_INT(fake_inkand_seen(fixture.inkand).keys, 1);
	set_input(ADMIN_PASSWORD "\n");
	refused(&fixture, "certificate delete " ADDRESS " previous", "has no previous certificate");
	free(line);
	fixture_close(&fixture);
}

static void a_certificate_in_operation_is_not_deleted(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	set_up_signing(&fixture);
	import(&fixture, "import", ADDRESS);
	done(&fixture, "set server default smime certificate " ADDRESS);
	refused(&fixture, "certificate delete " ADDRESS,
		"server default of the configuration that admin is editing operates " ADDRESS);
	done(&fixture, "commit");
	done(&fixture, "delete server default smime certificate " ADDRESS);
	refused(&fixture, "certificate delete " ADDRESS, "server default of the running configuration operates " ADDRESS);
	done(&fixture, "commit");
	set_input("wrong\n");
	refused(&fixture, "certificate delete " ADDRESS, "not confirmed: wrong account or password");
	last_audit(&fixture, "certificate delete " ADDRESS, "not confirmed");
	CHECK_INT(fake_inkand_seen(fixture.inkand).keys, 1);
	set_input(ADMIN_PASSWORD "\n");
	done(&fixture, "certificate delete " ADDRESS);
	CHECK_INT(fake_inkand_seen(fixture.inkand).keys, 0);
	done(&fixture, "show certificates");
	CHECK_TEXT(fixture.out, "");
	refused(&fixture, "certificate delete " ADDRESS, "no certificate is registered");
	fixture_close(&fixture);
}

/* ---- the token ---- */

static void pins_reach_inkand_and_nothing_else(void)
{
	struct fixture fixture;
	struct fake_seen seen;

	fixture_open(&fixture, true);
	refused(&fixture, "hsm initialize", "the running configuration names no token");
	set_up_signing(&fixture);
	set_input("1111\n1112\n");
	refused(&fixture, "hsm initialize", "New SO PIN: the two entries differ");
	set_input("1111\n1111\n2222\n2222\n");
	done(&fixture, "hsm initialize");
	seen = fake_inkand_seen(fixture.inkand);
	CHECK_TEXT(seen.label, "inkan");
	CHECK_TEXT(seen.so_pin, "1111");
	CHECK_TEXT(seen.user_pin, "2222");
	set_input("2222\n");
	done(&fixture, "hsm login");
	CHECK_TEXT(fake_inkand_seen(fixture.inkand).pin, "2222");
	last_audit(&fixture, "hsm login", "ok");
	CHECK_INT(fake_inkand_seen(fixture.inkand).login_flags, 0);
	set_input("4444\n");
	done(&fixture, "hsm login final-try");
	CHECK_TEXT(fake_inkand_seen(fixture.inkand).pin, "4444");
	CHECK_INT(fake_inkand_seen(fixture.inkand).login_flags, CONTROL_LOGIN_FINAL_TRY);
	last_audit(&fixture, "hsm login final-try", "ok");
	done(&fixture, "hsm login keypad");
	CHECK_TEXT(fake_inkand_seen(fixture.inkand).pin, "");
	CHECK_INT(fake_inkand_seen(fixture.inkand).login_flags, CONTROL_LOGIN_KEYPAD);
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.refuse_login = "the token refused the PIN"});
	set_input("3333\n");
	refused(&fixture, "hsm login", "the token refused the PIN");
	done(&fixture, "hsm logout");
	CHECK_TEXT(fake_inkand_seen(fixture.inkand).pin, "");
	done(&fixture, "show log audit 1000 | match 2222|3333|4444|1111");
	CHECK_TEXT(fixture.out, "");
	fixture_close(&fixture);
}

static void a_failing_key_fails_the_test(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	import(&fixture, "import", ADDRESS);
	done(&fixture, "hsm test");
	CHECK_CONTAINS(fixture.out, "signed and verified");
	import(&fixture, "import", "b@example.jp");
	refused(&fixture, "hsm test", "1 of 2 keys failed");
	CHECK_CONTAINS(fixture.out, "FAILED: no such key");
	fixture_close(&fixture);
}

/* ---- accounts, roles, audit ---- */

static void a_refused_line_is_audited_without_what_was_not_understood(void)
{
	static const struct {
		const char *line, *what, *result;
	} lines[] = {
	    {"hunter2", "[...]", "not understood from word 1 on"},
	    {"hsm login 12345678", "hsm login [...]", "not understood from word 3 on"},
	    {"set server default user bob password hunter2", "set server default user bob password [...]", "word 7 on"},
	    {"account add bob hunter2", "account add bob [...]", "word 4 on"},
	    {"show accounts \"hunter2", "[...]", "not understood"},
	    {"run hunter2", "[...]", "not understood from word 1 on"},
	    {"show | match a b hunter2", "show \"|\" match a [...]", "not understood"},
	};
	struct fixture fixture;

	fixture_open(&fixture, false);
	fixture.console.configuring = true;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		refused(&fixture, lines[i].line, "");
		last_audit(&fixture, lines[i].what, lines[i].result);
	}
	fixture_close(&fixture);
}

static void roles_limit_commands(void)
{
	static const struct {
		enum account_role role;
		const char *line;
		bool allowed;
	} cases[] = {
	    {ROLE_AUDITOR, "show log audit", true},
	    {ROLE_AUDITOR, "show configuration", true},
	    {ROLE_AUDITOR, "set hsm threads 4", false},
	    {ROLE_AUDITOR, "commit", false},
	    {ROLE_AUDITOR, "certificate delete a@b.jp", false},
	    {ROLE_AUDITOR, "hsm login", false},
	    {ROLE_OPERATOR, "set hsm threads 4", true},
	    {ROLE_OPERATOR, "hsm initialize", false},
	    {ROLE_OPERATOR, "account delete bob", false},
	    {ROLE_OPERATOR, "account password admin", false},
	};
	struct fixture fixture;

	fixture_open(&fixture, true);
	CHECK_OK(store_account_add(fixture.console.store, "eve", ROLE_AUDITOR, "eves password", "admin", &err), &err);
	become(&fixture, "eve", ROLE_AUDITOR);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct fault fault;
		bool ran;

		test_case("%s: %s", account_role_name(cases[i].role), cases[i].line);
		fixture.console.role = cases[i].role;
		ran = run(&fixture, cases[i].line, &fault);
		CHECK(ran == cases[i].allowed);
		if (!cases[i].allowed) {
			CHECK_INT(fault.err.code, ERR_DENIED);
			last_audit(&fixture, cases[i].line, fault.err.text);
		}
	}
	fixture_close(&fixture);
}

static void accounts_are_managed(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	set_input("bobs password\nbobs password\n");
	done(&fixture, "account add bob role oper");
	set_input("bobs password\nbobs password\n");
	refused(&fixture, "account add bob role auditor", "there is an account bob already");
	done(&fixture, "show accounts");
	CHECK_CONTAINS(fixture.out, "bob      operator");
	set_input("another password\nanother password\n");
	done(&fixture, "account password bob");
	set_input("wrong\n");
	refused(&fixture, "account password", "not confirmed");
	set_input(ADMIN_PASSWORD "\nnew password\nnew password\n");
	done(&fixture, "account password");
	refused(&fixture, "account delete admin", "admin is this login's own account");
	done(&fixture, "account delete bob");
	done(&fixture, "show log audit 1000 | match password");
	CHECK(strstr(fixture.out, "bobs") == NULL && strstr(fixture.out, "new password") == NULL);
	fixture_close(&fixture);
}

static void the_first_login_makes_the_administrator(void)
{
	const char *state = test_directory();
	struct console console = {
	    .state = (char *)state, .origin = (char *)"test", .out = stdout, .messages = fopen("/dev/null", "w")};
	char *password = mem_format("%s/pw", state);

	console.store = store_open(state, STORE_READ_WRITE, &err);
	CHECK(test_write_file(password, bytes_text("first password\n")));
	set_input("");
	test_case("nobody named");
	CHECK(!login(&console, NULL, NULL, &err));
	CHECK_TEXT(err.text, "say who you are: -u ACCOUNT");
	test_case("first");
	CHECK_OK(login(&console, "root", password, &err), &err);
	CHECK_INT(console.role, ROLE_ADMINISTRATOR);
	test_case("again");
	CHECK_OK(login(&console, "root", password, &err), &err);
	test_case("another name makes no account");
	CHECK(!login(&console, "other", password, &err));
	CHECK_TEXT(err.text, "wrong account or password");
	test_case("password on standard input");
	set_input("first password\n");
	CHECK_OK(login(&console, "root", NULL, &err), &err);
	set_input("second password\n");
	CHECK(!login(&console, "root", NULL, &err));
	store_close(console.store);
	fclose(console.messages);
	free(console.account);
	free(password);
}

static void tamper(const char *state, const char *statement)
{
	char *path = mem_format("%s/%s", state, STORE_FILE);
	sqlite3 *db = NULL;

	CHECK(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, statement, NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(db);
	free(path);
}

static void a_broken_audit_trail_is_reported(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	for (int i = 0; i < 3; i++)
		done(&fixture, "set hsm threads 4");
	done(&fixture, "show log audit");
	CHECK_CONTAINS(fixture.out, " admin test: set hsm threads 4\n");
	done(&fixture, "show log audit 2 | count");
	CHECK_TEXT(fixture.out, "2\n");
	tamper(fixture.console.state, "UPDATE audit SET what = 'set hsm threads 5' WHERE number = 2");
	refused(&fixture, "show log audit", "the audit trail is broken at row 2");
	CHECK_CONTAINS(fixture.out, "set hsm threads 5");
	fixture_close(&fixture);
}

static bool is_written(struct fixture *fixture, const char *file, const char *word)
{
	char *path = mem_format("%s/%s", fixture->console.state, file);
	FILE *stream = fopen(path, "rb");
	struct buf octets = {0};
	bool found;
	int c;

	while (stream != NULL && (c = fgetc(stream)) != EOF)
		buf_put_byte(&octets, (uint8_t)c);
	found = octets.len > 0 && memmem(octets.data, octets.len, word, strlen(word)) != NULL;
	if (stream != NULL)
		fclose(stream);
	buf_clear(&octets);
	free(path);
	return found;
}

/* Not even for the time of the command, which a crash would make for ever. */
static void a_password_behind_the_command_is_not_written_down(void)
{
	static const enum account_role roles[] = {ROLE_ADMINISTRATOR, ROLE_AUDITOR};

	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		struct fixture fixture;

		fixture_open(&fixture, false);
		fixture.console.role = roles[i];
		refused(&fixture, "account password hunter2", "");
		last_audit(&fixture, "account password [no account]", "");
		CHECK(is_written(&fixture, STORE_FILE "-wal", "no account"));
		CHECK(!is_written(&fixture, STORE_FILE "-wal", "hunter2"));
		CHECK(!is_written(&fixture, STORE_FILE, "hunter2"));
		fixture_close(&fixture);
	}
}

int main(void)
{
	TEST(a_commit_reaches_inkand_and_runs);
	TEST(what_the_mail_server_refuses_does_not_run);
	TEST(a_configuration_that_is_wrong_as_a_whole_never_gets_there);
	TEST(without_inkand_a_commit_is_stored);
	TEST(rollback_goes_back_by_commits);
	TEST(two_accounts_edit_side_by_side);
	TEST(the_password_of_a_sender_is_asked_for_and_hidden);
	TEST(deleting_what_is_not_set_is_an_error);
	TEST(a_person_configures_in_configuration_mode);
	TEST(an_error_points_at_its_place);
	TEST(a_script_stops_at_its_first_error);
	TEST(an_imported_certificate_is_registered_and_operated);
	TEST(what_the_hsm_program_refuses_is_not_stored);
	TEST(a_key_that_cannot_be_registered_leaves_the_token);
	TEST(a_renewal_waits_for_the_commit);
	TEST(a_certificate_in_operation_is_not_deleted);
	TEST(pins_reach_inkand_and_nothing_else);
	TEST(a_failing_key_fails_the_test);
	TEST(a_refused_line_is_audited_without_what_was_not_understood);
	TEST(roles_limit_commands);
	TEST(accounts_are_managed);
	TEST(the_first_login_makes_the_administrator);
	TEST(a_broken_audit_trail_is_reported);
	TEST(a_password_behind_the_command_is_not_written_down);
	return test_finish();
}
