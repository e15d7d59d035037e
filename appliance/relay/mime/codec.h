/*
 * The encoders and repairs that edits ask for, as streams: octets in, octets out, memory bounded by MIME_CODEC_LOOKAHEAD
 * and one call's input. How the input is cut makes no difference. Pure; one thread at a time.
 */
#ifndef INKAN_RELAY_MIME_CODEC_H
#define INKAN_RELAY_MIME_CODEC_H

#include "appliance/relay/mime/scan.h"

#define MIME_CODEC_LOOKAHEAD 1024 /* octets: how far `=` and blanks may stand before the CRLF of a soft line break */
#define MIME_ENCODED_LINE_OCTETS 76 /* RFC 2045 §6.7, §6.8 */

struct mime_codec {
	enum mime_edit_kind kind; /* QP, BASE64, REPAIR_QP, REPAIR_BASE64 or MARK */
	struct buf pending; /* input that needs to see what follows */
	size_t column; /* of the output line */
	bool broken; /* the output line was begun by us, not by the input */
	bool begun; /* something was written */
};

void mime_codec_init(struct mime_codec *codec, enum mime_edit_kind kind);
void mime_codec_put(struct mime_codec *codec, struct bytes in, struct buf *out);
void mime_codec_finish(struct mime_codec *codec, struct buf *out); /* the body is over */
void mime_codec_clear(struct mime_codec *codec);

/*
 * One encoder: consumes octets from `in` while MIME_CODEC_LOOKAHEAD octets follow, or to the end when `last`; returns how
 * many it took.
 */
typedef size_t mime_transform(struct mime_codec *codec, struct bytes in, bool last, struct buf *out);

mime_transform mime_encode_qp, mime_repair_qp; /* codec_qp.c */
mime_transform mime_encode_base64, mime_repair_base64; /* codec_base64.c */
mime_transform mime_mark;

#endif
