/* Each case is fed whole, octet by octet, and cut in two at every place: octets, fault and end must be the same. */
#include "appliance/relay/smtp/smtp_body.h"

#include <string.h>

#include "tests/unit/test.h"

#define IN(literal)                                                                                                              \
	{                                                                                                                        \
		(const uint8_t *)(literal), sizeof(literal) - 1                                                                  \
	}

struct data_case {
	const char *name;
	struct bytes in;
	struct bytes out; /* of no interest with a fault */
	enum smtp_body_fault fault;
	bool end;
	size_t left; /* octets behind the end */
};

static const struct data_case data_cases[] = {
    {"a line", IN("abc\r\n.\r\n"), IN("abc\r\n"), SMTP_BODY_GOOD, true, 0},
    {"nothing", IN(".\r\n"), IN(""), SMTP_BODY_GOOD, true, 0},
    {"an empty line", IN("\r\n.\r\n"), IN("\r\n"), SMTP_BODY_GOOD, true, 0},
    {"what follows stays", IN("a\r\n.\r\nQUIT\r\n"), IN("a\r\n"), SMTP_BODY_GOOD, true, 6},
    {"a stuffed dot", IN("..\r\n.\r\n"), IN(".\r\n"), SMTP_BODY_GOOD, true, 0},
    {"stuffed text", IN("a\r\n..b\r\n...\r\n.\r\n"), IN("a\r\n.b\r\n..\r\n"), SMTP_BODY_GOOD, true, 0},
    {"a lone dot before text goes", IN(".b\r\n.\r\n"), IN("b\r\n"), SMTP_BODY_GOOD, true, 0},
    {"dots inside a line stay", IN("a.b.\r\n.\r\n"), IN("a.b.\r\n"), SMTP_BODY_GOOD, true, 0},
    {"NUL and 8-bit octets pass", IN("\0\x80\xff\r\n.\r\n"), IN("\0\x80\xff\r\n"), SMTP_BODY_GOOD, true, 0},
    {"not over", IN("a\r\n."), IN("a\r\n"), SMTP_BODY_GOOD, false, 0},
    {"not over behind CR", IN("a\r\n.\r"), IN("a\r\n"), SMTP_BODY_GOOD, false, 0},
    {"bare LF", IN("a\nb\r\n.\r\n"), IN(""), SMTP_BODY_BARE_LF, true, 0},
    {"bare CR", IN("a\rb\r\n.\r\n"), IN(""), SMTP_BODY_BARE_CR, true, 0},
    {"bare LF at the start", IN("\n.\r\n\r\n.\r\n"), IN(""), SMTP_BODY_BARE_LF, true, 0},
    {"CR CR LF", IN("a\r\r\n.\r\n"), IN(""), SMTP_BODY_BARE_CR, true, 0},
    {"the first fault counts", IN("a\rb\nc\r\n.\r\n"), IN(""), SMTP_BODY_BARE_CR, true, 0},
    {"bare LF behind a lone dot", IN("a\r\n.\nQUIT\r\n.\r\n"), IN(""), SMTP_BODY_BARE_LF, true, 0},
};

/* The ends that one server takes for one and another does not (SMTP smuggling, 2023): none of them is one here. */
static const struct data_case smuggling_cases[] = {
    {"LF . LF", IN("a\n.\nMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"LF . CRLF", IN("a\n.\r\nMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"LF . CR", IN("a\n.\rMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"CR . CR", IN("a\r.\rMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CR . LF", IN("a\r.\nMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CR . CRLF", IN("a\r.\r\nMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CRLF . LF", IN("a\r\n.\nMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"CRLF . CR", IN("a\r\n.\rMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CRLF . CR CRLF", IN("a\r\n.\r\r\nMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CRLF . LF CR", IN("a\r\n.\n\rMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"LF LF . LF LF", IN("a\n\n.\n\nMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"LF CR . LF CR", IN("a\n\r.\n\rMAIL"), IN(""), SMTP_BODY_BARE_LF, false, 0},
    {"CR CR . CR CR", IN("a\r\r.\r\rMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CR LF CR . CRLF", IN("a\r\n\r.\r\nMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CRLF NUL . CRLF", IN("a\r\n\0.\r\nMAIL"), IN("a\r\n\0.\r\nMAIL"), SMTP_BODY_GOOD, false, 0},
    {"CRLF . NUL CRLF", IN("a\r\n.\0\r\nMAIL"), IN("a\r\n\0\r\nMAIL"), SMTP_BODY_GOOD, false, 0},
    {"CRLF . blank CRLF", IN("a\r\n. \r\nMAIL"), IN("a\r\n \r\nMAIL"), SMTP_BODY_GOOD, false, 0},
    {"CRLF blank . CRLF", IN("a\r\n .\r\nMAIL"), IN("a\r\n .\r\nMAIL"), SMTP_BODY_GOOD, false, 0},
    {"CR NUL LF . CRLF", IN("a\r\0\n.\r\nMAIL"), IN(""), SMTP_BODY_BARE_CR, false, 0},
    {"CRLF . VT CRLF", IN("a\r\n.\v\r\nMAIL"), IN("a\r\n\v\r\nMAIL"), SMTP_BODY_GOOD, false, 0},
    {"NEL . NEL", IN("a\xc2\x85.\xc2\x85MAIL"), IN("a\xc2\x85.\xc2\x85MAIL"), SMTP_BODY_GOOD, false, 0},
};

/* Returns the octets that were not used. */
static size_t feed(struct smtp_body *body, struct bytes in, struct buf *out)
{
	while (in.len > 0 && body->at != SMTP_BODY_END) {
		struct bytes octets;
		size_t used = smtp_body_feed(body, in, &octets);

		if (!CHECK(used >= 1 && used <= in.len))
			break;
		buf_put_bytes(out, octets);
		in = bytes_slice(in, used, in.len);
	}
	return in.len;
}

static void check(const struct data_case *c, size_t first, size_t size)
{
	struct smtp_body body = {.dots = true};
	struct buf out = {0};
	size_t left = feed(&body, bytes_slice(c->in, 0, first), &out);

	for (size_t at = first; at < c->in.len; at += size)
		left += feed(&body, bytes_slice(c->in, at, at + size), &out);
	CHECK_INT(body.fault, c->fault);
	CHECK_INT(body.at == SMTP_BODY_END, c->end);
	CHECK_INT(left, c->left);
	if (c->fault == SMTP_BODY_GOOD)
		CHECK_BYTES(buf_bytes(&out), c->out);
	buf_clear(&out);
}

static void check_cases(const struct data_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		test_case("%s", cases[i].name);
		check(&cases[i], 0, 1);
		for (size_t first = 0; first <= cases[i].in.len; first++)
			check(&cases[i], first, cases[i].in.len);
	}
}

static void undoes_dots_and_ends_at_crlf_dot_crlf(void)
{
	check_cases(data_cases, sizeof data_cases / sizeof data_cases[0]);
}

static void ends_at_nothing_else(void)
{
	check_cases(smuggling_cases, sizeof smuggling_cases / sizeof smuggling_cases[0]);
}

static const struct {
	const char *name;
	struct bytes in;
	enum smtp_body_fault fault;
	bool whole; /* ends with CRLF */
} chunk_cases[] = {
    {"nothing", IN(""), SMTP_BODY_GOOD, true},
    {"lines", IN("a\r\n.\r\n..b\r\n"), SMTP_BODY_GOOD, true},
    {"a last line without end", IN("a\r\nb"), SMTP_BODY_GOOD, false},
    {"a CR at the end", IN("a\r"), SMTP_BODY_BARE_CR, false},
    {"bare LF", IN("a\n"), SMTP_BODY_BARE_LF, false},
    {"bare CR", IN("a\rb\r\n"), SMTP_BODY_BARE_CR, true},
};

static void takes_chunks_as_they_are(void)
{
	for (size_t i = 0; i < sizeof chunk_cases / sizeof chunk_cases[0]; i++) {
		struct bytes in = chunk_cases[i].in;

		test_case("%s", chunk_cases[i].name);
		for (size_t first = 0; first <= in.len; first++) {
			struct smtp_body body = {0};
			struct buf out = {0};
			bool whole;

			feed(&body, bytes_slice(in, 0, first), &out);
			feed(&body, bytes_slice(in, first, in.len), &out);
			whole = smtp_body_finish(&body);
			CHECK_INT(body.fault, chunk_cases[i].fault);
			CHECK_INT(whole, chunk_cases[i].whole);
			if (body.fault == SMTP_BODY_GOOD)
				CHECK_BYTES(buf_bytes(&out), in);
			buf_clear(&out);
		}
	}
}

/* A view into the input as long as it can be: nothing is copied, and a message is not cut into lines. */
static void gives_long_views(void)
{
	struct smtp_body body = {.dots = true};
	struct bytes in = bytes_text("one\r\ntwo\r\nthree\r\n"), out;

	CHECK_INT(smtp_body_feed(&body, in, &out), in.len);
	CHECK(out.data == in.data);
	CHECK_INT(out.len, in.len);
}

/* A flood of CR, or of LF, must not cost more than other octets. */
static void stays_linear(void)
{
	static uint8_t flood[1 << 22];

	for (int i = 0; i < 3; i++) {
		struct smtp_body body = {.dots = true};
		struct bytes out;

		memset(flood, "\r\n."[i], sizeof flood);
		CHECK_INT(smtp_body_feed(&body, bytes_of(flood + (i == 2), sizeof flood - 1), &out) > 0, true);
		CHECK(body.at != SMTP_BODY_END);
	}
}

static const struct {
	const char *name;
	struct bytes in, out;
	bool end;
} normal_cases[] = {
    {"nothing to do", IN("a\r\n..b\r\n.\r\n"), IN("a\r\n.b\r\n"), true},
    {"bare LF", IN("a\nb\r\n.\r\n"), IN("a\r\nb\r\n"), true},
    {"bare CR", IN("a\rb\r\n.\r\n"), IN("a b\r\n"), true},
    {"CR CR LF does not end a header", IN("a: b\r\r\nc: d\r\n.\r\n"), IN("a: b \r\nc: d\r\n"), true},
    {"LF . LF", IN("a\n.\nMAIL"), IN("a\r\n.\r\nMAIL"), false},
    {"LF . CRLF", IN("a\n.\r\nMAIL"), IN("a\r\n.\r\nMAIL"), false},
    {"CRLF . LF", IN("a\r\n.\nMAIL"), IN("a\r\n\r\nMAIL"), false},
    {"CRLF . CR", IN("a\r\n.\rMAIL"), IN("a\r\n MAIL"), false},
    {"CR . CRLF", IN("a\r.\r\nMAIL"), IN("a .\r\nMAIL"), false},
    {"LF CRLF . CRLF", IN("a\n\r\n.\r\nMAIL"), IN("a\r\n\r\n"), true},
    {"a stuffed dot behind LF", IN("a\n..b\n.c\r\n.\r\n"), IN("a\r\n.b\r\n.c\r\n"), true},
};

static void normalises_line_ends(void)
{
	for (size_t i = 0; i < sizeof normal_cases / sizeof normal_cases[0]; i++) {
		for (size_t size = 1; size <= normal_cases[i].in.len; size++) {
			struct smtp_body body = {.dots = true, .normalise = true};
			struct buf out = {0};

			test_case("%s, %zu at a time", normal_cases[i].name, size);
			for (size_t at = 0; at < normal_cases[i].in.len && body.at != SMTP_BODY_END; at += size)
				smtp_body_normalise(&body, bytes_slice(normal_cases[i].in, at, at + size), &out);
			CHECK_BYTES(buf_bytes(&out), normal_cases[i].out);
			CHECK_INT(body.at == SMTP_BODY_END, normal_cases[i].end);
			CHECK_INT(body.fault, SMTP_BODY_GOOD);
			buf_clear(&out);
		}
	}
}

int main(void)
{
	TEST(undoes_dots_and_ends_at_crlf_dot_crlf);
	TEST(ends_at_nothing_else);
	TEST(takes_chunks_as_they_are);
	TEST(gives_long_views);
	TEST(stays_linear);
	TEST(normalises_line_ends);
	return test_finish();
}
