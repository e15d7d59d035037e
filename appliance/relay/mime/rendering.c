#include "appliance/relay/mime/rendering.h"

#include <stdlib.h>

#include "appliance/base/msg.h"

#define RENDERING_VERSION 1
#define PIECE_OCTETS 17 /* serialised: source, offset, length */

void rendering_clear(struct rendering *rendering)
{
	if (rendering == NULL)
		return;
	free(rendering->pieces);
	buf_clear(&rendering->literal);
	*rendering = (struct rendering){0};
}

static bool goes_on(const struct piece *last, enum piece_source source, uint64_t offset)
{
	return last->source == source && last->offset + last->length == offset;
}

void rendering_add_range(struct rendering *rendering, enum piece_source source, uint64_t offset, uint64_t length)
{
	struct piece *last = rendering->count > 0 ? &rendering->pieces[rendering->count - 1] : NULL;

	if (length == 0)
		return;
	rendering->size += length;
	if (last != NULL && goes_on(last, source, offset)) {
		last->length += length;
		return;
	}
	if ((rendering->count & (rendering->count - 1)) == 0) /* full at each power of two */
		rendering->pieces =
		    mem_resize(rendering->pieces, rendering->count > 0 ? 2 * rendering->count : 1, sizeof *rendering->pieces);
	rendering->pieces[rendering->count++] = (struct piece){source, offset, length};
}

void rendering_add_literal(struct rendering *rendering, struct bytes octets)
{
	uint64_t offset = rendering->literal.len;

	buf_put_bytes(&rendering->literal, octets);
	rendering_add_range(rendering, PIECE_LITERAL, offset, octets.len);
}

void rendering_append(struct rendering *to, const struct rendering *from)
{
	uint64_t base = to->literal.len;

	buf_put_bytes(&to->literal, buf_bytes(&from->literal));
	for (size_t i = 0; i < from->count; i++) {
		const struct piece *piece = &from->pieces[i];
		uint64_t shift = piece->source == PIECE_LITERAL ? base : 0;

		rendering_add_range(to, piece->source, piece->offset + shift, piece->length);
	}
}

void rendering_encode(struct buf *out, const struct rendering *rendering)
{
	msg_put_u8(out, RENDERING_VERSION);
	msg_put_bytes(out, buf_bytes(&rendering->literal));
	msg_put_u32(out, (uint32_t)rendering->count);
	for (size_t i = 0; i < rendering->count; i++) {
		msg_put_u8(out, (uint8_t)rendering->pieces[i].source);
		msg_put_u64(out, rendering->pieces[i].offset);
		msg_put_u64(out, rendering->pieces[i].length);
	}
}

static bool piece_fits(const struct piece *piece, size_t literal, uint64_t size)
{
	uint64_t end;

	if (piece->length == 0 || __builtin_add_overflow(piece->offset, piece->length, &end) || end > INT64_MAX)
		return false;
	if (piece->source > PIECE_ENCODED || (piece->source == PIECE_LITERAL && end > literal))
		return false;
	return size <= INT64_MAX - piece->length;
}

bool rendering_decode(struct bytes in, struct rendering *rendering, struct err *err)
{
	struct msg msg = msg_of(in);
	struct rendering read = {0};
	uint8_t version = msg_get_u8(&msg);
	uint32_t count;

	buf_put_bytes(&read.literal, msg_get_bytes(&msg));
	count = msg_get_count(&msg, PIECE_OCTETS);
	for (uint32_t i = 0; i < count && !msg.bad; i++) {
		struct piece piece = {.source = msg_get_u8(&msg)};

		piece.offset = msg_get_u64(&msg);
		piece.length = msg_get_u64(&msg);
		if (!piece_fits(&piece, read.literal.len, read.size))
			msg.bad = true;
		else
			rendering_add_range(&read, piece.source, piece.offset, piece.length);
	}
	if (version != RENDERING_VERSION)
		msg.bad = true;
	if (!msg_end(&msg, "rendering", err)) {
		rendering_clear(&read);
		return false;
	}
	*rendering = read;
	return true;
}
