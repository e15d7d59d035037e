/* From fields (smime.md §8) and dates (RFC 5322 §3.3, §4.3). */
#include "appliance/base/clock.h"
#include "appliance/relay/mime/address.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

/* The address is NULL unless MIME_FROM_ONE. */
static const struct {
	const char *name, *header;
	enum mime_from from;
	const char *address;
} froms[] = {
    {"bare", "From: me@x.jp", MIME_FROM_ONE, "me@x.jp"},
    {"in brackets", "From: <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"name", "From: Me Myself <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"name with dots", "From: M. E. Self <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"quoted name", "From: \"Self, Me\" <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"quoted name with escapes", "From: \"a\\\"<b@y>\\\\\" <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"name that looks like an address", "From: \"ceo@corp.jp\" <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"encoded word is not decoded", "From: =?utf-8?Q?ceo=40corp=2Ejp?= <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"raw UTF-8 name", "From: \xe5\xb1\xb1\xe7\x94\xb0 <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"raw octets that are no UTF-8 in the name", "From: \xe9\xff <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"name in square brackets", "From: [Support] <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"comments around", "From: (a (b) \\)) me@x.jp (c)", MIME_FROM_ONE, "me@x.jp"},
    {"comments around brackets", "From: Me (a) <me@x.jp> (c)", MIME_FROM_ONE, "me@x.jp"},
    {"blanks inside brackets", "From: Me < me@x.jp >", MIME_FROM_ONE, "me@x.jp"},
    {"folded", "From: Me\r\n <me@x.jp>", MIME_FROM_ONE, "me@x.jp"},
    {"folded at once", "From:\r\n\tme@x.jp", MIME_FROM_ONE, "me@x.jp"},
    {"case of the name", "fROM: me@X.jp", MIME_FROM_ONE, "me@X.jp"},
    {"blank before the colon", "From : me@x.jp", MIME_FROM_ONE, "me@x.jp"},
    {"quotes that are not needed", "From: \"me\"@x.jp", MIME_FROM_ONE, "me@x.jp"},
    {"quotes and an escape that are not needed", "From: \"m\\e\"@x.jp", MIME_FROM_ONE, "me@x.jp"},
    {"quotes that are needed", "From: \"a b\"@x.jp", MIME_FROM_ONE, "\"a b\"@x.jp"},
    {"empty quotes", "From: \"\"@x.jp", MIME_FROM_ONE, "\"\"@x.jp"},
    {"carrier address with dots", "From: a..b.@docomo.ne.jp", MIME_FROM_ONE, "a..b.@docomo.ne.jp"},
    {"plus and slash", "From: a+b/c=d@x.jp", MIME_FROM_ONE, "a+b/c=d@x.jp"},
    {"domain literal", "From: me@[192.0.2.1]", MIME_FROM_ONE, "me@[192.0.2.1]"},
    {"IPv6 domain literal", "From: me@[IPv6:2001:db8::1]", MIME_FROM_ONE, "me@[IPv6:2001:db8::1]"},
    {"UTF-8 domain", "From: me@\xe6\x97\xa5\xe6\x9c\xac.jp", MIME_FROM_ONE, "me@\xe6\x97\xa5\xe6\x9c\xac.jp"},
    {"other From-like fields", "X-From: a@b\r\nResent-From: c@d\r\nFrom: me@x.jp\r\nApparently-From: e@f", MIME_FROM_ONE,
     "me@x.jp"},
    {"Sender differs", "Sender: a@b\r\nFrom: me@x.jp", MIME_FROM_ONE, "me@x.jp"},
    {"folded text that looks like From", "DKIM-Signature: h=Date:\r\n From:To\r\nFrom: me@x.jp", MIME_FROM_ONE, "me@x.jp"},

    {"no field", "To: a@b", MIME_FROM_NONE, NULL},
    {"empty", "From:", MIME_FROM_NONE, NULL},
    {"blanks", "From: \r\n \t", MIME_FROM_NONE, NULL},
    {"comment only", "From: (nobody)", MIME_FROM_NONE, NULL},

    {"two fields", "From: me@x.jp\r\nFrom: me@x.jp", MIME_FROM_SEVERAL_FIELDS, NULL},
    {"two fields, one with a blank", "From : me@x.jp\r\nTo: a@b\r\nFROM: you@x.jp", MIME_FROM_SEVERAL_FIELDS, NULL},

    {"two mailboxes", "From: me@x.jp, you@x.jp", MIME_FROM_SEVERAL_MAILBOXES, NULL},
    {"three mailboxes", "From: A <me@x.jp>, \"B, C\" <you@x.jp>,\r\n they@x.jp", MIME_FROM_SEVERAL_MAILBOXES, NULL},

    {"group", "From: Staff: me@x.jp, you@x.jp;", MIME_FROM_GROUP, NULL},
    {"group with brackets", "From: Staff: <me@x.jp>;", MIME_FROM_GROUP, NULL},
    {"empty group", "From: undisclosed:;", MIME_FROM_GROUP, NULL},

    {"comment inside the address", "From: me(@evil)@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"comment inside the domain", "From: me@x(.evil).jp", MIME_FROM_UNUSABLE, NULL},
    {"comment inside brackets", "From: <(c)me@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"comment that does not end", "From: me@x.jp (c", MIME_FROM_UNUSABLE, NULL},
    {"comment that does not end, another address in it", "From: me@x.jp (c, <you@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"quotes that do not end", "From: \"me <me@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"route", "From: <@a,@b:me@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"route of one", "From: <@a:me@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"blanks in the local part", "From: me . you @x.jp", MIME_FROM_UNUSABLE, NULL},
    {"blank before the at sign", "From: me @x.jp", MIME_FROM_UNUSABLE, NULL},
    {"folded inside the address", "From: me@\r\n x.jp", MIME_FROM_UNUSABLE, NULL},
    {"two bracketed", "From: <a@x><b@y>", MIME_FROM_UNUSABLE, NULL},
    {"text behind", "From: <a@x> b", MIME_FROM_UNUSABLE, NULL},
    {"no closing bracket", "From: <a@x", MIME_FROM_UNUSABLE, NULL},
    {"no opening bracket", "From: a@x>", MIME_FROM_UNUSABLE, NULL},
    {"nested brackets", "From: <<a@x>>", MIME_FROM_UNUSABLE, NULL},
    {"unquoted address for a name", "From: ceo@corp.jp <me@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"unquoted comma in the name", "From: Self, Me <me@x.jp>", MIME_FROM_UNUSABLE, NULL},
    {"empty brackets", "From: Me <>", MIME_FROM_UNUSABLE, NULL},
    {"no domain", "From: me", MIME_FROM_UNUSABLE, NULL},
    {"no local part", "From: @x.jp", MIME_FROM_UNUSABLE, NULL},
    {"two at signs", "From: a@b@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"quoted and plain local part", "From: \"a\".b@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"domain with two dots", "From: me@x..jp", MIME_FROM_UNUSABLE, NULL},
    {"domain that ends with a dot", "From: me@x.jp.", MIME_FROM_UNUSABLE, NULL},
    {"domain that begins with a dot", "From: me@.x.jp", MIME_FROM_UNUSABLE, NULL},
    {"trailing comma", "From: me@x.jp,", MIME_FROM_UNUSABLE, NULL},
    {"trailing semicolon", "From: me@x.jp;", MIME_FROM_UNUSABLE, NULL},
    {"backslash", "From: m\\e@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"tab in a quoted local part", "From: \"a\tb\"@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"an address inside a domain literal", "From: me@[a@x.jp,b]", MIME_FROM_UNUSABLE, NULL},
    {"octets that are no UTF-8 in the address", "From: m\xe9@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"overlong UTF-8 in the address", "From: m\xc0\xafx@x.jp", MIME_FROM_UNUSABLE, NULL},
    {"surrogate in the address", "From: m\xed\xa0\x80@x.jp", MIME_FROM_UNUSABLE, NULL},

    {"control octet", "From: me\x01@x.jp", MIME_FROM_CONTROL, NULL},
    {"escape sequence in the name", "From: \x1b$B;3ED\x1b(B <me@x.jp>", MIME_FROM_CONTROL, NULL},
    {"DEL", "From: me\x7f@x.jp", MIME_FROM_CONTROL, NULL},
    {"bare CR", "From: me@x.jp\rSender: a@b", MIME_FROM_CONTROL, NULL},
};

static void from_fields_are_judged(void)
{
	for (size_t i = 0; i < sizeof froms / sizeof *froms; i++) {
		char *message = mem_format("%s\r\n\r\nx\r\n", froms[i].header), *address = NULL;
		struct mime_scan *scan = scan_text(message);

		test_case("%s", froms[i].name);
		CHECK_TEXT(mime_from_phrase(mime_header_from(mime_scan_header(scan), &address)), mime_from_phrase(froms[i].from));
		CHECK_INT(address != NULL, froms[i].address != NULL);
		if (address != NULL && froms[i].address != NULL)
			CHECK_TEXT(address, froms[i].address);
		free(address);
		free(message);
		mime_scan_free(scan);
	}
}

static void nul_is_a_control_octet(void)
{
	static const char message[] = "From: me@x.jp\0.evil\r\n\r\n";
	struct mime_scan *scan = scan_in_pieces(bytes_of(message, sizeof message - 1), FEED_WHOLE);
	char *address = NULL;

	CHECK_INT(mime_header_from(mime_scan_header(scan), &address), MIME_FROM_CONTROL);
	CHECK(address == NULL);
	mime_scan_free(scan);
}

static void length_is_bounded(void)
{
	static const struct {
		size_t name_octets;
		enum mime_from from;
	} cases[] = {{MIME_FROM_FIELD_MAX_BYTES - 9, MIME_FROM_ONE}, {MIME_FROM_FIELD_MAX_BYTES - 8, MIME_FROM_UNUSABLE}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf message = {0};
		struct mime_scan *scan;
		char *address = NULL;

		buf_put_text(&message, "From: ");
		for (size_t k = 0; k < cases[i].name_octets; k++)
			buf_put_byte(&message, 'n');
		buf_put_text(&message, " <a@x.jp>\r\n\r\n");
		scan = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
		CHECK_INT(mime_header_from(mime_scan_header(scan), &address), cases[i].from);
		free(address);
		mime_scan_free(scan);
		buf_clear(&message);
	}
}

/* A minute, if each of them were looked for its end. */
static void many_open_comments_take_no_time(void)
{
	int64_t begun = clock_monotonic_ms();
	struct buf message = {0};
	struct mime_scan *scan;
	char *address = NULL;

	buf_put_text(&message, "From: ");
	for (size_t i = 0; i < MIME_FROM_FIELD_MAX_BYTES - 16; i++)
		buf_put_byte(&message, '(');
	buf_put_text(&message, " a@x.jp\r\n\r\n");
	scan = scan_in_pieces(buf_bytes(&message), FEED_WHOLE);
	for (int i = 0; i < 1000; i++)
		CHECK_INT(mime_header_from(mime_scan_header(scan), &address), MIME_FROM_UNUSABLE);
	CHECK(clock_monotonic_ms() - begun < 10000);
	mime_scan_free(scan);
	buf_clear(&message);
}

static void every_outcome_has_a_phrase(void)
{
	for (int from = MIME_FROM_ONE; from <= MIME_FROM_CONTROL; from++) {
		for (int other = MIME_FROM_ONE; other < from; other++)
			CHECK(strcmp(mime_from_phrase((enum mime_from)from), mime_from_phrase((enum mime_from)other)) != 0);
	}
}

/* ---- Dates ---- */

static const struct {
	const char *text;
	bool good;
	int64_t seconds;
} dates[] = {
    {"Thu, 1 Jan 1970 00:00:00 +0000", true, 0},
    {"Tue, 24 Nov 2026 13:06:07 +0900", true, 1795493167},
    {"24 Nov 2026 04:06:07 +0000", true, 1795493167},
    {"Tue, 24 Nov 2026 04:06 -0000", true, 1795493160},
    {"tue, 24 nov 2026 04:06:07 GMT", true, 1795493167},
    {"Tue,24 Nov 2026 04:06:07 UT", true, 1795493167},
    {"Mon, 23 Nov 2026 23:06:07 EST", true, 1795493167},
    {"Mon, 23 Nov 2026 20:06:07 PST", true, 1795493167},
    {"Mon, 23 Nov 2026 21:06:07 pdt", true, 1795493167},
    {"Tue, 24 Nov 2026 04:06:07 Z", true, 1795493167},
    {"Tue, 24 Nov 2026 04:06:07 JST", true, 1795493167},
    {"Tue, 24 Nov 26 04:06:07 +0000", true, 1795493167},
    {"Tue, 24 Nov 2026 04:06:07 +0000 (JST (or so))", true, 1795493167},
    {"Tue (a), (b) 24 Nov\r\n 2026 (c) 04 : 06 : 07 +0000", true, 1795493167},
    {"Tue, 24 Nov 2026 13:36:07 +0930", true, 1795493167},
    {"Mon, 23 Nov 2026 22:36:07 -0530", true, 1795493167},
    {"Fri, 21 Nov 97 09:55:06 -0600", true, 880127706},
    {"Fri, 21 Nov 097 09:55:06 -0600", true, 880127706},
    {"21 Nov 50 09:55:06 +0000", true, -603122694},
    {"21 Nov 49 09:55:06 +0000", true, 2521101306},
    {"Thu, 29 Feb 2024 12:00:00 +0000", true, 1709208000},
    {"Tue, 29 Feb 2000 12:00:00 +0000", true, 951825600},
    {"Sat, 31 Dec 2016 23:59:60 +0000", true, 1483228800},
    {"Fri, 31 Dec 1965 00:00:00 +0000", true, -126316800},

    {"", false, 0},
    {"now", false, 0},
    {"Tue, 24 Nov 2026 04:06:07", false, 0},
    {"Tue, 24 Nov 2026", false, 0},
    {"Tue, 24 November 2026 04:06:07 +0000", false, 0},
    {"Tue, 0 Nov 2026 04:06:07 +0000", false, 0},
    {"Tue, 31 Nov 2026 04:06:07 +0000", false, 0},
    {"Sun, 29 Feb 2026 04:06:07 +0000", false, 0},
    {"Thu, 29 Feb 2100 04:06:07 +0000", false, 0},
    {"Tue, 24 Nov 2026 24:06:07 +0000", false, 0},
    {"Tue, 24 Nov 2026 04:60:07 +0000", false, 0},
    {"Tue, 24 Nov 2026 04:06:61 +0000", false, 0},
    {"Tue, 24 Nov 2026 04:06:07 +09:00", false, 0},
    {"Tue, 24 Nov 2026 04:06:07 +900", false, 0},
    {"Tue, 24 Nov 2026 04:06:07 +0060", false, 0},
    {"Tue, 24 Nov 2026 04:06:07 + 0900", false, 0},
    {"Tue, 24 Nov 2026 04:06:07 +0900 JST", false, 0},
    {"Tue, 24 Nov 12026 04:06:07 +0000", false, 0},
    {"Tue, 24 Nov 1899 04:06:07 +0000", false, 0},
    {"2026-11-24T04:06:07Z", false, 0},
    {"Tue, 124 Nov 2026 04:06:07 +0000", false, 0},
    {"Tue, 24 Nov 99999999999999999999 04:06:07 +0000", false, 0},
};

static void dates_are_read(void)
{
	for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
		char *message = mem_format("Date: %s\r\n\r\n", dates[i].text);
		struct mime_scan *scan = scan_text(message);
		int64_t seconds = 42;

		test_case("%s", dates[i].text);
		CHECK_INT(mime_header_date(mime_scan_header(scan), &seconds), dates[i].good);
		CHECK_INT(seconds, dates[i].good ? dates[i].seconds : 42);
		free(message);
		mime_scan_free(scan);
	}
}

static void several_dates_are_none(void)
{
	struct mime_scan *scan = scan_text("Date: 1 Jan 1970 00:00:00 +0000\r\nDate: 1 Jan 1970 00:00:00 +0000\r\n\r\n");
	int64_t seconds;

	CHECK(!mime_header_date(mime_scan_header(scan), &seconds));
	mime_scan_free(scan);
}

int main(void)
{
	TEST(from_fields_are_judged);
	TEST(nul_is_a_control_octet);
	TEST(length_is_bounded);
	TEST(many_open_comments_take_no_time);
	TEST(every_outcome_has_a_phrase);
	TEST(dates_are_read);
	TEST(several_dates_are_none);
	return test_finish();
}
