#include "appliance/relay/mime/codec.h"

/* Preamble and epilogue have no transfer encoding: what cannot be sent becomes `?`, long lines are folded. */
size_t mime_mark(struct mime_codec *codec, struct bytes in, bool last, struct buf *out)
{
	size_t i = 0, end = last || in.len == 0 ? in.len : in.len - 1;

	for (; i < end; i++) {
		uint8_t c = in.data[i];
		bool crlf = c == '\r' && i + 1 < in.len && in.data[i + 1] == '\n';

		if (crlf || c == '\n') {
			buf_put_text(out, "\r\n");
			codec->column = 0;
			i += crlf;
			continue;
		}
		if (codec->column == MIME_LINE_MAX_OCTETS) {
			buf_put_text(out, "\r\n ");
			codec->column = 1;
		}
		buf_put_byte(out, c >= 0x80 || c == '\0' || c == '\r' ? '?' : c);
		codec->column++;
	}
	return i;
}

static mime_transform *transform_of(enum mime_edit_kind kind)
{
	switch (kind) {
	case MIME_EDIT_QP:
		return mime_encode_qp;
	case MIME_EDIT_BASE64:
		return mime_encode_base64;
	case MIME_EDIT_REPAIR_QP:
		return mime_repair_qp;
	case MIME_EDIT_REPAIR_BASE64:
		return mime_repair_base64;
	default:
		return mime_mark;
	}
}

void mime_codec_init(struct mime_codec *codec, enum mime_edit_kind kind)
{
	*codec = (struct mime_codec){.kind = kind};
}

void mime_codec_put(struct mime_codec *codec, struct bytes in, struct buf *out)
{
	buf_put_bytes(&codec->pending, in);
	if (codec->pending.len > MIME_CODEC_LOOKAHEAD)
		buf_consume(&codec->pending, transform_of(codec->kind)(codec, buf_bytes(&codec->pending), false, out));
}

void mime_codec_finish(struct mime_codec *codec, struct buf *out)
{
	transform_of(codec->kind)(codec, buf_bytes(&codec->pending), true, out);
	buf_reset(&codec->pending);
}

void mime_codec_clear(struct mime_codec *codec)
{
	buf_clear(&codec->pending);
}
