/* `commit confirmed`, against a fake inkand: it stays when it is confirmed in time, and goes when it is not. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/committing.h"
#include "tests/unit/console_fixture.h"

static struct err err;

/* As if so many milliseconds were left. */
static void leave(struct fixture *fixture, long long ms)
{
	char *path = mem_format("%s/%s", fixture->console.state, STORE_FILE);
	char *sql = mem_format("UPDATE revision SET confirm_ms = %lld WHERE confirm_ms > 0", (long long)clock_wall_ms() + ms);
	sqlite3 *db = NULL;

	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, STORE_BUSY_MS);
	CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	free(sql);
	free(path);
}

static void commit_two(struct fixture *fixture, const char *second)
{
	done(fixture, "set hsm threads 1");
	done(fixture, "commit");
	done(fixture, "set hsm threads 2");
	done(fixture, second);
}

static void threads(struct fixture *fixture, const char *want)
{
	char *line = mem_format("set hsm threads %s\n", want);

	done(fixture, "show configuration");
	CHECK_TEXT(fixture->out, line);
	free(line);
}

static struct revision running_row(struct fixture *fixture)
{
	struct revision row = {0};

	CHECK_OK(store_revision(fixture->console.store, 0, &row, &err), &err);
	return row;
}

static bool waits(struct fixture *fixture)
{
	struct revision row = running_row(fixture);
	bool it_does = row.confirm_ms != 0;

	revision_clear(&row);
	return it_does;
}

static void what_is_confirmed_stays(void)
{
	static const char *const confirming[] = {"commit", "commit check"};

	for (size_t i = 0; i < sizeof confirming / sizeof *confirming; i++) {
		struct fixture fixture;

		fixture_open(&fixture, true);
		commit_two(&fixture, "commit confirmed 5");
		CHECK_TEXT(
		    fixture.messages,
		    "Committed as revision 2\nIt waits: revision 2 will be rolled back to 1 in 5 minutes unless you commit\n");
		last_audit(&fixture, "commit confirmed 5 [revision 2, after 1]\n- set hsm threads 1\n+ set hsm threads 2", "ok");
		CHECK(waits(&fixture));
		done(&fixture, "show system commit");
		CHECK_CONTAINS(fixture.out, "CONFIRM UNTIL");
		CHECK_CONTAINS(fixture.messages, "Attention: revision 2 will be rolled back to 1 in");
		done(&fixture, confirming[i]);
		CHECK_CONTAINS(fixture.messages, "Revision 2 is confirmed and stays\n");
		last_audit(&fixture, i == 0 ? "commit" : "commit check: confirmed", "ok");
		CHECK(!waits(&fixture));
		done(&fixture, "show system commit");
		CHECK(strstr(fixture.out, "CONFIRM UNTIL") == NULL);
		CHECK_TEXT(fixture.messages, "");
		CHECK_OK(commit_take_back(&fixture.console, &err), &err);
		threads(&fixture, "2");
		fixture_close(&fixture);
	}
}

static void what_is_not_confirmed_goes(void)
{
	struct fixture fixture;
	struct audit_entries entries;

	fixture_open(&fixture, true);
	commit_two(&fixture, "commit confirmed");
	CHECK_CONTAINS(fixture.messages, "in 10 minutes");
	CHECK_OK(commit_take_back(&fixture.console, &err), &err);
	CHECK_INT(running(&fixture), 2); /* too early */
	leave(&fixture, 0);
	CHECK_OK(commit_take_back(&fixture.console, &err), &err);
	CHECK_INT(running(&fixture), 3);
	threads(&fixture, "1");
	CHECK_INT(fake_inkand_seen(fixture.inkand).applies[2].revision, 3);
	if (CHECK_OK(store_audit_list(fixture.console.store, 1, &entries, &err), &err)) {
		CHECK_TEXT(entries.items[0].who, COMMIT_AUTOMATIC);
		CHECK_TEXT(entries.items[0].what, "commit confirmed: revision 2 was not confirmed: revision 1 again");
		audit_entries_clear(&entries);
	}
	CHECK_OK(commit_take_back(&fixture.console, &err), &err); /* once */
	CHECK_INT(running(&fixture), 3);
	done(&fixture, "show system commit");
	CHECK_CONTAINS(fixture.out, "revision 2 was not confirmed: revision 1 again");
	fixture_close(&fixture);
}

static void a_confirmation_that_comes_too_late_is_refused(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	commit_two(&fixture, "commit confirmed 5");
	done(&fixture, "set system host-name edited.example.jp");
	leave(&fixture, 0);
	refused(&fixture, "commit", "was not confirmed in time: revision 3 brings back what ran before");
	threads(&fixture, "1");
	done(&fixture, "show configuration | compare");
	CHECK_CONTAINS(fixture.out, "edited.example.jp");
	done(&fixture, "commit");
	done(&fixture, "show configuration");
	CHECK_TEXT(fixture.out, "set system host-name edited.example.jp\nset hsm threads 1\n");
	fixture_close(&fixture);
}

static void another_commit_confirms_or_waits_anew(void)
{
	struct fixture fixture;
	struct revision row;

	fixture_open(&fixture, true);
	commit_two(&fixture, "commit confirmed 5");
	done(&fixture, "set hsm threads 3");
	done(&fixture, "commit confirmed 7 comment \"and again\"");
	row = running_row(&fixture);
	CHECK_INT(row.number, 3);
	CHECK_INT(row.confirm_back, 1); /* the last one that somebody kept */
	CHECK_TEXT(row.comment, "and again");
	revision_clear(&row);
	done(&fixture, "commit confirmed 60");
	CHECK_TEXT(fixture.messages, "From now on: revision 3 will be rolled back to 1 in 60 minutes unless you commit\n");
	done(&fixture, "set hsm threads 4");
	done(&fixture, "commit");
	CHECK(!waits(&fixture));
	done(&fixture, "show system commit");
	CHECK_TEXT(fixture.messages, "");
	fixture_close(&fixture);
}

static void what_cannot_wait_is_refused(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 1");
	refused(&fixture, "commit confirmed 5", "this is the first commit: there is no revision to go back to");
	refused(&fixture, "commit confirmed 0", "minutes are 1 to 65535");
	refused(&fixture, "commit confirmed 65536", "minutes are 1 to 65535");
	refused(&fixture, "commit confirmed soon", "\"soon\" is not a number");
	CHECK_INT(running(&fixture), 0);
	done(&fixture, "commit");
	done(&fixture, "set hsm threads 2");
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.refuse_apply = "no"});
	refused(&fixture, "commit confirmed 5", "not committed, the running one stays: no");
	CHECK(!waits(&fixture));
	fixture_close(&fixture);
}

static void a_rollback_that_inkand_refuses_is_not_lost(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	commit_two(&fixture, "commit confirmed 5");
	leave(&fixture, 0);
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.refuse_apply = "no"});
	CHECK(!commit_take_back(&fixture.console, &err));
	CHECK_CONTAINS(err.text, "no");
	CHECK_INT(running(&fixture), 2);
	refused(&fixture, "commit", "no");
	fake_inkand_answer(fixture.inkand, (struct fake_answers){0});
	CHECK_OK(commit_take_back(&fixture.console, &err), &err);
	threads(&fixture, "1");
	fixture_close(&fixture);
}

static void certificates_are_kept_while_it_waits(void)
{
	struct fixture fixture;
	char *line;

	fixture_open(&fixture, true);
	line = mem_format("certificate import " ADDRESS " %s", fixture.pkcs12);
	commit_two(&fixture, "commit confirmed 5");
	set_input("right\n");
	done(&fixture, line);
	refused(&fixture, "certificate delete " ADDRESS, "revision 2 waits for its confirmation");
	done(&fixture, "commit");
	set_input(ADMIN_PASSWORD "\n");
	done(&fixture, "certificate delete " ADDRESS);
	free(line);
	fixture_close(&fixture);
}

static void log_in(struct fixture *fixture, const char *account)
{
	free(fixture->console.account);
	fixture->console.account = mem_string(account);
}

/* The time to confirm begins with the approval. */
static void what_two_persons_decide_is_confirmed_too(void)
{
	int64_t least_ms = 5 * 60 * 1000;
	struct fixture fixture;
	struct revision row;

	fixture_open(&fixture, true);
	CHECK_OK(store_account_add(fixture.console.store, "bob", ROLE_ADMINISTRATOR, ADMIN_PASSWORD, "", &err), &err);
	done(&fixture, "set system two-person commit");
	done(&fixture, "set hsm threads 1");
	done(&fixture, "commit");
	done(&fixture, "set hsm threads 2");
	refused(&fixture, "commit confirmed 5", "another administrator must type \"approve 1\"");
	CHECK(!waits(&fixture));
	CHECK_INT(running(&fixture), 1);
	refused(&fixture, "approve 1", "somebody else must approve it");
	log_in(&fixture, "bob");
	least_ms += clock_wall_ms();
	done(&fixture, "approve 1");
	row = running_row(&fixture);
	CHECK(row.confirm_ms >= least_ms);
	CHECK_INT(row.confirm_back, 1);
	CHECK_TEXT(row.by, "admin");
	revision_clear(&row);
	leave(&fixture, -1);
	CHECK_OK(commit_take_back(&fixture.console, &err), &err);
	CHECK(!waits(&fixture));
	done(&fixture, "show configuration | match threads");
	CHECK_TEXT(fixture.out, "set hsm threads 1\n");
	fixture_close(&fixture);
}

int main(void)
{
	TEST(what_is_confirmed_stays);
	TEST(what_is_not_confirmed_goes);
	TEST(a_confirmation_that_comes_too_late_is_refused);
	TEST(another_commit_confirms_or_waits_anew);
	TEST(what_cannot_wait_is_refused);
	TEST(a_rollback_that_inkand_refuses_is_not_lost);
	TEST(certificates_are_kept_while_it_waits);
	TEST(what_two_persons_decide_is_confirmed_too);
	return test_finish();
}
