/*
 * A rendering: what goes out to a recipient, as pieces of the stored original, of literal octets and of re-encoded leaves.
 * No body is ever copied to be signed: a fast message's signed rendering is a few hundred literal octets around ranges
 * of the original. Serialised into queue_message.addition.
 */
#ifndef INKAN_RELAY_MIME_RENDERING_H
#define INKAN_RELAY_MIME_RENDERING_H

#include "appliance/relay/mime/scan.h"

enum piece_source { PIECE_ORIGINAL = 0, PIECE_LITERAL = 1, PIECE_ENCODED = 2 };

struct piece {
	enum piece_source source;
	uint64_t offset, length; /* in the original, in rendering.literal, in the encoded body */
};

struct rendering {
	struct piece *pieces;
	size_t count;
	struct buf literal;
	uint64_t size; /* sum of the lengths */
};

void rendering_clear(struct rendering *rendering);
void rendering_add_literal(struct rendering *rendering, struct bytes octets);
void rendering_add_range(struct rendering *rendering, enum piece_source source, uint64_t offset, uint64_t length);
void rendering_append(struct rendering *to, const struct rendering *from);
void rendering_encode(struct buf *out, const struct rendering *rendering);
bool rendering_decode(struct bytes in, struct rendering *rendering, struct err *err) MUST_USE; /* checks every bound it can */

/* How the writer reads the original and where it puts octets; `false` with *err stops it. */
struct rendering_io {
	ssize_t (*read)(void *arg, void *data, size_t len, uint64_t offset, struct err *err); /* of the original; 0 at its end */
	bool (*write_encoded)(void *arg, struct bytes octets, struct err *err); /* appends to the encoded body */
	void (*signed_octets)(void *arg, struct bytes octets); /* feeds the digest, in order */
	void *arg;
};

#define RENDERING_LITERAL_MAX_BYTES (256u << 10) /* encoded leaves up to so much in all stay literal */

/*
 * The signed part of a finished scan with verdict FAST or REENCODE: head, body, edits applied. For FAST nothing is read
 * and neither write_encoded nor signed_octets is called (the digest was taken during reception). For REENCODE it may
 * take long: call it from a pool thread. Streams; memory is bounded by 64 KiB and the literal limit.
 * *part is empty at the call. Errors: those of io; ERR_INTEGRITY when a second scan of the output is not FAST.
 */
bool rendering_signed_part(const struct mime_scan *scan, const struct rendering_io *io, struct rendering *part,
			   struct err *err) MUST_USE;

/* "----=_inkan_" and 32 hexadecimal digits of 128 random bits (RFC 2046 §5.1.1: at most 70 characters). */
#define RENDERING_BOUNDARY_BYTES 48
bool rendering_new_boundary(char out[static RENDERING_BOUNDARY_BYTES], struct err *err) MUST_USE;

/*
 * The whole multipart/signed message of smime.md §2 around a signed part: outer fields of the original without Content-*
 * and MIME-Version, the structure, the base64 of the CMS.
 */
void rendering_signed_message(const struct mime_scan *scan, const struct rendering *part, const char *micalg,
			      const char *boundary, struct bytes cms, struct rendering *message);

/* The message with the edits of a "signed part" applied and nothing signed: 7-bit, for a next hop without 8BITMIME (RFC 6152). */
void rendering_converted_message(const struct mime_scan *scan, const struct rendering *part, struct rendering *message);

#endif
