/* The pure parts of sending: dot-stuffing, envelope commands, maildir text, schedule and back-off. */
#include <string.h>

#include "appliance/relay/delivery/hops.h"
#include "appliance/relay/delivery/maildir.h"
#include "appliance/relay/delivery/schedule.h"
#include "appliance/relay/delivery/smtp_command.h"
#include "appliance/relay/delivery/smtp_dot.h"
#include "tests/unit/test.h"

struct text_case {
	const char *name, *in, *out;
};

static const struct text_case dot_cases[] = {
    {"nothing", "", ".\r\n"},
    {"one line", "a\r\n", "a\r\n.\r\n"},
    {"a dot in front", ".a\r\n", "..a\r\n.\r\n"},
    {"a dot alone", ".\r\n", "..\r\n.\r\n"},
    {"two dots", "a\r\n..\r\nb\r\n", "a\r\n...\r\nb\r\n.\r\n"},
    {"a dot within", "a.b\r\n", "a.b\r\n.\r\n"},
    {"every line", ".\r\n.\r\n.\r\n", "..\r\n..\r\n..\r\n.\r\n"},
    {"no last line end", "a", "a\r\n.\r\n"},
    {"a dot without line end", ".", "..\r\n.\r\n"},
    {"CR at the end", "a\r", "a\r\r\n.\r\n"},
    {"a bare LF ends no line", "a\n.b\r\n", "a\n.b\r\n.\r\n"},
    {"a bare CR ends no line", "a\r.b\r\n", "a\r.b\r\n.\r\n"},
    {"LF CR", "a\n\r.b\r\n", "a\n\r.b\r\n.\r\n"},
    {"CR CR LF", "a\r\r\n.b\r\n", "a\r\r\n..b\r\n.\r\n"},
    {"empty lines", "\r\n\r\n.\r\n", "\r\n\r\n..\r\n.\r\n"},
};

/* Cut at every place, in two pieces; `cut` 0 is whole. */
static void stuffs_dots_across_any_cut(void)
{
	for (size_t i = 0; i < sizeof dot_cases / sizeof dot_cases[0]; i++) {
		struct bytes in = bytes_text(dot_cases[i].in);

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct smtp_dot dot = {0};
			struct buf out = {0};

			test_case("%s, cut at %zu", dot_cases[i].name, cut);
			smtp_dot_feed(&dot, bytes_slice(in, 0, cut), &out);
			smtp_dot_feed(&dot, bytes_slice(in, cut, in.len), &out);
			smtp_dot_finish(&dot, &out);
			CHECK_BYTES(buf_bytes(&out), bytes_text(dot_cases[i].out));
			buf_clear(&out);
		}
	}
}

static void stuffs_dots_octet_by_octet(void)
{
	for (size_t i = 0; i < sizeof dot_cases / sizeof dot_cases[0]; i++) {
		struct bytes in = bytes_text(dot_cases[i].in);
		struct smtp_dot dot = {0};
		struct buf out = {0};

		test_case("%s", dot_cases[i].name);
		for (size_t at = 0; at < in.len; at++)
			smtp_dot_feed(&dot, bytes_slice(in, at, at + 1), &out);
		smtp_dot_finish(&dot, &out);
		CHECK_BYTES(buf_bytes(&out), bytes_text(dot_cases[i].out));
		buf_clear(&out);
	}
}

static const struct text_case line_cases[] = {
    {"nothing", "", ""},
    {"one line", "a\r\n", "a\n"},
    {"empty lines", "\r\n\r\n", "\n\n"},
    {"bare CR stays", "a\rb\r\n", "a\rb\n"},
    {"CR CR LF", "a\r\r\nb", "a\r\nb"},
    {"CR at the end", "a\r", "a\r"},
    {"bare LF stays", "a\nb", "a\nb"},
};

static void converts_line_ends_across_any_cut(void)
{
	for (size_t i = 0; i < sizeof line_cases / sizeof line_cases[0]; i++) {
		struct bytes in = bytes_text(line_cases[i].in);

		for (size_t cut = 0; cut <= in.len; cut++) {
			struct maildir_lines lines = {0};
			struct buf out = {0};

			test_case("%s, cut at %zu", line_cases[i].name, cut);
			maildir_lines_feed(&lines, bytes_slice(in, 0, cut), &out);
			maildir_lines_feed(&lines, bytes_slice(in, cut, in.len), &out);
			maildir_lines_finish(&lines, &out);
			CHECK_BYTES(buf_bytes(&out), bytes_text(line_cases[i].out));
			buf_clear(&out);
		}
	}
}

static void maildir_header_keeps_its_lines(void)
{
	struct buf out = {0};

	maildir_put_header(&out, "a@example.com", "b@example.com\nX: y");
	CHECK_TEXT(buf_text(&out),
		   "Return-Path: <a@example.com>\nDelivered-To: b@example.com?X: y\nX-Original-To: b@example.com?X: y\n");
	buf_clear(&out);
}

struct path_case {
	const char *address;
	bool safe;
};

static const struct path_case path_cases[] = {
    {"", true},
    {"a@example.com", true},
    {"a..b@docomo.ne.jp", true},
    {"a.@ezweb.ne.jp", true},
    {"\"a b\"@example.com", true},
    {"\"a>b\"@example.com", true},
    {"\"a\\\"b\"@example.com", true},
    {"\xe5\x8d\xb0@example.com", true},
    {"a b@example.com", false},
    {"a>b@example.com", false},
    {"<a@example.com", false},
    {"\"a@example.com", false},
    {"\"a\\", false},
    {"a@example.com\r\nDATA", false},
    {"\"a\r\nb\"@example.com", false},
    {"\"a\\\r\nb\"@example.com", false},
    {"a\x7f@example.com", false},
};

static void only_safe_paths_are_written(void)
{
	for (size_t i = 0; i < sizeof path_cases / sizeof path_cases[0]; i++) {
		test_case("%s", path_cases[i].address);
		CHECK_INT(smtp_path_safe(path_cases[i].address), path_cases[i].safe);
	}
}

struct mail_case {
	const char *name;
	struct smtp_capabilities offers;
	enum queue_rendering rendering;
	enum queue_body_type body;
	bool utf8;
	const char *want;
};

static const struct mail_case mail_cases[] = {
    {"bare", {0}, QUEUE_PLAIN, QUEUE_8BITMIME, false, "MAIL FROM:<s@example.com>\r\n"},
    {"size plain", {.size = true}, QUEUE_PLAIN, QUEUE_7BIT, false, "MAIL FROM:<s@example.com> SIZE=100\r\n"},
    {"size signed", {.size = true}, QUEUE_SIGNED, QUEUE_7BIT, false, "MAIL FROM:<s@example.com> SIZE=200\r\n"},
    {"plain 7-bit", {.eight_bit = true}, QUEUE_PLAIN, QUEUE_7BIT, false, "MAIL FROM:<s@example.com> BODY=7BIT\r\n"},
    {"plain 8-bit", {.eight_bit = true}, QUEUE_PLAIN, QUEUE_8BITMIME, false, "MAIL FROM:<s@example.com> BODY=8BITMIME\r\n"},
    {"signed is 7-bit", {.eight_bit = true}, QUEUE_SIGNED, QUEUE_8BITMIME, false, "MAIL FROM:<s@example.com> BODY=7BIT\r\n"},
    {"signed with SMTPUTF8 has an 8-bit header",
     {.eight_bit = true, .smtputf8 = true},
     QUEUE_SIGNED,
     QUEUE_7BIT,
     true,
     "MAIL FROM:<s@example.com> BODY=8BITMIME SMTPUTF8\r\n"},
    {"smtputf8 wanted", {.smtputf8 = true}, QUEUE_PLAIN, QUEUE_7BIT, true, "MAIL FROM:<s@example.com> SMTPUTF8\r\n"},
    {"smtputf8 not wanted", {.smtputf8 = true}, QUEUE_PLAIN, QUEUE_7BIT, false, "MAIL FROM:<s@example.com>\r\n"},
};

static void mail_has_the_parameters_that_are_offered(void)
{
	for (size_t i = 0; i < sizeof mail_cases / sizeof mail_cases[0]; i++) {
		char sender[] = "s@example.com";
		const struct mail_case *c = &mail_cases[i];
		const struct queue_stored message = {
		    .sender = sender, .plain_size = 100, .signed_size = 200, .body_type = c->body, .smtputf8 = c->utf8};
		struct buf out = {0};

		test_case("%s", c->name);
		smtp_command_mail(&out, &message, c->rendering, c->rendering == QUEUE_SIGNED ? 200 : 100, &c->offers);
		CHECK_TEXT(buf_text(&out), c->want);
		buf_clear(&out);
	}
}

static void notification_parameters_go_where_they_are_understood(void)
{
	const struct smtp_capabilities with = {.dsn = true}, without = {0};
	char sender[] = "s@example.com", envelope[] = "id+2B1", original[] = "rfc822;o@example.org", address[] = "b@example.net";
	const struct queue_stored message = {.sender = sender, .ret = QUEUE_RETURN_HEADERS, .envelope_id = envelope};
	const struct group_recipient recipient = {.address = address,
						  .original = original,
						  .notify = QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_WARNED};
	struct buf out = {0};

	smtp_command_mail(&out, &message, QUEUE_PLAIN, 100, &with);
	smtp_command_rcpt(&out, &recipient, &with);
	CHECK_TEXT(buf_text(&out), "MAIL FROM:<s@example.com> RET=HDRS ENVID=id+2B1\r\n"
				   "RCPT TO:<b@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@example.org\r\n");
	buf_reset(&out);
	smtp_command_mail(&out, &message, QUEUE_PLAIN, 100, &without);
	smtp_command_rcpt(&out, &recipient, &without);
	CHECK_TEXT(buf_text(&out), "MAIL FROM:<s@example.com>\r\nRCPT TO:<b@example.net>\r\n");
	buf_clear(&out);
}

static const int64_t table[] = {60000, 300000, 900000};

struct schedule_case {
	const char *name;
	int64_t now, expires;
	uint32_t attempts;
	size_t n_retry;
	int64_t due; /* -1: over */
};

static const struct schedule_case schedule_cases[] = {
    {"first", 1000, 100000000, 0, 3, 61000},
    {"second", 1000, 100000000, 1, 3, 301000},
    {"last of the table", 1000, 100000000, 2, 3, 901000},
    {"beyond the table", 1000, 100000000, 3, 3, 901000},
    {"far beyond", 1000, 100000000, UINT32_MAX, 3, 901000},
    {"last try at the end of the lifetime", 1000, 50000, 0, 3, 50000},
    {"due exactly at the end", 1000, 61000, 0, 3, 61000},
    {"the end", 50000, 50000, 5, 3, -1},
    {"after the end", 60000, 50000, 0, 3, -1},
    {"no table: the default's first", 0, 100000000, 0, 0, 60000},
    {"no table: the default's last", 0, 100000000, 9, 0, 3600000},
};

static void schedules_the_next_try(void)
{
	for (size_t i = 0; i < sizeof schedule_cases / sizeof schedule_cases[0]; i++) {
		const struct schedule_case *c = &schedule_cases[i];
		const struct schedule schedule = {table, c->n_retry};
		int64_t due = -1;

		test_case("%s", c->name);
		CHECK_INT(schedule_next(&schedule, c->now, c->expires, c->attempts, &due), c->due >= 0);
		CHECK_INT(due, c->due);
	}
}

static void backs_off_up_to_a_limit(void)
{
	static const int64_t want[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000};

	for (unsigned failures = 1; failures <= 7; failures++)
		CHECK_INT(schedule_backoff_ms(failures), want[failures - 1]);
	CHECK_INT(schedule_backoff_ms(UINT32_MAX), 60000);
}

static void hops_are_used_by_priority_and_left_alone_when_down(void)
{
	char first[] = "first.example", second[] = "second.example";
	const struct config_next_hop next_hops[] = {{.host = first, .port = 25, .priority = 1},
						    {.host = second, .port = 26, .priority = 2}};
	struct hops hops;

	hops_init(&hops, next_hops, 2);
	CHECK_TEXT(hops_usable(&hops, 1000, 0)->settings.host, "first.example");
	CHECK(hop_failed(hops.items[0], 1000));
	CHECK(!hop_failed(hops.items[0], 1001)); /* two lanes that fail together count once */
	CHECK_TEXT(hops_usable(&hops, 1001, 0)->settings.host, "second.example");
	CHECK(hop_failed(hops.items[1], 1500));
	CHECK(hops_usable(&hops, 2999, 0) == NULL);
	CHECK_INT(hops_next_try(&hops), 3000);
	CHECK_TEXT(hops_usable(&hops, 3000, 0)->settings.host, "first.example");
	hop_reached(hops.items[0]); /* greeted, then lost again: the back-off goes on growing */
	CHECK(hop_failed(hops.items[0], 3000));
	CHECK_INT(hops.items[0]->down_until, 7000);
	hop_answered(hops.items[0]);
	CHECK(hop_failed(hops.items[0], 8000));
	CHECK_INT(hops.items[0]->down_until, 10000);
	hops_clear(&hops);
}

static void equal_priorities_share_by_weight(void)
{
	char a[] = "a", b[] = "b", spare[] = "spare";
	const struct config_next_hop next_hops[] = {{.host = spare, .port = 25, .priority = 9, .weight = 100},
						    {.host = a, .port = 25, .priority = 1, .weight = 30},
						    {.host = b, .port = 25, .priority = 1, .weight = 10}};
	unsigned chosen_a = 0, chosen_b = 0;
	struct hops hops;

	hops_init(&hops, next_hops, 3);
	for (uint32_t i = 0; i < 400; i++) {
		const char *host = hops_usable(&hops, 0, i)->settings.host;

		chosen_a += *host == 'a';
		chosen_b += *host == 'b';
	}
	CHECK_INT(chosen_a, 300);
	CHECK_INT(chosen_b, 100);
	CHECK(hop_failed(hops.items[0], 0) && hop_failed(hops.items[1], 0));
	CHECK_TEXT(hops_usable(&hops, 1, 7)->settings.host, "spare");
	hops_clear(&hops);
}

int main(void)
{
	TEST(stuffs_dots_across_any_cut);
	TEST(stuffs_dots_octet_by_octet);
	TEST(converts_line_ends_across_any_cut);
	TEST(maildir_header_keeps_its_lines);
	TEST(only_safe_paths_are_written);
	TEST(mail_has_the_parameters_that_are_offered);
	TEST(notification_parameters_go_where_they_are_understood);
	TEST(schedules_the_next_try);
	TEST(backs_off_up_to_a_limit);
	TEST(hops_are_used_by_priority_and_left_alone_when_down);
	TEST(equal_priorities_share_by_weight);
	return test_finish();
}
