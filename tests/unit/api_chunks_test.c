/* The framing of chunked bodies, whole and octet by octet. */
#include "appliance/relay/api/http_chunks.h"
#include "tests/unit/test.h"

#define GOOD "5\r\nhello\r\n0\r\n\r\n"

static const struct {
	const char *name, *octets;
	size_t taken;
	bool ends;
	const char *fault;
} cases[] = {
    {"one chunk", GOOD, 15, true, NULL},
    {"a request behind it", GOOD "GET / HTTP/1.1\r\n", 15, true, NULL},
    {"capital and zero digits", "00A\r\n0123456789\r\n000\r\n\r\n", 24, true, NULL},
    {"extensions", "5;a=\"b\"\r\nhello\r\n0 ;c\r\n\r\n", 24, true, NULL},
    {"trailers", "0\r\nA: b\r\nC: d\r\n\r\n", 17, true, NULL},
    {"CR and LF in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", 14, true, NULL},
    {"not complete", "5\r\nhel", 6, false, NULL},
    {"no size", "\r\n", 0, false, "a chunk has no size"},
    {"a sign", "+5\r\n", 0, false, "a chunk has no size"},
    {"0x", "0x5\r\n", 1, false, "a chunk's size does not end in CRLF"},
    {"sixteen digits", "1000000000000000\r\n", 15, false, "a chunk's size is too large"},
    {"size that ends in LF", "5\nhello", 1, false, "a chunk's size does not end in CRLF"},
    {"size that ends in CR", "5\rhello", 2, false, "a chunk's size does not end in CRLF"},
    {"LF in an extension", "5;a\nhello", 3, false, "a chunk's size does not end in CRLF"},
    {"data without CRLF", "5\r\nhelloXX0\r\n\r\n", 8, false, "a chunk does not end in CRLF"},
    {"data that end in LF", "5\r\nhello\n0\r\n\r\n", 8, false, "a chunk does not end in CRLF"},
    {"data that end in CR", "5\r\nhello\r0\r\n\r\n", 9, false, "a chunk does not end in CRLF"},
    {"trailer that ends in LF", "0\r\nA: b\n\r\n", 7, false, "a trailer does not end in CRLF"},
    {"last line that is LF", "0\r\n\n", 3, false, "a trailer does not end in CRLF"},
    {"last line that is CR", "0\r\n\rX", 4, false, "the last chunk does not end in CRLF"},
};

static void check(size_t i, const struct http_chunks *chunks, size_t taken)
{
	CHECK_INT((long long)taken, (long long)cases[i].taken);
	CHECK(cases[i].ends == (chunks->at == CHUNKS_END));
	CHECK_TEXT(chunks->fault == NULL ? "" : chunks->fault, cases[i].fault == NULL ? "" : cases[i].fault);
}

static void framing_is_read_whole_and_octet_by_octet(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct bytes octets = bytes_text(cases[i].octets);
		struct http_chunks whole = {0}, pieces = {0};
		size_t taken = 0;

		test_case("%s", cases[i].name);
		check(i, &whole, http_chunks_take(&whole, octets));
		while (taken < octets.len && http_chunks_take(&pieces, bytes_of(octets.data + taken, 1)) == 1)
			taken++;
		check(i, &pieces, taken);
	}
}

static void long_lines_are_refused(void)
{
	struct http_chunks extension = {0}, trailers = {0};
	struct buf line = {0};

	buf_put_text(&line, "5;");
	for (size_t i = 0; i < HTTP_CHUNK_LINE_MAX_BYTES; i++)
		buf_put_byte(&line, 'x');
	http_chunks_take(&extension, buf_bytes(&line));
	CHECK_TEXT(extension.fault == NULL ? "" : extension.fault, "a chunk's extensions are too long");
	buf_reset(&line);
	buf_put_text(&line, "0\r\n");
	for (size_t i = 0; i < HTTP_TRAILERS_MAX_BYTES; i += 6)
		buf_put_text(&line, "A: b\r\n");
	for (size_t i = 0; i < HTTP_TRAILERS_MAX_BYTES; i += 6)
		buf_put_text(&line, "A: b\r\n");
	http_chunks_take(&trailers, buf_bytes(&line));
	CHECK_TEXT(trailers.fault == NULL ? "" : trailers.fault, "its trailers are too long");
	buf_clear(&line);
}

int main(void)
{
	TEST(framing_is_read_whole_and_octet_by_octet);
	TEST(long_lines_are_refused);
	return test_finish();
}
