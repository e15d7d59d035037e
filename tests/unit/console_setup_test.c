/* system setup, answered from a pipe: what it sets, what it skips, what it takes back. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/console_fixture.h"

static void answers(struct fixture *fixture, const char *text, bool to_the_end)
{
	set_input(text);
	if (to_the_end)
		done(fixture, "system setup");
	else
		refused(fixture, "system setup", "the setup was left");
}

static void check_running(struct fixture *fixture, const char *want)
{
	done(fixture, "show configuration | except \"exclude\"");
	CHECK_TEXT(fixture->out, want);
	done(fixture, "show configuration | compare");
	CHECK_TEXT(fixture->out, ""); /* nothing is left half */
}

/* Enough of "Enter" for the questions that are left. */
#define SKIP "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"

static void all_of_it(void)
{
	struct fixture fixture;
	struct buf text = {0};

	fixture_open(&fixture, true);
	buf_printf(&text,
		   "mx1.example.jp\n192.0.2.53\n/m.so\ninkan\nyes\nso pin\nso pin\nuser pin\nuser pin\nyes\nuser pin\n"
		   "127.0.0.1:2525\n192.0.2.0/24\nmx.example.jp\n" ADDRESS "\n%s\nright\n" SKIP,
		   fixture.pkcs12);
	answers(&fixture, buf_text(&text), true);
	CHECK_CONTAINS(fixture.out,
		       "set system host-name mx1.example.jp\nset system name-server 192.0.2.53\nset hsm module /m.so\n"
		       "set hsm token inkan\nset server default smtp listen 127.0.0.1:2525\n");
	check_running(&fixture, "set system host-name mx1.example.jp\nset system name-server 192.0.2.53\nset hsm module /m.so\n"
				"set hsm token inkan\nset server default\nset server default smtp listen 127.0.0.1:2525\n"
				"set server default smtp allow-network 192.0.2.0/24\nset server default next-hop mx.example.jp\n"
				"set server default smime enabled\nset server default smime certificate " ADDRESS "\n");
	CHECK_TEXT(fake_inkand_seen(fixture.inkand).label, "inkan");
	CHECK_INT(fake_inkand_seen(fixture.inkand).imported, 1);
	done(&fixture, "show system commit");
	CHECK_CONTAINS(fixture.out, "system setup: the first certificate");
	buf_clear(&text);
	fixture_close(&fixture);
}

static void nothing_of_it(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	answers(&fixture, SKIP, true);
	CHECK_TEXT(fixture.out, "");
	CHECK_INT(running(&fixture), 0);
	fixture_close(&fixture);
}

static void a_wrong_answer_is_asked_again(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	answers(&fixture, "not a name\nmx1.example.jp\nnowhere\n\n" SKIP, true);
	CHECK_CONTAINS(fixture.messages, "error: ");
	check_running(&fixture, "set system host-name mx1.example.jp\n");
	fixture_close(&fixture);
}

static void a_step_that_is_left_leaves_nothing(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	answers(&fixture, "mx1.example.jp\n\n/m.so\n", false); /* the input ends at the label of the token */
	CHECK_CONTAINS(fixture.messages, "what this step has set is dropped");
	check_running(&fixture, "set system host-name mx1.example.jp\n"); /* the step before stays */
	fixture_close(&fixture);
}

static void what_the_mail_server_refuses_is_taken_back(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	fake_inkand_answer(fixture.inkand, (struct fake_answers){.refuse_apply = "no"});
	answers(&fixture, "mx1.example.jp\n\n\n" SKIP, true);
	CHECK_CONTAINS(fixture.messages, "not committed, the running one stays: no");
	CHECK_TEXT(fixture.out, "");
	check_running(&fixture, "");
	fixture_close(&fixture);
}

static void edits_are_not_mixed_in(void)
{
	struct fixture fixture;

	fixture_open(&fixture, true);
	done(&fixture, "set hsm threads 4");
	refused(&fixture, "system setup", "the candidate holds edits: commit them, or drop them");
	fixture.console.role = ROLE_OPERATOR;
	refused(&fixture, "system setup", "the role operator may not do this");
	fixture_close(&fixture);
}

static void it_does_not_build_on_what_waits(void)
{
	struct fixture fixture;
	struct err err;

	fixture_open(&fixture, true);
	CHECK_OK(store_account_add(fixture.console.store, "bob", ROLE_ADMINISTRATOR, ADMIN_PASSWORD, "", &err), &err);
	done(&fixture, "set system two-person commit");
	done(&fixture, "commit");
	refused(&fixture, "system setup", "the steps would wait for a second administrator");
	fixture_close(&fixture);
}

int main(void)
{
	TEST(all_of_it);
	TEST(nothing_of_it);
	TEST(a_wrong_answer_is_asked_again);
	TEST(a_step_that_is_left_leaves_nothing);
	TEST(what_the_mail_server_refuses_is_taken_back);
	TEST(edits_are_not_mixed_in);
	TEST(it_does_not_build_on_what_waits);
	return test_finish();
}
