/* The bounce composer: its fields, its bounds, and what Python's mail library makes of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/delivery/dsn.h"
#include "appliance/relay/queue/queue.h"
#include "tests/unit/test.h"

static const char original[] = "From: a@example.com\r\nSubject: one\r\n\r\nthe body\r\n";

static struct dsn sample(const struct dsn_recipient *recipients, size_t count)
{
	return (struct dsn){.host_name = "mx1.example.co.jp",
			    .id = 0xabc,
			    .message_id = 0x123,
			    .sender = "a@example.com",
			    .references = "<m@example.com>",
			    .received = 1790000000,
			    .now = 1790000100,
			    .recipients = recipients,
			    .n_recipients = count,
			    .returned = bytes_text(original)};
}

static const struct dsn_recipient refused = {.address = "b@example.net",
					     .original = "rfc822;b+2Bx@example.net",
					     .status = "5.1.1",
					     .reply = "550 5.1.1 no such user",
					     .hop = "mx.example.net:25"};
static const struct dsn_recipient expired = {
    .address = "c@example.net", .status = "4.4.7", .reply = "delivery time expired; the last attempt said: nothing"};

static void names_recipients_and_reasons(void)
{
	const struct dsn_recipient recipients[] = {refused, expired};
	struct dsn dsn = sample(recipients, 2);
	struct buf out = {0};
	bool eight_bit;
	const char *text;

	dsn.envelope_id = "id+3D7";
	dsn_compose(&out, &dsn, &eight_bit);
	text = buf_text(&out);
	CHECK(!eight_bit);
	CHECK_CONTAINS(text, "From: Mail Delivery System <MAILER-DAEMON@mx1.example.co.jp>\r\nTo: <a@example.com>\r\n");
	CHECK_CONTAINS(text, "Auto-Submitted: auto-replied\r\n");
	CHECK_CONTAINS(text, "References: <m@example.com>\r\n");
	CHECK_CONTAINS(text, "Reporting-MTA: dns; mx1.example.co.jp\r\n");
	CHECK_CONTAINS(text, "Original-Envelope-Id: id=7\r\n");
	CHECK_CONTAINS(text, "\r\n\r\nOriginal-Recipient: rfc822; b+x@example.net\r\nFinal-Recipient: rfc822; b@example.net\r\n"
			     "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.example.net\r\n"
			     "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n");
	CHECK_CONTAINS(
	    text, "\r\n\r\nFinal-Recipient: rfc822; c@example.net\r\nAction: failed\r\nStatus: 4.4.7\r\nLast-Attempt-Date: ");
	CHECK_CONTAINS(text, "<b@example.net>:\r\n    mx.example.net:25 said:\r\n    550 5.1.1 no such user\r\n");
	buf_clear(&out);
}

static void returns_the_header_or_all(void)
{
	struct dsn dsn = sample(&refused, 1);
	struct buf out = {0};
	bool eight_bit;

	dsn_compose(&out, &dsn, &eight_bit);
	CHECK_CONTAINS(buf_text(&out),
		       "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\nFrom: a@example.com\r\n");
	CHECK(strstr(buf_text(&out), "the body") == NULL);
	buf_reset(&out);
	dsn.whole = true;
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK_CONTAINS(buf_text(&out), "Content-Type: message/rfc822\r\n");
	CHECK_CONTAINS(buf_text(&out), "the body\r\n\r\n------=_inkan_bounce_abc_0--\r\n");
	buf_reset(&out);
	dsn.returned = (struct bytes){0};
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK(strstr(buf_text(&out), "message/rfc822") == NULL);
	buf_clear(&out);
}

static void a_cut_header_ends_with_a_whole_line(void)
{
	struct dsn dsn = sample(&refused, 1);
	struct buf out = {0};
	bool eight_bit;

	dsn.returned = bytes_text("From: a@example.com\r\nSubject: on");
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK_CONTAINS(buf_text(&out), "\r\n\r\nFrom: a@example.com\r\n\r\n------=_inkan");
	buf_clear(&out);
}

static void foreign_text_cannot_add_lines_or_8bit(void)
{
	const struct dsn_recipient recipient = {.address = "\xe5\x8d\xb0\xff+=@example.net",
						.original = "utf-8;x\r\ny",
						.status = "5.1.1",
						.reply = "550 a\r\nb: \xc3\xa4"};
	struct dsn dsn = sample(&recipient, 1);
	struct buf out = {0};
	bool eight_bit;

	dsn.references = "<\xc3\xa4@example.com>";
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK(!eight_bit);
	CHECK_CONTAINS(buf_text(&out), "Final-Recipient: utf-8; \\x{5370}?\\x{2B}\\x{3D}@example.net\r\n");
	CHECK_CONTAINS(buf_text(&out), "Original-Recipient: utf-8; x??y\r\n");
	CHECK_CONTAINS(buf_text(&out), "550 a??b: ??\r\n");
	CHECK(strstr(buf_text(&out), "References") == NULL);
	for (size_t i = 0; i < out.len; i++)
		CHECK(out.data[i] < 0x80);
	buf_clear(&out);
}

static void returned_8bit_text_is_declared(void)
{
	struct dsn dsn = sample(&refused, 1);
	struct buf out = {0};
	bool eight_bit;

	dsn.returned = bytes_text("Subject: \xe5\x8d\xb0\r\n\r\nx\r\n");
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK(eight_bit);
	CHECK_CONTAINS(buf_text(&out), "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: 8bit\r\n");
	buf_clear(&out);
}

static void the_boundary_is_not_in_what_it_bounds(void)
{
	struct dsn dsn = sample(&refused, 1);
	struct buf out = {0};
	bool eight_bit;

	dsn.returned = bytes_text("Subject: ----=_inkan_bounce_abc_0\r\n\r\n");
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK_CONTAINS(buf_text(&out), "boundary=\"----=_inkan_bounce_abc_1\"");
	buf_clear(&out);
}

struct notify_case {
	const char *name, *sender;
	uint32_t notify;
	bool wanted;
	enum dsn_action action;
};

static const struct notify_case notify_cases[] = {
    {"default", "a@example.com", 0, true, DSN_FAILED},
    {"failure", "a@example.com", QUEUE_NOTIFY_FAILURE, true, DSN_FAILED},
    {"success and failure", "a@example.com", QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE, true, DSN_FAILED},
    {"success alone", "a@example.com", QUEUE_NOTIFY_SUCCESS, false, DSN_FAILED},
    {"delay alone", "a@example.com", QUEUE_NOTIFY_DELAY, false, DSN_FAILED},
    {"never", "a@example.com", QUEUE_NOTIFY_NEVER, false, DSN_FAILED},
    {"null sender", "", 0, false, DSN_FAILED},
    {"null sender that asks", "", QUEUE_NOTIFY_FAILURE, false, DSN_FAILED},
    {"success asked for", "a@example.com", QUEUE_NOTIFY_SUCCESS, true, DSN_RELAYED},
    {"success not asked for", "a@example.com", 0, false, DSN_DELIVERED},
    {"delay by default", "a@example.com", 0, true, DSN_DELAYED},
    {"delay asked for", "a@example.com", QUEUE_NOTIFY_DELAY | QUEUE_NOTIFY_FAILURE, true, DSN_DELAYED},
    {"delay not asked for", "a@example.com", QUEUE_NOTIFY_FAILURE, false, DSN_DELAYED},
    {"delay, told already", "a@example.com", QUEUE_NOTIFY_WARNED, true, DSN_FAILED},
    {"success to the null sender", "", QUEUE_NOTIFY_SUCCESS, false, DSN_RELAYED},
};

static void honours_notify_and_the_null_sender(void)
{
	for (size_t i = 0; i < sizeof notify_cases / sizeof notify_cases[0]; i++) {
		test_case("%s", notify_cases[i].name);
		CHECK_INT(dsn_wanted(notify_cases[i].sender, notify_cases[i].notify, notify_cases[i].action),
			  notify_cases[i].wanted);
	}
}

static const char python_reader[] =
    "import email.policy, sys\n"
    "m = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.default)\n"
    "assert not m.defects, m.defects\n"
    "assert m.get_content_type() == 'multipart/report', m.get_content_type()\n"
    "assert m.get_param('report-type') == 'delivery-status'\n"
    "parts = list(m.iter_parts())\n"
    "assert [p.get_content_type() for p in parts] == ['text/plain', 'message/delivery-status', 'message/rfc822'], parts\n"
    "groups = parts[1].get_payload()\n"
    "assert len(groups) == 3, groups\n"
    "assert groups[0]['Reporting-MTA'] == 'dns; mx1.example.co.jp'\n"
    "assert groups[1]['Status'] == '5.1.1' and groups[1]['Action'] == 'failed'\n"
    "assert groups[2]['Final-Recipient'] == 'rfc822; c@example.net'\n"
    "assert parts[2].get_payload(0)['Subject'] == 'one'\n"
    "assert not any(p.defects for p in m.walk())\n";

static void python_reads_it_back(void)
{
	const struct dsn_recipient recipients[] = {refused, expired};
	struct dsn dsn = sample(recipients, 2);
	struct buf out = {0};
	bool eight_bit;
	char *mail = mem_format("%s/bounce.eml", test_directory()), *script = mem_format("%s.py", mail);
	char *command = mem_format("/usr/bin/python3 %s %s", script, mail);

	dsn.whole = true;
	dsn_compose(&out, &dsn, &eight_bit);
	CHECK(test_write_file(mail, buf_bytes(&out)));
	CHECK(test_write_file(script, bytes_text(python_reader)));
	CHECK_INT(system(command), 0);
	free(command);
	free(script);
	free(mail);
	buf_clear(&out);
}

int main(void)
{
	TEST(names_recipients_and_reasons);
	TEST(returns_the_header_or_all);
	TEST(a_cut_header_ends_with_a_whole_line);
	TEST(foreign_text_cannot_add_lines_or_8bit);
	TEST(returned_8bit_text_is_declared);
	TEST(the_boundary_is_not_in_what_it_bounds);
	TEST(honours_notify_and_the_null_sender);
	TEST(python_reads_it_back);
	return test_finish();
}
