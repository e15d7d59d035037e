/* Sizes that attack time or memory, built here (mime.md §5). Times are loose: other work shares the machine. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/mime_support.h"

#define CHUNK_OCTETS 65536

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SLOWER 30 /* under a sanitizer; mallinfo says nothing then */
#else
#define SLOWER 1
#endif

struct measure {
	double seconds; /* processor time */
	size_t peak; /* octets on the heap while scanning, beyond what was there */
};

static double processor_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static size_t heap_octets(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static struct mime_scan *measured_scan(struct bytes message, struct measure *measure)
{
	size_t before = heap_octets();
	double start = processor_seconds();
	struct mime_scan *scan = mime_scan_new();

	measure->peak = 0;
	for (size_t i = 0; i < message.len; i += CHUNK_OCTETS) {
		size_t now;

		mime_scan_feed(scan, bytes_slice(message, i, i + CHUNK_OCTETS));
		now = heap_octets() - before;
		measure->peak = now > measure->peak ? now : measure->peak;
	}
	mime_scan_finish(scan);
	measure->seconds = processor_seconds() - start;
	return scan;
}

/* ---- The messages ---- */

static void repeat(struct buf *out, const char *text, size_t times)
{
	size_t len = strlen(text);

	buf_reserve(out, len * times);
	for (size_t i = 0; i < times; i++)
		buf_put(out, text, len);
}

static void attachment(struct buf *out)
{
	buf_put_text(out, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee the attachment.\r\n--b\r\n"
			  "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n");
	repeat(out, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\r\n", 671000);
	buf_put_text(out, "--b--\r\n");
}

static void parts(struct buf *out, const char *part, size_t times)
{
	buf_put_text(out, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
	repeat(out, part, times);
	buf_put_text(out, "--b--\r\n");
}

static void ten_thousand_dirty_parts(struct buf *out)
{
	parts(out, "--b\r\nContent-Type: text/plain\r\n\r\ncaf\xc3\xa9 au lait, and so on\r\n", 10000);
}

static void million_parts(struct buf *out)
{
	parts(out, "--b\r\n\r\n\xe9\r\n", 1000000);
}

static void million_clean_parts(struct buf *out)
{
	parts(out, "--b\r\n\r\n\r\n", 1000000);
}

static void nested_messages(struct buf *out)
{
	repeat(out, "Content-Type: message/rfc822\r\n\r\n", 100000);
	buf_put_text(out, "\r\nclean\r\n");
}

static void dirty_nested_messages(struct buf *out)
{
	repeat(out, "Content-Type: message/rfc822\r\n\r\n", 100000);
	buf_put_text(out, "\r\ncaf\xc3\xa9 au lait, and so on\r\n");
}

static void nested_multiparts(struct buf *out)
{
	for (unsigned i = 0; i < 100000; i++)
		buf_printf(out, "Content-Type: multipart/mixed; boundary=b%u\r\n\r\n--b%u\r\n", i, i);
	buf_put_text(out, "\r\nclean\r\n");
}

static void dirty_nested_multiparts(struct buf *out)
{
	nested_multiparts(out);
	buf_put_text(out, "caf\xe9\r\n");
}

static void one_line(struct buf *out)
{
	buf_put_text(out, "Content-Type: text/plain\r\n\r\n");
	repeat(out, "x", 50u << 20);
}

static void empty_lines(struct buf *out)
{
	buf_put_text(out, "Content-Type: text/plain\r\n\r\n");
	repeat(out, "\r\n", 25u << 20);
}

static void large_part_field(struct buf *out)
{
	buf_put_text(out, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX-Field:");
	repeat(out, " word", 6u << 20 >> 2);
	buf_put_text(out, "\r\n\r\nx\r\n--b--\r\n");
}

static void large_top_field(struct buf *out)
{
	buf_put_text(out, "X-Field:");
	repeat(out, " word\r\n", 1u << 20);
	buf_put_text(out, "\r\nx\r\n");
}

static void many_content_fields(struct buf *out)
{
	repeat(out, "Content-A:\r\n", 20000);
	buf_put_text(out, "\r\nx\r\n");
}

/* Each line begins like the delimiters of a hundred open multiparts, up to their last octet. */
static void near_delimiters(struct buf *out)
{
	char boundary[61] = {0}, line[64];

	memset(boundary, 'b', sizeof boundary - 1);
	for (unsigned i = 0; i < 100; i++)
		buf_printf(out, "Content-Type: multipart/mixed; boundary=%s%02u\r\n\r\n--%s%02u\r\n", boundary, i, boundary, i);
	snprintf(line, sizeof line, "--%s", boundary);
	buf_put_text(out, "\r\n");
	for (unsigned i = 0; i < 100000; i++)
		buf_printf(out, "%sxx\r\n", line);
}

#define FOUR_MB (4u << 20)

static const struct {
	const char *name;
	void (*build)(struct buf *out);
	enum mime_verdict verdict;
	const char *reason;
	double seconds; /* at most; about ten times what an idle machine takes */
	size_t peak; /* octets at most */
} sizes[] = {
    {"attachment of 50 MB", attachment, MIME_FAST, "", 0.17, FOUR_MB},
    {"10 000 parts, each re-encoded", ten_thousand_dirty_parts, MIME_REENCODE, "", 0.5, FOUR_MB},
    {"1 000 000 parts", million_parts, MIME_UNSIGNABLE, "more edits", 1, 16u << 20},
    {"1 000 000 clean parts", million_clean_parts, MIME_UNSIGNABLE, "more parts", 1, FOUR_MB},
    {"100 000 nested messages", nested_messages, MIME_FAST, "", 1, FOUR_MB},
    {"100 000 nested messages, the last dirty", dirty_nested_messages, MIME_REENCODE, "", 1, FOUR_MB},
    {"100 000 nested multiparts", nested_multiparts, MIME_FAST, "", 1, FOUR_MB},
    {"100 000 nested multiparts, dirty", dirty_nested_multiparts, MIME_UNSIGNABLE, "below 100 levels", 1, FOUR_MB},
    {"one line of 50 MB", one_line, MIME_REENCODE, "", 1, FOUR_MB},
    {"25 million empty lines", empty_lines, MIME_FAST, "", 3, FOUR_MB},
    {"part header field of 6 MB", large_part_field, MIME_UNSIGNABLE, "field over 64 KiB", 1, FOUR_MB},
    {"top header of 6 MB", large_top_field, MIME_UNSIGNABLE, "header over 256 KiB", 1, FOUR_MB},
    {"20 000 Content fields", many_content_fields, MIME_FAST, "", 1, FOUR_MB},
    {"100 000 lines that are nearly delimiters", near_delimiters, MIME_FAST, "", 2, FOUR_MB},
};

static void time_and_memory_are_bounded(void)
{
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct buf message = {0};
		struct measure measure;
		struct mime_scan *scan;

		test_case("%s", sizes[i].name);
		sizes[i].build(&message);
		scan = measured_scan(buf_bytes(&message), &measure);
		CHECK_TEXT(verdict_names[mime_scan_verdict(scan)], verdict_names[sizes[i].verdict]);
		CHECK_CONTAINS(mime_scan_reason(scan), sizes[i].reason);
		CHECK(measure.seconds < sizes[i].seconds * SLOWER);
		CHECK(measure.peak < sizes[i].peak);
		printf("  %-42s %7.1f MB %7.3f s %7.0f MB/s, peak %zu KiB\n", sizes[i].name, (double)message.len / 1e6,
		       measure.seconds, (double)message.len / 1e6 / measure.seconds, measure.peak >> 10);
		mime_scan_free(scan);
		buf_clear(&message);
	}
}

/* The same through the writer: what it makes has to be fast, and takes bounded time. */
static void large_messages_are_rendered(void)
{
	static void (*const builds[])(struct buf * out) = {ten_thousand_dirty_parts, dirty_nested_messages, one_line};

	for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
		struct buf message = {0}, part = {0};
		struct mime_scan *scan;

		test_case("message %zu", i);
		builds[i](&message);
		scan = scan_in_pieces(buf_bytes(&message), CHUNK_OCTETS);
		CHECK(render_part(scan, buf_bytes(&message), &part));
		mime_scan_free(scan);
		buf_clear(&message);
		buf_clear(&part);
	}
}

int main(void)
{
	TEST(time_and_memory_are_bounded);
	TEST(large_messages_are_rendered);
	return test_finish();
}
