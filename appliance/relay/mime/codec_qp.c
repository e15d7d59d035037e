#include "appliance/relay/mime/codec.h"
#include "appliance/relay/mime/syntax.h"

#include <string.h>

#define REPAIR_LINE_OCTETS 990 /* a repaired line is only broken when it must be */

static void put_escape(struct mime_codec *codec, uint8_t c, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	const char text[3] = {'=', digits[c >> 4], digits[c & 15]};

	buf_put(out, text, sizeof text);
	codec->column += sizeof text;
}

static void put_literal(struct mime_codec *codec, struct bytes token, struct buf *out)
{
	buf_put_bytes(out, token);
	codec->column += token.len;
}

static void soft_break(struct mime_codec *codec, struct buf *out)
{
	buf_put_text(out, "=\r\n");
	codec->column = 0;
	codec->broken = true;
}

static void hard_break(struct mime_codec *codec, struct buf *out)
{
	buf_put_text(out, "\r\n");
	codec->column = 0;
	codec->broken = false;
}

static bool is_crlf(struct bytes rest)
{
	return rest.len >= 2 && rest.data[0] == '\r' && rest.data[1] == '\n';
}

/* What must not begin an output line: dots (SMTP), From_ (mbox), dashes (delimiters; also of a line of our own making). */
static bool is_risky_start(struct bytes rest)
{
	switch (rest.data[0]) {
	case '.':
		return true;
	case 'F':
		return rest.len >= 5 && memcmp(rest.data, "From ", 5) == 0;
	case '-':
		return rest.len >= 2 && rest.data[1] == '-';
	default:
		return false;
	}
}

static bool needs_escape(uint8_t c)
{
	return (c < ' ' && c != '\t') || c >= 0x7f || c == '=';
}

/* ---- Encoding ---- */

static void encode_octet(struct mime_codec *codec, struct bytes rest, struct buf *out)
{
	uint8_t c = rest.data[0];
	bool at_end = rest.len == 1 || is_crlf(bytes_slice(rest, 1, rest.len));
	bool escape = needs_escape(c) || (mime_is_blank(c) && at_end);

	if (codec->column + (escape ? 3 : 1) > MIME_ENCODED_LINE_OCTETS - 1)
		soft_break(codec, out);
	if (escape || (codec->column == 0 && is_risky_start(rest)))
		put_escape(codec, c, out);
	else
		put_literal(codec, bytes_slice(rest, 0, 1), out);
}

/* Octets that are written as they are, whatever stands around them, and that no line start makes risky. */
static size_t plain_run(struct bytes rest, size_t limit)
{
	size_t len = 0;

	while (len < limit && rest.data[len] > ' ' && rest.data[len] < 0x7f && rest.data[len] != '=')
		len++;
	return len;
}

size_t mime_encode_qp(struct mime_codec *codec, struct bytes in, bool last, struct buf *out)
{
	size_t i = 0, end = last ? in.len : in.len - MIME_CODEC_LOOKAHEAD;

	while (i < end) {
		struct bytes rest = bytes_slice(in, i, in.len);
		size_t room = MIME_ENCODED_LINE_OCTETS - 1 - codec->column, run = 0;

		if (is_crlf(rest)) {
			hard_break(codec, out);
			i += 2;
			continue;
		}
		if (codec->column > 0)
			run = plain_run(rest, room < end - i ? room : end - i);
		if (run > 0)
			put_literal(codec, bytes_slice(rest, 0, run), out);
		else
			encode_octet(codec, rest, out);
		i += run > 0 ? run : 1;
	}
	return i;
}

/* ---- Repairing what is quoted-printable already ---- */

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/*
 * The octets of a soft line break that begins here (`=`, blanks, CRLF or the end of the body), 0 if none does. What is
 * longer than the lookahead is none.
 */
static size_t soft_break_length(struct bytes rest)
{
	size_t i = 1, limit = MIME_CODEC_LOOKAHEAD - 2;

	while (i < rest.len && i < limit && mime_is_blank(rest.data[i]))
		i++;
	if (i == limit)
		return 0;
	if (i == rest.len)
		return i;
	return is_crlf(bytes_slice(rest, i, rest.len)) ? i + 2 : 0;
}

static void keep_soft_break(struct mime_codec *codec, struct bytes text, struct buf *out)
{
	bool ends_body = text.data[text.len - 1] != '\n';

	if (codec->column + text.len > REPAIR_LINE_OCTETS)
		text = bytes_text(ends_body ? "=" : "=\r\n");
	buf_put_bytes(out, text);
	codec->column = 0;
	codec->broken = false;
}

static void repair_octet(struct mime_codec *codec, struct bytes rest, struct buf *out)
{
	uint8_t c = rest.data[0];
	bool escape = c >= 0x80 || c == '\0' || c == '\r' || c == '\n' || c == '=';

	if (codec->column + (escape ? 3 : 1) > REPAIR_LINE_OCTETS)
		soft_break(codec, out);
	if (escape || (codec->column == 0 && codec->broken && is_risky_start(rest)))
		put_escape(codec, c, out);
	else
		put_literal(codec, bytes_slice(rest, 0, 1), out);
}

static size_t repair_token(struct mime_codec *codec, struct bytes rest, struct buf *out)
{
	size_t soft = rest.data[0] == '=' ? soft_break_length(rest) : 0;

	if (is_crlf(rest)) {
		hard_break(codec, out);
		return 2;
	}
	if (soft > 0) {
		keep_soft_break(codec, bytes_slice(rest, 0, soft), out);
		return soft;
	}
	if (rest.data[0] == '=' && rest.len >= 3 && is_hex(rest.data[1]) && is_hex(rest.data[2])) {
		if (codec->column + 3 > REPAIR_LINE_OCTETS)
			soft_break(codec, out);
		put_literal(codec, bytes_slice(rest, 0, 3), out);
		return 3;
	}
	repair_octet(codec, rest, out);
	return 1;
}

size_t mime_repair_qp(struct mime_codec *codec, struct bytes in, bool last, struct buf *out)
{
	size_t i = 0, end = last ? in.len : in.len - MIME_CODEC_LOOKAHEAD;

	while (i < end)
		i += repair_token(codec, bytes_slice(in, i, in.len), out);
	return i;
}
