/* Corpus messages with 8-bit text, long lines or NUL put into their bodies, or cut short. Deterministic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

#define MUTATIONS_EACH 4

static uint32_t seed = 1;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)(seed >> 4) * limit >> 28);
}

/* ---- Mutations ---- */

static const char *const foreign_text[] = {
    "caf\xc3\xa9 au lait \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\r\n", /* UTF-8 */
    "caf\xe9 au lait\r\n", /* ISO-8859-1 */
    "\x93\xfa\x96{\x8c\xea\x83\\\x83|\r\n", /* Shift_JIS */
    "\xc6\xfc\xcb\xdc\xb8\xec\r\n", /* EUC-JP */
};

/* A random line start behind the header. */
static size_t place_in(struct bytes message, size_t body)
{
	size_t at = body + random_below((uint32_t)(message.len - body) + 1);

	while (at > body && message.data[at - 1] != '\n')
		at--;
	return at;
}

static void put_foreign_text(struct buf *out)
{
	buf_put_text(out, foreign_text[random_below(4)]);
}

static void put_long_line(struct buf *out)
{
	static const size_t lengths[] = {999, 1022, 1023, 1024, 1025, 2000, 70000};
	size_t len = lengths[random_below(7)];

	for (size_t i = 0; i < len; i++)
		buf_put_byte(out, (uint8_t) "abc --.From ="[random_below(13)]);
	buf_put_text(out, "\r\n");
}

static void put_nul(struct buf *out)
{
	buf_put(out, "a\0b\r\n", 5);
}

static void put_bare_line_ends(struct buf *out)
{
	buf_put_text(out, "a\rb\nc\r\n");
}

static void (*const mutations[])(struct buf *out) = {put_foreign_text, put_foreign_text, put_long_line, put_nul,
						     put_bare_line_ends};

static void mutate(struct bytes message, size_t body, struct buf *out)
{
	uint32_t kind = random_below(6);
	size_t at = place_in(message, body);

	buf_put_bytes(out, bytes_slice(message, 0, at));
	if (kind < 5) {
		mutations[kind](out);
		buf_put_bytes(out, bytes_slice(message, at, message.len));
	} else {
		put_foreign_text(out); /* and there the message ends */
	}
}

/* ---- The check ---- */

struct tally {
	unsigned verdicts[3];
	struct pairs pairs; /* those that had to be re-encoded */
};

static void try_mutant(struct tally *tally, const char *name, unsigned number, struct bytes message)
{
	struct mime_scan *whole = scan_in_pieces(message, FEED_WHOLE), *pieces = scan_in_pieces(message, 1 + random_below(100));

	tally->verdicts[mime_scan_verdict(whole)]++;
	check_same_scan(whole, pieces);
	check_properties(whole, message);
	if (mime_scan_verdict(whole) == MIME_REENCODE && !mime_scan_header(whole)->malformed) {
		char *label = mem_format("%s.%u", name, number);

		pairs_add(&tally->pairs, label, whole, message);
		free(label);
	}
	mime_scan_free(whole);
	mime_scan_free(pieces);
}

static void mutate_message(const char *name, struct bytes message, void *arg)
{
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);
	size_t body = (size_t)mime_scan_header(scan)->body_offset;

	for (unsigned i = 0; i < MUTATIONS_EACH; i++) {
		struct buf mutant = {0};

		test_case("%s, mutation %u", name, i);
		mutate(message, body, &mutant);
		try_mutant(arg, name, i, buf_bytes(&mutant));
		buf_clear(&mutant);
	}
	mime_scan_free(scan);
}

static void mutants_keep_the_properties(void)
{
	struct tally tally = {.pairs.folder = test_directory()};

	CHECK_INT(each_corpus_message(mutate_message, &tally), 353);
	test_case("all");
	CHECK_INT(tally.verdicts[MIME_FAST] + tally.verdicts[MIME_REENCODE] + tally.verdicts[MIME_UNSIGNABLE],
		  353 * MUTATIONS_EACH);
	CHECK(tally.verdicts[MIME_REENCODE] > 900);
	pairs_compare(&tally.pairs, "--tolerant");
	printf("  %u fast, %u re-encoded, %u unsignable\n", tally.verdicts[MIME_FAST], tally.verdicts[MIME_REENCODE],
	       tally.verdicts[MIME_UNSIGNABLE]);
}

int main(void)
{
	TEST(mutants_keep_the_properties);
	return test_finish();
}
