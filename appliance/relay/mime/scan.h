/*
 * The MIME scanner (reference/mime.md §2): a push scanner that sees every octet of a message once, follows its structure and
 * yields header facts, a verdict and an edit list. No tree is built, nothing is copied but the header. Bounded memory:
 * MIME_HEADER_MAX_BYTES for the top header, MIME_EDITS_MAX edits, MIME_DEPTH_MAX open boundaries.
 * Pure (no I/O, no clock); one thread at a time. Input has CRLF line ends (bare CR and LF may occur and are judged).
 */
#ifndef INKAN_RELAY_MIME_SCAN_H
#define INKAN_RELAY_MIME_SCAN_H

#include "appliance/base/bytes.h"

#define MIME_HEADER_MAX_BYTES (256u << 10)
#define MIME_FIELD_MAX_BYTES (64u << 10)
#define MIME_LINE_MAX_OCTETS 998 /* RFC 5322 §2.1.1, without CRLF */
#define MIME_DEPTH_MAX 100
#define MIME_EDITS_MAX 131072
#define MIME_PARTS_MAX 100000

enum mime_verdict {
	MIME_FAST, /* may be signed without touching an octet */
	MIME_REENCODE, /* may be signed after the edits */
	MIME_UNSIGNABLE /* may not be signed: mime_scan_reason says why */
};

/* A field of the top-level header. Views point into the scanner and live as long as it. */
struct mime_field {
	struct bytes name; /* without blanks; empty for a line that is no field */
	struct bytes value; /* raw, folded, without the last CRLF */
	uint64_t offset, end; /* of the whole field in the message, its last CRLF included */
};

struct mime_header {
	struct mime_field *fields;
	size_t count;
	uint64_t body_offset; /* first octet behind the empty line */
	bool too_large; /* over MIME_HEADER_MAX_BYTES: the fields are incomplete, answer 554 */
	bool malformed; /* a line without colon, or no empty line where the body begins (smime.md §2: 550 5.6.0) */
	bool has_nul;
};

struct mime_scan;

struct mime_scan *mime_scan_new(void);
void mime_scan_free(struct mime_scan *scan);
void mime_scan_feed(struct mime_scan *scan, struct bytes octets);
void mime_scan_finish(struct mime_scan *scan); /* the message is over; verdict and edits are then final */

bool mime_scan_header_complete(const struct mime_scan *scan);
const struct mime_header *mime_scan_header(const struct mime_scan *scan); /* once complete */

/* The field that counts: the first of this name, or NULL; *count gets how many there are (may be NULL). */
const struct mime_field *mime_header_find(const struct mime_header *header, const char *name, size_t *count);

/* The value unfolded and trimmed (RFC 5322 §2.2.3) into an empty buffer. */
void mime_field_unfold(struct buf *out, const struct mime_field *field);

/*
 * The signed octets of a message that is signed untouched: the Content-* fields of the top header in order (a default
 * Content-Type if there is none), an empty line, and the body up to mime_scan_signed_end. mime_scan_signed_head gives
 * everything up to the body; body octets from header.body_offset to signed_end follow as they are. signed_end is
 * UINT64_MAX while the end is not known: octets fed so far then count whole; when the closing delimiter of the root
 * multipart has been seen it is the offset behind that line (not so for a multipart without any part, or one whose
 * boundary readers may disagree about: nothing of those is left out).
 */
void mime_scan_signed_head(const struct mime_scan *scan, struct buf *out);
uint64_t mime_scan_signed_end(const struct mime_scan *scan);
uint64_t mime_scan_longest_line(const struct mime_scan *scan); /* octets with its line end, of the lines that are over */
uint64_t mime_scan_size(const struct mime_scan *scan); /* octets fed */

enum mime_verdict mime_scan_verdict(const struct mime_scan *scan);
const char *mime_scan_reason(const struct mime_scan *scan); /* MIME_UNSIGNABLE: one phrase; else "" */
bool mime_scan_noted(const struct mime_scan *scan, const char **note); /* an oddity to log (raw 8-bit in a part header, …) */

/* Does the message (all of it, header included) hold an octet >= 0x80, and where: for 8BITMIME of the plain rendering. */
bool mime_scan_has_8bit(const struct mime_scan *scan);

/* ---- The edit list, for rendering.c and tests ---- */

enum mime_edit_kind {
	MIME_EDIT_CTE, /* replace [offset,end) by a Content-Transfer-Encoding field with `label` (insert when empty) */
	MIME_EDIT_DELETE,
	MIME_EDIT_FOLD, /* fold header lines over 998 at blanks */
	MIME_EDIT_COLON, /* remove the blanks before the colon of a part header field */
	MIME_EDIT_MARK, /* preamble, epilogue: octet >= 0x80 or NUL becomes ?, long lines are folded */
	MIME_EDIT_QP, /* encode as quoted-printable */
	MIME_EDIT_BASE64, /* encode as base64 */
	MIME_EDIT_REPAIR_QP,
	MIME_EDIT_REPAIR_BASE64
};

struct mime_edit {
	uint64_t offset, end; /* [offset, end) of the message */
	enum mime_edit_kind kind;
	const char *label; /* MIME_EDIT_CTE: "7bit", "quoted-printable", "base64"; static storage */
};

/* Sorted by offset, none overlapping. */
const struct mime_edit *mime_scan_edits(const struct mime_scan *scan, size_t *count);

#endif
