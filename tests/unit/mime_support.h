/* What the tests of the MIME folder share: feeding in pieces, rendering into memory, the corpus, the properties. */
#ifndef INKAN_TESTS_MIME_SUPPORT_H
#define INKAN_TESTS_MIME_SUPPORT_H

#include "appliance/relay/mime/rendering.h"
#include "tests/unit/test.h"

#define FEED_WHOLE SIZE_MAX

extern const char *const verdict_names[]; /* by enum mime_verdict */

/* A finished scan of the message fed in pieces of so many octets. */
struct mime_scan *scan_in_pieces(struct bytes message, size_t piece);
struct mime_scan *scan_text(const char *text);

/* ---- Rendering into memory: a rendering_io whose arg is this ---- */

struct memory_io {
	struct bytes original;
	struct buf encoded, hashed;
	size_t read_at_most; /* a read gives no more; 0: as asked */
};

ssize_t memory_read(void *arg, void *data, size_t len, uint64_t offset, struct err *err);
bool memory_write(void *arg, struct bytes octets, struct err *err);
void memory_hash(void *arg, struct bytes octets);
void memory_io_clear(struct memory_io *io);

/* Appends the octets of a rendering and checks its size and the bounds of its pieces. */
void flatten(const struct rendering *rendering, struct bytes original, struct bytes encoded, struct buf *out);

/* The signed part as octets; also checks that exactly these were hashed when the writer had to write. */
bool render_part(const struct mime_scan *scan, struct bytes message, struct buf *out);

/* The whole signed message around `cms`. */
bool render_message(const struct mime_scan *scan, struct bytes message, struct bytes cms, struct buf *out);

/* ---- The corpus ---- */

/* The octets as an SMTP client sends them: CRLF line ends, one at the end. */
void as_sent(struct bytes file, struct buf *out);

/* Calls `visit` for each message of ../shared/corpus as it would be sent; returns how many there were. */
unsigned each_corpus_message(void (*visit)(const char *name, struct bytes message, void *arg), void *arg);

/* ---- verify/compare: is the content of the signed message the original's? ---- */

struct pairs {
	const char *folder; /* test_directory() */
	unsigned written;
	unsigned content_length; /* differences on purpose: Content-Length, of mbox files, is dropped (smime.md §2) */
};

/* Writes the original and the signed message around a CMS that is none. */
void pairs_add(struct pairs *pairs, const char *name, const struct mime_scan *scan, struct bytes message);

/* Compares all of them and fails for each difference but those on purpose. `options` of mime_compare.py. */
void pairs_compare(struct pairs *pairs, const char *options);

/* ---- The properties that every message has (mime.md §5) ---- */

void check_same_scan(const struct mime_scan *a, const struct mime_scan *b);

/*
 * Unsignable: nothing is written and the reason is told. Fast: the head and the body as they are. Re-encode: only edits
 * differ. The output scans as fast and is rendered as itself.
 */
void check_properties(const struct mime_scan *scan, struct bytes message);

#endif
