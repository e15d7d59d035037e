/* The whole corpus: verdicts, properties, and what verify/compare says about each signed message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

#define CORPUS_MESSAGES 353

/*
 * mime.md §3 counts 317, 32 and 4. One of its 317 has an octet >= 0x80 in a field name of the top header, which ends the
 * header for readers, so the rest is a body with 8-bit octets that no edit may touch; the relay refuses it as malformed.
 * None of the four messages with a line `From ` has it in an identity-encoded text part.
 */
static const unsigned expected[] = {[MIME_FAST] = 316, [MIME_REENCODE] = 32, [MIME_UNSIGNABLE] = 5};
#define EXPECTED_MALFORMED 13

struct counts {
	unsigned verdicts[3], malformed;
};

static void count(const char *name, struct bytes message, void *arg)
{
	struct counts *counts = arg;
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);

	(void)name;
	counts->verdicts[mime_scan_verdict(scan)]++;
	counts->malformed += mime_scan_header(scan)->malformed;
	mime_scan_free(scan);
}

static void verdicts_stay(void)
{
	struct counts counts = {0};

	CHECK_INT(each_corpus_message(count, &counts), CORPUS_MESSAGES);
	for (size_t i = 0; i < 3; i++) {
		test_case("%s", verdict_names[i]);
		CHECK_INT(counts.verdicts[i], expected[i]);
	}
	CHECK_INT(counts.malformed, EXPECTED_MALFORMED);
}

static void check_message(const char *name, struct bytes message, void *arg)
{
	struct mime_scan *whole = scan_in_pieces(message, FEED_WHOLE), *octets = scan_in_pieces(message, 1);

	(void)name;
	(void)arg;
	check_same_scan(whole, octets);
	check_properties(whole, message);
	mime_scan_free(whole);
	mime_scan_free(octets);
}

static void properties_hold(void)
{
	CHECK_INT(each_corpus_message(check_message, NULL), CORPUS_MESSAGES);
}

/* ---- The content of each signed message is the original's ---- */

struct pairs {
	const char *folder;
	unsigned written;
};

static void write_pair(const char *name, struct bytes message, void *arg)
{
	static const uint8_t cms[1800] = {0x30, 0x82};
	struct pairs *pairs = arg;
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);
	char *original = mem_format("%s/%s.original", pairs->folder, name),
	     *signed_path = mem_format("%s/%s.signed", pairs->folder, name);
	struct buf signed_message = {0};

	if (mime_scan_verdict(scan) != MIME_UNSIGNABLE && !mime_scan_header(scan)->malformed &&
	    render_message(scan, message, bytes_of(cms, sizeof cms), &signed_message)) {
		CHECK(test_write_file(original, message));
		CHECK(test_write_file(signed_path, buf_bytes(&signed_message)));
		pairs->written++;
	}
	free(original);
	free(signed_path);
	buf_clear(&signed_message);
	mime_scan_free(scan);
}

/* The one difference on purpose: Content-Length, of mbox files, is not carried over (smime.md §2). */
static const char dropped[] = ": content-length: ";
#define EXPECTED_DROPPED 6

static void content_is_the_same(void)
{
	struct pairs pairs = {.folder = test_directory()};
	char *command, *compared, line[1024], last[1024] = "";
	unsigned n_dropped = 0;
	FILE *output;

	CHECK_INT(each_corpus_message(write_pair, &pairs), CORPUS_MESSAGES);
	CHECK(pairs.written > 300);
	test_case("compare");
	command = mem_format("/usr/bin/python3 tests/unit/mime_compare.py %s %s", test_shared(), pairs.folder);
	output = popen(command, "r");
	while (CHECK(output != NULL) && fgets(line, sizeof line, output) != NULL) {
		if (strstr(line, dropped) != NULL)
			n_dropped++;
		else if (strchr(line, '\t') != NULL)
			CHECK_TEXT(line, "");
		snprintf(last, sizeof last, "%s", line);
	}
	CHECK_INT(pclose(output), 0);
	compared = mem_format("compared %u\n", pairs.written);
	CHECK_TEXT(last, compared);
	CHECK_INT(n_dropped, EXPECTED_DROPPED);
	free(compared);
	free(command);
}

int main(void)
{
	TEST(verdicts_stay);
	TEST(properties_hold);
	TEST(content_is_the_same);
	return test_finish();
}
