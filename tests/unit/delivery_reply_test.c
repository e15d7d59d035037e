#include <stdlib.h>
#include <string.h>

#include "appliance/relay/delivery/mx.h"
#include "appliance/relay/delivery/smtp_capabilities.h"
#include "appliance/relay/delivery/smtp_reply.h"
#include "tests/unit/test.h"

/* Each case is fed whole and octet by octet. */
struct reply_case {
	const char *name, *in;
	enum smtp_reply_progress progress;
	const char *one_line, *status;
	size_t rest; /* octets behind the reply */
};

static const struct reply_case cases[] = {
    {"one line", "250 Ok\r\n", SMTP_REPLY_COMPLETE, "250 Ok", "2.0.0", 0},
    {"code alone", "354\r\n", SMTP_REPLY_COMPLETE, "354", "3.0.0", 0},
    {"code and blank", "250 \r\n", SMTP_REPLY_COMPLETE, "250", "2.0.0", 0},
    {"bare LF", "250 Ok\n", SMTP_REPLY_COMPLETE, "250 Ok", "2.0.0", 0},
    {"enhanced status", "550 5.1.1 no such user\r\n", SMTP_REPLY_COMPLETE, "550 5.1.1 no such user", "5.1.1", 0},
    {"long status", "450 4.700.999 x\r\n", SMTP_REPLY_COMPLETE, "450 4.700.999 x", "4.700.999", 0},
    {"status alone", "451 4.7.1\r\n", SMTP_REPLY_COMPLETE, "451 4.7.1", "4.7.1", 0},
    {"status of another class", "550 4.1.1 x\r\n", SMTP_REPLY_COMPLETE, "550 4.1.1 x", "5.0.0", 0},
    {"no status but numbers", "550 5.1x\r\n", SMTP_REPLY_COMPLETE, "550 5.1x", "5.0.0", 0},
    {"status runs on", "550 5.1.1234 x\r\n", SMTP_REPLY_COMPLETE, "550 5.1.1234 x", "5.0.0", 0},
    {"several lines", "250-a\r\n250-b\r\n250 c\r\n", SMTP_REPLY_COMPLETE, "250 a b c", "2.0.0", 0},
    {"last line without text", "250-a\r\n250\r\n", SMTP_REPLY_COMPLETE, "250 a", "2.0.0", 0},
    {"what follows stays", "250 a\r\n550 b\r\n", SMTP_REPLY_COMPLETE, "250 a", "2.0.0", 7},
    {"control and 8-bit octets", "550 a\tb\x1b\xc3\xa4\r\n", SMTP_REPLY_COMPLETE, "550 a b???", "5.0.0", 0},
    {"unfinished line", "250 Ok", SMTP_REPLY_MORE, NULL, NULL, 0},
    {"unfinished reply", "250-Ok\r\n", SMTP_REPLY_MORE, NULL, NULL, 0},
    {"nothing", "", SMTP_REPLY_MORE, NULL, NULL, 0},
    {"code changes", "250-a\r\n251 b\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"no digits", "hello\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"two digits", "25 Ok\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"four digits", "2500 Ok\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"1xx", "150 Ok\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"6xx", "650 Ok\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"empty line", "\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
    {"HTTP", "HTTP/1.1 400 Bad Request\r\n", SMTP_REPLY_MALFORMED, NULL, NULL, 0},
};

static void check_reply(const struct reply_case *c, const struct smtp_reply_parser *parser, enum smtp_reply_progress progress)
{
	char line[SMTP_REPLY_TEXT_MAX_BYTES], status[SMTP_REPLY_STATUS_MAX_BYTES];

	CHECK_INT(progress, c->progress);
	if (progress != SMTP_REPLY_COMPLETE || c->progress != SMTP_REPLY_COMPLETE)
		return;
	smtp_reply_one_line(&parser->reply, line);
	smtp_reply_status(&parser->reply, status);
	CHECK_TEXT(line, c->one_line);
	CHECK_TEXT(status, c->status);
}

static void parses_whole(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct smtp_reply_parser parser = {0};
		struct bytes in = bytes_text(cases[i].in);

		test_case("%s", cases[i].name);
		check_reply(&cases[i], &parser, smtp_reply_feed(&parser, &in));
		if (cases[i].progress == SMTP_REPLY_COMPLETE)
			CHECK_INT(in.len, cases[i].rest);
		smtp_reply_parser_clear(&parser);
	}
}

static void parses_octet_by_octet(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct smtp_reply_parser parser = {0};
		enum smtp_reply_progress progress = SMTP_REPLY_MORE;
		struct bytes in = bytes_text(cases[i].in);

		test_case("%s", cases[i].name);
		for (size_t at = 0; at < in.len && progress == SMTP_REPLY_MORE; at++) {
			struct bytes octet = bytes_slice(in, at, at + 1);

			progress = smtp_reply_feed(&parser, &octet);
		}
		check_reply(&cases[i], &parser, progress);
		smtp_reply_parser_clear(&parser);
	}
}

static void parses_one_after_another(void)
{
	struct smtp_reply_parser parser = {0};
	struct bytes in = bytes_text("250-a\r\n250 b\r\n550 c\r\n354 d\r\n");
	static const int codes[] = {250, 550, 354};

	for (size_t i = 0; i < 3; i++) {
		CHECK_INT(smtp_reply_feed(&parser, &in), SMTP_REPLY_COMPLETE);
		CHECK_INT(parser.reply.code, codes[i]);
	}
	CHECK_BYTES(buf_bytes(&parser.reply.text), bytes_text("d\n"));
	CHECK_INT(smtp_reply_feed(&parser, &in), SMTP_REPLY_MORE);
	smtp_reply_parser_clear(&parser);
}

static enum smtp_reply_progress feed_lines(unsigned lines, size_t text_len)
{
	struct smtp_reply_parser parser = {0};
	struct buf in = {0};
	struct bytes view;
	enum smtp_reply_progress progress;

	for (unsigned i = 0; i < lines; i++) {
		buf_put_text(&in, i + 1 < lines ? "250-" : "250 ");
		for (size_t k = 0; k < text_len; k++)
			buf_put_byte(&in, 'x');
		buf_put_text(&in, "\r\n");
	}
	view = buf_bytes(&in);
	progress = smtp_reply_feed(&parser, &view);
	smtp_reply_parser_clear(&parser);
	buf_clear(&in);
	return progress;
}

static void holds_its_limits(void)
{
	CHECK_INT(feed_lines(1, SMTP_REPLY_LINE_MAX_BYTES - 6), SMTP_REPLY_COMPLETE);
	CHECK_INT(feed_lines(1, SMTP_REPLY_LINE_MAX_BYTES - 5), SMTP_REPLY_MALFORMED);
	CHECK_INT(feed_lines(SMTP_REPLY_LINES_MAX, 10), SMTP_REPLY_COMPLETE);
	CHECK_INT(feed_lines(SMTP_REPLY_LINES_MAX + 1, 10), SMTP_REPLY_MALFORMED);
}

static void an_endless_line_is_malformed_before_it_ends(void)
{
	struct smtp_reply_parser parser = {0};
	enum smtp_reply_progress progress = SMTP_REPLY_MORE;
	size_t fed = 0;

	while (progress == SMTP_REPLY_MORE && fed < 10 * SMTP_REPLY_LINE_MAX_BYTES) {
		struct bytes octet = bytes_text("2");

		progress = smtp_reply_feed(&parser, &octet);
		fed++;
	}
	CHECK_INT(progress, SMTP_REPLY_MALFORMED);
	CHECK_INT(fed, SMTP_REPLY_LINE_MAX_BYTES + 1);
	smtp_reply_parser_clear(&parser);
}

static void long_text_is_cut_in_one_line(void)
{
	struct smtp_reply reply = {.code = 550, .lines = 1};
	char line[SMTP_REPLY_TEXT_MAX_BYTES];

	for (int i = 0; i < 2000; i++)
		buf_put_byte(&reply.text, 'y');
	smtp_reply_one_line(&reply, line);
	CHECK_INT(bytes_text(line).len, SMTP_REPLY_TEXT_MAX_BYTES - 1);
	buf_clear(&reply.text);
}

struct capability_case {
	const char *name, *reply;
	struct smtp_capabilities want;
};

static const struct capability_case capability_cases[] = {
    {"all",
     "250-mx.example greets\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
     {.pipelining = true, .size = true, .size_max = 1000, .eight_bit = true, .smtputf8 = true, .enhanced_status = true}},
    {"none", "250 mx.example\r\n", {0}},
    {"the greeting line is no keyword", "250 PIPELINING\r\n", {0}},
    {"any case", "250-x\r\n250-pipelining\r\n250 Size\r\n", {.pipelining = true, .size = true}},
    {"SIZE 0 is no limit", "250-x\r\n250 SIZE 0\r\n", {.size = true}},
    {"unreadable SIZE", "250-x\r\n250 SIZE 12x\r\n", {.size = true}},
    {"absurd SIZE", "250-x\r\n250 SIZE 999999999999999999999999\r\n", {.size = true}},
    {"a keyword that begins alike", "250-x\r\n250-PIPELININGS\r\n250 8BITMIMEX\r\n", {0}},
};

static void reads_capabilities(void)
{
	for (size_t i = 0; i < sizeof capability_cases / sizeof capability_cases[0]; i++) {
		const struct capability_case *c = &capability_cases[i];
		struct smtp_reply_parser parser = {0};
		struct bytes in = bytes_text(c->reply);
		struct smtp_capabilities got;

		test_case("%s", c->name);
		CHECK_INT(smtp_reply_feed(&parser, &in), SMTP_REPLY_COMPLETE);
		smtp_capabilities_parse(&parser.reply, &got);
		CHECK_INT(got.pipelining, c->want.pipelining);
		CHECK_INT(got.size, c->want.size);
		CHECK_INT(got.size_max, c->want.size_max);
		CHECK_INT(got.eight_bit, c->want.eight_bit);
		CHECK_INT(got.smtputf8, c->want.smtputf8);
		CHECK_INT(got.enhanced_status, c->want.enhanced_status);
		smtp_reply_parser_clear(&parser);
	}
}

/* ---- The answer to an MX query ---- */

/* Of a.b: a CNAME to c.b (its TTL), then an MX of c.b: preference 10, host m.b. */
static int put_answer(unsigned char *out, uint32_t alias_ttl, uint32_t mx_ttl)
{
	static const unsigned char head[] = {0, 1, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, 1, 'a', 1, 'b', 0, 0, 15, 0, 1};
	static const unsigned char alias[] = {0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 0, 0, 4, 1, 'c', 0xc0, 14};
	static const unsigned char mx[] = {0xc0, 33, 0, 15, 0, 1, 0, 0, 0, 0, 0, 6, 0, 10, 1, 'm', 0xc0, 14};
	unsigned char *at = out;

	memcpy(at, head, sizeof head);
	memcpy(at += sizeof head, alias, sizeof alias);
	for (int i = 0; i < 4; i++)
		at[6 + i] = (unsigned char)(alias_ttl >> (24 - 8 * i));
	memcpy(at += sizeof alias, mx, sizeof mx);
	for (int i = 0; i < 4; i++)
		at[6 + i] = (unsigned char)(mx_ttl >> (24 - 8 * i));
	return (int)(at + sizeof mx - out);
}

static void exchangers_hold_for_their_ttl(void)
{
	static const struct {
		uint32_t alias, mx, want;
	} ttls[] = {{60, 300, 60}, {300, 60, 60},	{300, 300, 300},       {0, 300, 30},
		    {5, 5, 30},	   {86400, 7200, 3600}, {UINT32_MAX, 100, 100}};
	unsigned char octets[128];

	for (size_t i = 0; i < sizeof ttls / sizeof ttls[0]; i++) {
		struct mx_answer answer = {0};
		int len = put_answer(octets, ttls[i].alias, ttls[i].mx);

		test_case("%u and %u", ttls[i].alias, ttls[i].mx);
		if (CHECK(mx_parse(octets, len, &answer))) {
			CHECK_INT(answer.ttl_seconds, ttls[i].want);
			CHECK_TEXT(answer.hosts[0].name, "m.b");
		}
		for (int cut = 0; cut < len; cut++) {
			unsigned char *exact = mem_new((size_t)cut + 1);

			memcpy(exact, octets, (size_t)cut);
			answer = (struct mx_answer){0};
			(void)mx_parse(exact, cut, &answer);
			free(exact);
		}
	}
}

int main(void)
{
	TEST(parses_whole);
	TEST(parses_octet_by_octet);
	TEST(parses_one_after_another);
	TEST(holds_its_limits);
	TEST(an_endless_line_is_malformed_before_it_ends);
	TEST(long_text_is_cut_in_one_line);
	TEST(reads_capabilities);
	TEST(exchangers_hold_for_their_ttl);
	return test_finish();
}
