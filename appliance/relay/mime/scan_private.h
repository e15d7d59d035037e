/*
 * Inside of the scanner. A line is the unit: scan.c cuts the input into lines, structure.c follows header, body and
 * delimiters, header.c collects fields, decide.c judges an entity when its body ends, edits.c keeps what it decides.
 *
 *   top header ──empty line──▶ body ◀──────────────┐
 *        ▲                      │ delimiter        │ empty line
 *        │ message/rfc822       ▼                  │
 *   nested header ◀──────── part header ───────────┘
 *
 * Only the current entity exists; what an open multipart must remember is its frame.
 */
#ifndef INKAN_RELAY_MIME_SCAN_PRIVATE_H
#define INKAN_RELAY_MIME_SCAN_PRIVATE_H

#include "appliance/relay/mime/media.h"
#include "appliance/relay/mime/octets.h"
#include "appliance/relay/mime/scan.h"

#define MIME_HOLD_BYTES 1024 /* lines up to this are looked at whole; longer ones are over the limit anyway */
#define MIME_BOUNDARY_MAX_OCTETS 994 /* "--" before and after it make a line of MIME_LINE_MAX_OCTETS */
#define MIME_CTE_FIELDS_MAX 4 /* of one header; with more they count as conflicting */
#define MIME_KEPT_MAX_BYTES (64u << 10) /* of the signature part, for presigned.c */

enum scan_state { SCAN_HEADER, SCAN_BODY, SCAN_IGNORE /* the top header is too large */ };

/* How a header ended. */
enum header_end {
	HEADER_EMPTY_LINE,
	HEADER_GARBAGE /* by a line that is no field */,
	HEADER_CUT /* by a delimiter or the end */
};

struct cte_field {
	uint64_t offset, end;
	uint64_t blanks, colon; /* blanks before the colon: [blanks, colon) */
};

struct entity {
	bool top;
	unsigned n_types; /* Content-Type fields */
	struct media_type type;
	struct cte_field ctes[MIME_CTE_FIELDS_MAX];
	unsigned n_ctes; /* may be larger than the array */
	enum cte cte;
	bool cte_conflict, wide;
	enum header_end ended;
	uint64_t insert_at; /* where a new field goes: the empty line */
};

enum body_kind {
	BODY_LEAF,
	BODY_PREAMBLE,
	BODY_EPILOGUE,
	BODY_NO_PARTS, /* a multipart without boundary, or what follows one that was closed before its first part */
	BODY_DEEP /* a multipart below MIME_DEPTH_MAX others */
};

struct body {
	enum body_kind kind;
	uint64_t offset;
	struct octet_counts counts;
	bool long_line, from_line, label_line;
	unsigned terminator; /* octets of the last line's end: 2 CRLF, 1 LF, 0 none */
	bool held_cr; /* a piece of a long line ended with CR */
};

struct frame {
	struct buf boundary;
	bool digest;
	const char *frozen; /* why nothing may be edited in here, or NULL */
};

struct raw_field {
	uint64_t offset, end;
};

enum keeping { KEEP_NOTHING, KEEP_PART, KEEP_BODY };

struct mime_scan {
	enum scan_state state;
	uint64_t size; /* octets fed */
	uint64_t line_offset; /* of the line at hand; within a long one of the piece */
	uint64_t long_offset, longest_line;
	struct buf held; /* its octets so far, when it came in pieces */
	bool in_long_line, long_is_field;
	bool has_8bit, finished;

	struct frame frames[MIME_DEPTH_MAX];
	size_t n_frames;
	struct entity entity;
	struct body body;
	uint64_t parts;

	/* The header at hand: its current field. */
	struct buf field;
	uint64_t field_offset;
	bool field_open, field_too_long, header_begun;

	/* The top header. */
	struct buf top_octets;
	struct raw_field *top_fields;
	size_t n_top_fields, top_capacity;
	struct mime_header header;
	bool *moves; /* by field: belongs to the signed part */
	bool header_complete;
	bool head_default; /* a default Content-Type is written when the message is signed untouched */
	bool head_default_edited; /* … and when it is signed after edits */

	/* The root. */
	bool root_multipart; /* frames[0] is the root's */
	bool root_keeps_rest; /* readers may disagree where it ends: nothing is cut; nor is it without any part */
	unsigned root_parts;
	bool root_closed;
	uint64_t signed_end;
	struct media_type root_type;

	enum keeping keeping;
	struct buf kept;
	bool kept_cut;

	/* The verdict. */
	struct mime_edit *edits;
	size_t n_edits, edits_capacity;
	bool hard_edits; /* at least one that safety asks for */
	bool label_line; /* a body line looks like an 8bit or binary label */
	const char *ambiguous; /* why readers may disagree about the structure */
	const char *root_types; /* … because of a field on top that is not signed */
	const char *reason, *note;
	enum mime_verdict verdict;
};

/* ---- structure.c ---- */

void mime_structure_begin(struct mime_scan *scan);
void mime_structure_line(struct mime_scan *scan, struct bytes line); /* up to MIME_HOLD_BYTES, with its LF if it has one */
void mime_structure_long_line(struct mime_scan *scan, struct bytes head); /* the first MIME_HOLD_BYTES of a longer one */
void mime_structure_long_more(struct mime_scan *scan, struct bytes piece);
void mime_structure_finish(struct mime_scan *scan);

/* ---- body.c ---- */

void mime_body_begin(struct mime_scan *scan, enum body_kind kind, uint64_t offset);
void mime_body_line(struct body *body, struct bytes line);
void mime_body_long_line(struct body *body, struct bytes head); /* longer than MIME_HOLD_BYTES: its head, then its pieces */
void mime_body_piece(struct body *body, struct bytes piece);
void mime_body_end(struct mime_scan *scan, bool delimited, bool part_follows); /* at line_offset; judges it */

unsigned mime_terminator(struct bytes line); /* octets of its line end: 2 CRLF, 1 LF, 0 none */

/* ---- delimiter.c ---- */

enum delimiter { DELIMITER_NONE, DELIMITER_OPEN, DELIMITER_CLOSE };

/* Which frame's delimiter the line is, innermost first. Marks the structure ambiguous when it only begins like one. */
enum delimiter mime_delimiter_match(struct mime_scan *scan, struct bytes line, size_t *level);
void mime_delimiter_check(struct mime_scan *scan, struct bytes line); /* can it be sent as it is? */
bool mime_boundary_is_taken(const struct mime_scan *scan, struct bytes boundary);

/* ---- header.c ---- */

void mime_header_begin(struct mime_scan *scan, bool top, enum media media);
bool mime_header_takes(struct mime_scan *scan, struct bytes line); /* false: the line is no field, the header is over */
void mime_header_more(struct mime_scan *scan, struct bytes piece); /* of a long line */
void mime_header_empty_line(struct mime_scan *scan, struct bytes line);
void mime_header_finish(struct mime_scan *scan, enum header_end ended);

/*
 * Where to fold a header line (without its CRLF) that goes on at `from`: the index of a blank so that the piece in front
 * has at most MIME_LINE_MAX_OCTETS, line.len when the rest fits, 0 when it cannot be folded.
 */
size_t mime_fold_at(struct bytes line, size_t from);

/* MIME_EDIT_FOLD: the line folded, without blanks before the colon if it begins a field. Changes `line`. */
void mime_fold_line(struct buf *line, struct buf *out);

/* ---- top_header.c ---- */

void mime_top_octets(struct mime_scan *scan, struct bytes octets);
void mime_top_field(struct mime_scan *scan, uint64_t offset, uint64_t end);
void mime_top_complete(struct mime_scan *scan, uint64_t body_offset);
void mime_top_clear(struct mime_scan *scan);
struct bytes mime_field_raw(const struct mime_scan *scan, const struct mime_field *field); /* with its CRLF */

#define MIME_DEFAULT_CONTENT_TYPE "Content-Type: text/plain; charset=us-ascii\r\n" /* RFC 2045 §5.2 */

/* ---- decide.c ---- */

void mime_decide_container(struct mime_scan *scan); /* the label of a multipart or an enclosed message */
void mime_decide_body(struct mime_scan *scan, uint64_t end, bool part_follows);

/* ---- edits.c ---- */

/* A hard edit is needed for safety; a soft one (From_ lines) never makes a message unsignable. */
enum edit_need { EDIT_HARD, EDIT_SOFT };

const char *mime_frozen(const struct mime_scan *scan);
void mime_edit(struct mime_scan *scan, enum edit_need need, struct mime_edit edit);
void mime_unsignable(struct mime_scan *scan, const char *reason); /* static; the first one counts */
void mime_ambiguous(struct mime_scan *scan, const char *why);
void mime_note(struct mime_scan *scan, const char *note);
void mime_settle(struct mime_scan *scan);

#endif
