/* Each case is fed whole, octet by octet, and cut in two at every place: the events must be the same. */
#include "appliance/relay/smtp/smtp_line.h"

#include <string.h>

#include "tests/unit/test.h"

#define MAX_BYTES 2048
#define IN(literal)                                                                                                              \
	{                                                                                                                        \
		(const uint8_t *)(literal), sizeof(literal) - 1                                                                  \
	}

static const struct {
	const char *name;
	struct bytes in;
	const char *events;
} cases[] = {
    {"one line", IN("NOOP\r\n"), "[NOOP]"},
    {"an empty line", IN("\r\n"), "[]"},
    {"three in one piece", IN("MAIL\r\nRCPT\r\nDATA\r\n"), "[MAIL][RCPT][DATA]"},
    {"a line that is not over", IN("QUI"), ""},
    {"a CR that may become a line end", IN("QUIT\r"), ""},
    {"tabs and 8-bit octets pass", IN("EHLO\t\xc3\xa9\r\n"), "[EHLO\t\xc3\xa9]"},
    {"bare LF", IN("NOOP\n"), "<LF>"},
    {"bare LF: what follows is no command", IN("NOOP\nMAIL\r\nQUIT\r\n"), "<LF>[QUIT]"},
    {"two bare LF are told twice", IN("NOOP\nMAIL\nRCPT\r\nQUIT\r\n"), "<LF><LF>[QUIT]"},
    {"LF alone", IN("\n\r\nQUIT\r\n"), "<LF>[QUIT]"},
    {"bare CR", IN("NOOP\rMAIL\r\nQUIT\r\n"), "<CR>[QUIT]"},
    {"bare CR CR LF", IN("NOOP\r\r\nQUIT\r\n"), "<CR>[QUIT]"},
    {"CR then bare LF of another line", IN("NOOP\rX\n\r\nQUIT\r\n"), "<CR><LF>[QUIT]"},
    {"LF CR is not a line end", IN("NOOP\n\rMAIL\r\nQUIT\r\n"), "<LF>[QUIT]"},
    {"NUL", IN("NO\0OP\r\nQUIT\r\n"), "<NUL>[QUIT]"},
    {"NUL between CR and LF", IN("NOOP\r\0\nQUIT\r\nRSET\r\n"), "<CR><LF>[RSET]"},
};

static void note(struct buf *events, const struct smtp_line *line, enum smtp_line_event event)
{
	static const char *const names[] = {[SMTP_LINE_MORE] = "",
					    [SMTP_LINE_BARE_LF] = "<LF>",
					    [SMTP_LINE_BARE_CR] = "<CR>",
					    [SMTP_LINE_NUL] = "<NUL>",
					    [SMTP_LINE_TOO_LONG] = "<LONG>"};

	if (event != SMTP_LINE_READY) {
		buf_put_text(events, names[event]);
		return;
	}
	buf_put_byte(events, '[');
	buf_put_bytes(events, smtp_line_text(line));
	buf_put_byte(events, ']');
}

static void feed(struct smtp_line *line, struct bytes in, struct buf *events)
{
	while (in.len > 0) {
		enum smtp_line_event event;
		size_t used = smtp_line_feed(line, in, &event);

		if (!CHECK(used >= 1 && used <= in.len))
			return;
		note(events, line, event);
		in = bytes_slice(in, used, in.len);
	}
}

/* `first` octets in the first piece, then pieces of `size`. */
static void check(struct bytes in, size_t first, size_t size, const char *want)
{
	struct smtp_line line = {.max = MAX_BYTES};
	struct buf events = {0};

	feed(&line, bytes_slice(in, 0, first), &events);
	for (size_t at = first; at < in.len; at += size)
		feed(&line, bytes_slice(in, at, at + size), &events);
	CHECK_TEXT(buf_text(&events), want);
	buf_clear(&events);
	smtp_line_clear(&line);
}

static void tells_lines_and_faults_however_they_come(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		test_case("%s", cases[i].name);
		check(cases[i].in, 0, 1, cases[i].events);
		for (size_t first = 0; first <= cases[i].in.len; first++)
			check(cases[i].in, first, cases[i].in.len, cases[i].events);
	}
}

static void fill_line(struct buf *out, size_t octets)
{
	for (size_t i = 0; i < octets - 2; i++)
		buf_put_byte(out, 'x');
	buf_put_text(out, "\r\n");
}

static void takes_the_longest_line_and_no_longer_one(void)
{
	struct smtp_line line = {.max = MAX_BYTES};
	struct buf in = {0}, events = {0};

	fill_line(&in, MAX_BYTES);
	feed(&line, buf_bytes(&in), &events);
	CHECK_INT(events.len, MAX_BYTES); /* [ and ] instead of CRLF */
	buf_reset(&in);
	buf_reset(&events);
	fill_line(&in, MAX_BYTES + 1);
	buf_put_text(&in, "QUIT\r\n");
	feed(&line, buf_bytes(&in), &events);
	CHECK_TEXT(buf_text(&events), "<LONG>[QUIT]");
	buf_clear(&in);
	buf_clear(&events);
	smtp_line_clear(&line);
}

static void holds_one_line_of_an_endless_one(void)
{
	struct smtp_line line = {.max = MAX_BYTES};
	struct buf events = {0};
	char piece[1000];

	memset(piece, 'x', sizeof piece);
	for (int i = 0; i < 1000; i++)
		feed(&line, bytes_of(piece, sizeof piece), &events);
	CHECK_TEXT(buf_text(&events), "<LONG>");
	CHECK(line.text.capacity <= MAX_BYTES);
	buf_clear(&events);
	smtp_line_clear(&line);
}

static void knows_whether_a_line_is_unfinished(void)
{
	struct smtp_line line = {.max = MAX_BYTES};
	enum smtp_line_event event;

	CHECK(!smtp_line_partial(&line));
	smtp_line_feed(&line, bytes_text("NO"), &event);
	CHECK(smtp_line_partial(&line));
	smtp_line_feed(&line, bytes_text("OP\r\n"), &event);
	CHECK(!smtp_line_partial(&line));
	smtp_line_clear(&line);
	CHECK_INT(line.text.capacity, 0);
}

int main(void)
{
	TEST(tells_lines_and_faults_however_they_come);
	TEST(takes_the_longest_line_and_no_longer_one);
	TEST(holds_one_line_of_an_endless_one);
	TEST(knows_whether_a_line_is_unfinished);
	return test_finish();
}
