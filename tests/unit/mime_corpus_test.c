/* The whole corpus: verdicts, properties, and what verify/compare says about each signed message. */
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

#define EXPECTED_CONTENT_LENGTH 6

static void write_pair(const char *name, struct bytes message, void *arg)
{
	struct pairs *pairs = arg;
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);

	if (mime_scan_verdict(scan) != MIME_UNSIGNABLE && !mime_scan_header(scan)->malformed)
		pairs_add(pairs, name, scan, message);
	mime_scan_free(scan);
}

static void content_is_the_same(void)
{
	struct pairs pairs = {.folder = test_directory()};

	CHECK_INT(each_corpus_message(write_pair, &pairs), CORPUS_MESSAGES);
	test_case("compare");
	CHECK(pairs.written > 330);
	pairs_compare(&pairs, "");
	CHECK_INT(pairs.content_length, EXPECTED_CONTENT_LENGTH);
}

int main(void)
{
	TEST(verdicts_stay);
	TEST(properties_hold);
	TEST(content_is_the_same);
	return test_finish();
}
