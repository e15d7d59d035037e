/*
 * The command line and message readers: what they say must not depend on how the octets are cut, and must agree with a plain
 * search. The first octet of the input chooses the size of the pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/smtp/smtp_body.h"
#include "appliance/relay/smtp/smtp_line.h"

#define MAX_BYTES 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* A piece of memory of its own, so that a read behind its end is seen. */
static struct bytes piece_of(struct bytes in, size_t at, size_t size)
{
	struct bytes part = bytes_slice(in, at, at + size);

	return part.len == 0 ? part : bytes_of(mem_copy(part.data, part.len), part.len);
}

static void feed_line(struct smtp_line *line, struct bytes in, struct buf *events)
{
	while (in.len > 0) {
		enum smtp_line_event event;
		size_t used = smtp_line_feed(line, in, &event);

		require(used >= 1 && used <= in.len);
		require(line->text.len + 2 <= MAX_BYTES);
		if (event != SMTP_LINE_MORE)
			buf_put_byte(events, (uint8_t)event);
		if (event == SMTP_LINE_READY) {
			struct bytes text = smtp_line_text(line);

			buf_put_bytes(events, text);
			require(text.len == 0 ||
				(memchr(text.data, '\n', text.len) == NULL && memchr(text.data, '\r', text.len) == NULL &&
				 memchr(text.data, '\0', text.len) == NULL));
		}
		in = bytes_slice(in, used, in.len);
	}
}

static void lines(struct bytes in, size_t size, struct buf *events)
{
	struct smtp_line line = {.max = MAX_BYTES};

	for (size_t at = 0; at < in.len; at += size) {
		struct bytes piece = piece_of(in, at, size);

		feed_line(&line, piece, events);
		free((void *)(uintptr_t)piece.data);
	}
	smtp_line_clear(&line);
}

static void feed_body(struct smtp_body *body, struct bytes in, struct buf *out)
{
	while (in.len > 0 && body->at != SMTP_BODY_END) {
		struct bytes octets;
		size_t used = smtp_body_feed(body, in, &octets);

		require(used >= 1 && used <= in.len && octets.len <= used);
		buf_put_bytes(out, octets);
		in = bytes_slice(in, used, in.len);
	}
}

static struct smtp_body body(struct bytes in, bool dots, size_t size, struct buf *out)
{
	struct smtp_body body = {.dots = dots};

	for (size_t at = 0; at < in.len; at += size) {
		struct bytes piece = piece_of(in, at, size);

		feed_body(&body, piece, out);
		free((void *)(uintptr_t)piece.data);
	}
	return body;
}

/* DATA is over exactly where CRLF.CRLF stands in CRLF + input. */
static bool has_end(struct bytes in)
{
	struct buf text = {0};
	bool found;

	buf_put_text(&text, "\r\n");
	buf_put_bytes(&text, in);
	found = memmem(text.data, text.len, "\r\n.\r\n", 5) != NULL;
	buf_clear(&text);
	return found;
}

static void compare_bodies(struct bytes in, bool dots, size_t size)
{
	struct buf whole = {0}, cut = {0};
	struct smtp_body a = body(in, dots, in.len, &whole), b = body(in, dots, size, &cut);

	require(a.at == b.at && a.fault == b.fault);
	require(a.fault != SMTP_BODY_GOOD || bytes_equal(buf_bytes(&whole), buf_bytes(&cut)));
	require((a.at == SMTP_BODY_END) == (dots && has_end(in)));
	if (a.fault == SMTP_BODY_GOOD && !dots)
		require(bytes_equal(buf_bytes(&whole), in));
	buf_clear(&whole);
	buf_clear(&cut);
}

/* Normalised, a message has no CR or LF but in CRLF, one that had none is not changed, and it ends at the same place. */
static void compare_normalised(struct bytes in, bool dots, size_t size)
{
	struct smtp_body reader = {.dots = dots, .normalise = true}, strict;
	struct buf normal = {0}, whole = {0}, again = {0};

	for (size_t at = 0; at < in.len && reader.at != SMTP_BODY_END; at += size) {
		struct bytes piece = piece_of(in, at, size);

		require(smtp_body_normalise(&reader, piece, &normal) <= piece.len);
		free((void *)(uintptr_t)piece.data);
	}
	require((reader.at == SMTP_BODY_END) == (dots && has_end(in)));
	require(reader.fault == SMTP_BODY_GOOD);
	strict = body(buf_bytes(&normal), false, normal.len, &again);
	require(strict.fault == SMTP_BODY_GOOD && strict.at != SMTP_BODY_CR);
	strict = body(in, dots, in.len, &whole);
	if (strict.fault == SMTP_BODY_GOOD && strict.at != SMTP_BODY_CR && strict.at != SMTP_BODY_DOT_CR)
		require(bytes_equal(buf_bytes(&normal), buf_bytes(&whole)));
	buf_clear(&normal);
	buf_clear(&whole);
	buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, cut = {0};
	struct bytes in;

	if (size < 2)
		return 0;
	in = bytes_of(data + 1, size - 1);
	lines(in, in.len, &whole);
	lines(in, (size_t)data[0] % 7 + 1, &cut);
	require(bytes_equal(buf_bytes(&whole), buf_bytes(&cut)));
	compare_bodies(in, true, (size_t)data[0] % 7 + 1);
	compare_bodies(in, false, (size_t)data[0] % 7 + 1);
	compare_normalised(in, true, (size_t)data[0] % 7 + 1);
	compare_normalised(in, false, (size_t)data[0] % 7 + 1);
	buf_clear(&whole);
	buf_clear(&cut);
	return 0;
}
