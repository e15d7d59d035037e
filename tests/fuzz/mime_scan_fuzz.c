/*
 * Any octets as a message: however they are fed the scan is the same, and what the writer makes of a signable one is fast,
 * is rendered as itself, and keeps every octet that no edit touches.
 */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/mime/rendering.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                                                       \
	do {                                                                                                                     \
		if (!(condition))                                                                                                \
			abort();                                                                                                 \
	} while (0)

struct memory {
	struct bytes original;
	struct buf encoded, hashed;
};

static ssize_t read_original(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	struct memory *memory = arg;
	struct bytes part = bytes_slice(memory->original, offset, offset + len);

	(void)err;
	if (part.len > 0)
		memcpy(data, part.data, part.len);
	return (ssize_t)part.len;
}

static bool write_encoded(void *arg, struct bytes octets, struct err *err)
{
	(void)err;
	buf_put_bytes(&((struct memory *)arg)->encoded, octets);
	return true;
}

static void hash_octets(void *arg, struct bytes octets)
{
	buf_put_bytes(&((struct memory *)arg)->hashed, octets);
}

static struct mime_scan *scan_whole(struct bytes message)
{
	struct mime_scan *scan = mime_scan_new();

	mime_scan_feed(scan, message);
	mime_scan_finish(scan);
	return scan;
}

/* Pieces whose sizes follow from the octets, so that a finding can be repeated. */
static struct mime_scan *scan_pieces(struct bytes message)
{
	struct mime_scan *scan = mime_scan_new();

	for (size_t at = 0, len; at < message.len; at += len) {
		len = 1 + message.data[at] % 23;
		len = len < message.len - at ? len : message.len - at;
		mime_scan_feed(scan, bytes_slice(message, at, at + len));
	}
	mime_scan_finish(scan);
	return scan;
}

static void require_equal(const struct mime_scan *a, const struct mime_scan *b)
{
	size_t n, m;
	const struct mime_edit *left = mime_scan_edits(a, &n), *right = mime_scan_edits(b, &m);

	REQUIRE(mime_scan_verdict(a) == mime_scan_verdict(b));
	REQUIRE(strcmp(mime_scan_reason(a), mime_scan_reason(b)) == 0);
	REQUIRE(mime_scan_signed_end(a) == mime_scan_signed_end(b));
	REQUIRE(mime_scan_header(a)->count == mime_scan_header(b)->count);
	REQUIRE(mime_scan_header(a)->body_offset == mime_scan_header(b)->body_offset);
	REQUIRE(mime_scan_has_8bit(a) == mime_scan_has_8bit(b));
	REQUIRE(mime_scan_presigned(a) == mime_scan_presigned(b));
	REQUIRE(n == m);
	for (size_t i = 0; i < n; i++) {
		REQUIRE(left[i].offset == right[i].offset && left[i].end == right[i].end);
		REQUIRE(left[i].kind == right[i].kind && left[i].label == right[i].label);
		REQUIRE(i == 0 || left[i].offset >= left[i - 1].end);
	}
}

static void render(const struct mime_scan *scan, struct bytes message, struct buf *out)
{
	struct memory memory = {.original = message};
	struct rendering_io io = {read_original, write_encoded, hash_octets, &memory};
	struct rendering part = {0};
	struct err err = {0};

	REQUIRE(rendering_signed_part(scan, &io, &part, &err));
	for (size_t i = 0; i < part.count; i++) {
		struct bytes from = part.pieces[i].source == PIECE_ORIGINAL  ? message
				    : part.pieces[i].source == PIECE_LITERAL ? buf_bytes(&part.literal)
									     : buf_bytes(&memory.encoded);

		REQUIRE(part.pieces[i].offset + part.pieces[i].length <= from.len);
		buf_put_bytes(out, bytes_slice(from, part.pieces[i].offset, part.pieces[i].offset + part.pieces[i].length));
	}
	if (mime_scan_verdict(scan) == MIME_REENCODE)
		REQUIRE(bytes_equal(buf_bytes(&memory.hashed), buf_bytes(out)));
	rendering_clear(&part);
	buf_clear(&memory.encoded);
	buf_clear(&memory.hashed);
}

static void require_fit(struct bytes part)
{
	struct mime_scan *again = scan_whole(part);
	struct buf twice = {0};

	REQUIRE(mime_scan_verdict(again) == MIME_FAST);
	render(again, part, &twice);
	REQUIRE(bytes_equal(buf_bytes(&twice), part));
	buf_clear(&twice);
	mime_scan_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes message = bytes_of(data, size);
	struct mime_scan *whole = scan_whole(message), *pieces = scan_pieces(message);
	struct buf part = {0};

	require_equal(whole, pieces);
	if (mime_scan_verdict(whole) != MIME_UNSIGNABLE) {
		render(whole, message, &part);
		if (!mime_scan_header(whole)->malformed) /* such a message is refused */
			require_fit(buf_bytes(&part));
	}
	buf_clear(&part);
	mime_scan_free(whole);
	mime_scan_free(pieces);
	return 0;
}
