#include "appliance/relay/mime/codec.h"

#define GROUP_LINE_OCTETS (MIME_ENCODED_LINE_OCTETS / 4 * 3) /* 57 octets make a line of 76 characters */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t *encode_group(uint8_t *to, const uint8_t *from, size_t have)
{
	uint32_t group = (uint32_t)from[0] << 16 | (have > 1 ? (uint32_t)from[1] << 8 : 0) | (have > 2 ? from[2] : 0);

	*to++ = (uint8_t)alphabet[group >> 18];
	*to++ = (uint8_t)alphabet[group >> 12 & 63];
	*to++ = have > 1 ? (uint8_t)alphabet[group >> 6 & 63] : '=';
	*to++ = have > 2 ? (uint8_t)alphabet[group & 63] : '=';
	return to;
}

static void encode_line(struct mime_codec *codec, struct bytes line, struct buf *out)
{
	uint8_t *to;
	size_t i = 0;

	if (codec->begun)
		buf_put_text(out, "\r\n");
	codec->begun = true;
	buf_reserve(out, MIME_ENCODED_LINE_OCTETS);
	to = out->data + out->len;
	for (; i + 3 <= line.len; i += 3)
		to = encode_group(to, line.data + i, 3);
	if (i < line.len)
		to = encode_group(to, line.data + i, line.len - i);
	out->len = (size_t)(to - out->data);
}

size_t mime_encode_base64(struct mime_codec *codec, struct bytes in, bool last, struct buf *out)
{
	size_t i = 0;

	for (; in.len - i >= GROUP_LINE_OCTETS; i += GROUP_LINE_OCTETS)
		encode_line(codec, bytes_slice(in, i, i + GROUP_LINE_OCTETS), out);
	if (last && i < in.len) {
		encode_line(codec, bytes_slice(in, i, in.len), out);
		i = in.len;
	}
	return i;
}

/*
 * No line may begin with a dash: what is dropped or broken before it could make it a delimiter. Decoders pass over
 * dashes, as over all that is dropped here (RFC 2045 §6.8).
 */
static bool keeps(const struct mime_codec *codec, uint8_t c)
{
	if (c == '-')
		return codec->column > 0 && codec->column < MIME_LINE_MAX_OCTETS;
	return c < 0x80 && c != '\0' && c != '\r';
}

static void begin_line(struct mime_codec *codec, struct buf *out)
{
	buf_put_text(out, "\r\n");
	codec->column = 0;
}

size_t mime_repair_base64(struct mime_codec *codec, struct bytes in, bool last, struct buf *out)
{
	size_t i = 0, end = last || in.len == 0 ? in.len : in.len - 1;

	for (; i < end; i++) {
		uint8_t c = in.data[i];
		bool crlf = c == '\r' && i + 1 < in.len && in.data[i + 1] == '\n';

		if (crlf || c == '\n') {
			begin_line(codec, out);
			i += crlf;
		} else if (keeps(codec, c)) {
			if (codec->column >= MIME_ENCODED_LINE_OCTETS && c != '-')
				begin_line(codec, out);
			buf_put_byte(out, c);
			codec->column++;
		}
	}
	return i;
}
