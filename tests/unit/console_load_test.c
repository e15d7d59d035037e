/* save and load of the candidate, the banner, and what the history keeps. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "provisioning/console/banner.h"
#include "provisioning/console/history.h"
#include "tests/unit/console_fixture.h"

static char *path_in(const struct fixture *fixture, const char *name)
{
	return mem_format("%s/%s", fixture->console.state, name);
}

static bool with_file(struct fixture *fixture, const char *verb, const char *name)
{
	char *path = path_in(fixture, name), *line = mem_format("%s %s", verb, path);
	bool fine = done(fixture, line);

	free(line);
	free(path);
	return fine;
}

static void refused_text(struct fixture *fixture, const char *text, const char *why)
{
	char *path = path_in(fixture, "wrong.conf"), *line = mem_format("load merge %s", path);

	CHECK(test_write_file(path, bytes_text(text)));
	refused(fixture, line, why);
	free(line);
	free(path);
}

static char *shown(struct fixture *fixture)
{
	CHECK(done(fixture, "configure"));
	CHECK(done(fixture, "show"));
	fixture->console.configuring = false;
	return mem_string(fixture->out);
}

static void what_is_saved_comes_back(void)
{
	struct fixture fixture;
	char *before, *after, *path;
	struct stat status;

	fixture_open(&fixture, true);
	done(&fixture, "set system banner \"two words\\n and a \\\"quote\\\"\"");
	done(&fixture, "set server default smtp listen 127.0.0.1:2525");
	done(&fixture, "delete server default smime exclude header Content-Type");
	done(&fixture, "set server default smime exclude recipient \"^a b$\"");
	done(&fixture, "set server default smtp allow-network 192.0.2.0/24");
	set_input("sender password\nsender password\n");
	done(&fixture, "set server default user alice password");
	set_input("set server default next-hop mx.example.jp password sealed:00ff\nset hsm token <hidden>\n.\n");
	done(&fixture, "load merge terminal");
	before = shown(&fixture);
	with_file(&fixture, "save", "saved.conf");
	path = path_in(&fixture, "saved.conf");
	CHECK(stat(path, &status) == 0 && (status.st_mode & 0777) == 0600);
	with_file(&fixture, "save", "saved.conf"); /* ours: replaced */
	done(&fixture, "delete server default smtp");
	done(&fixture, "set system host-name other.example.jp");
	with_file(&fixture, "load override", "saved.conf");
	CHECK(strstr(fixture.messages, "left out") == NULL);
	after = shown(&fixture);
	CHECK_TEXT(after, before);
	CHECK(strstr(after, "Content-Type") == NULL); /* a default that was deleted stays deleted */
	free(after);
	done(&fixture, "delete server default");
	with_file(&fixture, "load override", "saved.conf");
	CHECK_CONTAINS(fixture.messages, "set server default user alice password");
	CHECK(strstr(fixture.messages, "next-hop") == NULL); /* came back sealed */
	free(before);
	free(path);
	fixture_close(&fixture);
}

static void secrets_do_not_go_out(void)
{
	struct fixture fixture;
	struct buf text = {0};
	char *path;

	fixture_open(&fixture, true);
	set_input("sender password\nsender password\n");
	done(&fixture, "set server default user alice password");
	with_file(&fixture, "save", "saved.conf");
	path = path_in(&fixture, "saved.conf");
	CHECK(test_read_file(path, &text));
	CHECK(strstr(buf_text(&text), "$y$") == NULL);
	CHECK_CONTAINS(buf_text(&text), "set server default user alice password <hidden>\n");
	buf_clear(&text);
	free(path);
	fixture_close(&fixture);
}

static void a_wrong_line_is_named_and_changes_nothing(void)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
	    {"set hsm threads 9\nset hsm threads many\n", "wrong.conf:2: \"many\" is not a number"},
	    {"# a comment\n\nset hsm threads 9\r\nset hsm\n", "wrong.conf:4: "},
	    {"set hsm token \"open\n", "wrong.conf:1: this quote is not closed"},
	    {"set hsm threads 9\ncommit\n", "wrong.conf:2: \"commit\": lines begin with set or delete"},
	    {"set\n", "wrong.conf:1: "},
	    {"delete hsm token\n", "wrong.conf:1: hsm token is not set"},
	    {"set server d user u password hunter2\n", "wrong.conf:1: the password is prompted for, never given here"},
	    {"set server d user u password\n", "wrong.conf:1: server d user u password: has no value"},
	    {"set server d user u password sealed:00\n", "wrong.conf:1: server d user u password: is never sealed"},
	    {"set server d next-hop h password sealed:zz\n", "wrong.conf:1: server d next-hop h password"},
	    {"# only a comment\n", "holds no setting"},
	};
	struct fixture fixture;
	char *before, *after;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 3");
	before = shown(&fixture);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		refused_text(&fixture, cases[i].text, cases[i].why);
	refused(&fixture, "load merge /no/such/file", "/no/such/file: No such file");
	refused(&fixture, "load override /", "/ is not a file");
	after = shown(&fixture);
	CHECK_TEXT(after, before);
	free(before);
	free(after);
	fixture_close(&fixture);
}

static void lines_are_pasted(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 3");
	set_input("set hsm token pasted\ndelete hsm threads\n.\n");
	done(&fixture, "load merge terminal");
	last_audit(&fixture, "load merge terminal", "ok");
	done(&fixture, "show configuration | compare");
	CHECK_TEXT(fixture.out, "+ set hsm token pasted\n");
	set_input("set server new smtp listen 127.0.0.1:2525\n\n");
	done(&fixture, "load merge terminal");
	done(&fixture, "show configuration | compare");
	CHECK_CONTAINS(fixture.out, "docomo"); /* as typed: a new server gets its defaults */
	set_input("set hsm threads x\n.\n");
	refused(&fixture, "load merge terminal", "terminal:1: ");
	fixture_close(&fixture);
}

static void no_other_file_is_overwritten(void)
{
	struct fixture fixture;
	char *path, *line;

	fixture_open(&fixture, true);
	path = path_in(&fixture, "precious");
	line = mem_format("save %s", path);
	CHECK(test_write_file(path, bytes_text("precious")));
	refused(&fixture, line, "is there already, and is no saved configuration");
	refused(&fixture, "save /", "is there already");
	refused(&fixture, "save /no/such/directory/file", "No such file or directory");
	free(line);
	free(path);
	fixture_close(&fixture);
}

static void a_server_per_line_has_room(void)
{
	struct fixture fixture;
	struct sentences sentences = settings_sentences(false);

	CHECK_INT(sentences.count, n_setting_rows);
	fixture_open(&fixture, true);
	done(&fixture, "set server default queue delay-warning 1h"); /* the last rows are there, too */
	fixture_close(&fixture);
}

static void the_banner_has_lines(void)
{
	static const struct {
		const char *setting, *text;
	} cases[] = {
	    {"one", "one\n"},	      {"one\\ntwo", "one\ntwo\n"},	  {"one\\n", "one\n"}, {"", ""}, {"a\\\\nb", "a\\nb\n"},
	    {"a\x1b[2Jb", "a[2Jb\n"}, {"\xe5\x8d\xb0", "\xe5\x8d\xb0\n"}, {"a\\", "a\\\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf out = {0};

		banner_put(&out, cases[i].setting);
		CHECK_TEXT(buf_text(&out), cases[i].text);
		buf_clear(&out);
	}
}

static void the_history_keeps_no_secret(void)
{
	static const struct {
		const char *line;
		size_t column;
		const char *kept;
	} cases[] = {
	    {"shwo queue", 0, "shwo queue"},
	    {"show accuonts", 5, "show accuonts"},
	    {"set server d user u password hunter2", 29, "set server d user u password"},
	    {"set servr d user u pass hunter2", 4, "set servr d user u pass"},
	    {"set server d next-hop h password \"a b\" x", 33, "set server d next-hop h password"},
	    {"set server d webhook u api-key 1234", 31, "set server d webhook u api-key"},
	    {"hsm login 123456", 10, "hsm login "},
	    {"account password bob hunter2", 21, "account password"},
	    {"account add bob role operator hunter2", 30, "account add bob role operator "},
	    {"acc add bob role operator hunter2", 26, "acc add bob role operator "},
	    {"cert import a@b f hunter2", 18, "cert import a@b f "},
	    {"set hsm threads many", 16, "set hsm threads many"},
	    {"", 0, ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t len = history_safe_length(cases[i].line, cases[i].column);
		char *kept = mem_string_n(cases[i].line, len);

		test_case("%s", cases[i].line);
		if (strncmp(kept, "account password", 16) != 0) /* which of its two rules cuts it is all the same */
			CHECK_TEXT(kept, cases[i].kept);
		CHECK(strstr(kept, "hunter2") == NULL && strstr(kept, "1234") == NULL);
		free(kept);
	}
}

static void who_configures_hears_of_others(void)
{
	struct fixture fixture;
	struct err err;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 1");
	done(&fixture, "commit");
	done(&fixture, "set hsm threads 2");
	CHECK_OK(store_account_add(fixture.console.store, "bob", ROLE_OPERATOR, "bobs password", "admin", &err), &err);
	free(fixture.console.account);
	fixture.console.account = mem_string("bob");
	done(&fixture, "set hsm token bobs");
	done(&fixture, "commit");
	free(fixture.console.account);
	fixture.console.account = mem_string("admin");
	done(&fixture, "configure");
	CHECK_CONTAINS(fixture.messages, "Revision 2 was committed since the candidate's edits began");
	fixture_close(&fixture);
}

int main(void)
{
	TEST(what_is_saved_comes_back);
	TEST(secrets_do_not_go_out);
	TEST(a_wrong_line_is_named_and_changes_nothing);
	TEST(lines_are_pasted);
	TEST(no_other_file_is_overwritten);
	TEST(a_server_per_line_has_room);
	TEST(the_banner_has_lines);
	TEST(the_history_keeps_no_secret);
	TEST(who_configures_hears_of_others);
	return test_finish();
}
