#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

#include <string.h>

static void begin_body(struct mime_scan *scan, enum body_kind kind, uint64_t offset)
{
	scan->body = (struct body){.kind = kind, .offset = offset};
	scan->state = SCAN_BODY;
}

/* ---- From header to body ---- */

static const char *frozen_by(const struct mime_scan *scan)
{
	if (mime_frozen(scan) != NULL)
		return mime_frozen(scan);
	if (scan->entity.type.sealed)
		return "an edit inside a signed part would break its signature";
	if (scan->entity.cte != CTE_IDENTITY || scan->entity.cte_conflict)
		return "an edit inside a multipart with a transfer encoding";
	return NULL;
}

static void push_frame(struct mime_scan *scan, const char *frozen)
{
	struct frame *frame = &scan->frames[scan->n_frames];

	buf_reset(&frame->boundary);
	buf_put_bytes(&frame->boundary, buf_bytes(&scan->entity.type.boundary));
	frame->digest = scan->entity.type.digest;
	frame->frozen = frozen;
	scan->root_multipart = scan->root_multipart || scan->entity.top;
	scan->n_frames++;
}

static void begin_multipart(struct mime_scan *scan, uint64_t offset)
{
	const struct media_type *type = &scan->entity.type;

	mime_decide_container(scan);
	if (type->boundary.len > MIME_BOUNDARY_MAX_OCTETS)
		mime_unsignable(scan, "a boundary that is too long for a line");
	if (type->boundary.len == 0 || type->boundary.len > MIME_BOUNDARY_MAX_OCTETS) {
		begin_body(scan, BODY_NO_PARTS, offset);
	} else if (scan->n_frames == MIME_DEPTH_MAX) {
		begin_body(scan, BODY_DEEP, offset);
	} else {
		push_frame(scan, frozen_by(scan));
		begin_body(scan, BODY_PREAMBLE, offset);
	}
}

static bool is_enclosed(const struct entity *entity)
{
	return entity->type.media == MEDIA_ENCLOSED && entity->cte == CTE_IDENTITY && !entity->cte_conflict;
}

static void begin_root(struct mime_scan *scan, uint64_t offset)
{
	scan->root_type = scan->entity.type;
	scan->root_type.boundary = (struct buf){0};
	scan->root_keeps_rest = scan->entity.type.ambiguous;
	if (scan->entity.type.cms)
		scan->keeping = KEEP_BODY;
	mime_top_complete(scan, offset);
}

static void cut_body(struct mime_scan *scan, uint64_t offset)
{
	if (scan->entity.type.media == MEDIA_MULTIPART || is_enclosed(&scan->entity)) {
		mime_decide_container(scan);
		return;
	}
	begin_body(scan, BODY_LEAF, offset);
	mime_decide_body(scan, offset, false);
}

static void end_header(struct mime_scan *scan, enum header_end ended, size_t empty_line)
{
	uint64_t offset = scan->line_offset + empty_line;

	mime_header_finish(scan, ended);
	if (scan->entity.top)
		begin_root(scan, offset);
	if (ended == HEADER_CUT) {
		cut_body(scan, offset);
	} else if (scan->entity.type.media == MEDIA_MULTIPART) {
		begin_multipart(scan, offset);
	} else if (is_enclosed(&scan->entity)) {
		mime_decide_container(scan);
		mime_header_begin(scan, false, MEDIA_TEXT);
	} else {
		begin_body(scan, BODY_LEAF, offset);
	}
}

/* The line is in the header or it ends it; a line that ends it by being no field begins what follows. */
static bool header_takes(struct mime_scan *scan, struct bytes line)
{
	while (scan->state == SCAN_HEADER) {
		if (mime_header_takes(scan, line))
			return true;
		end_header(scan, HEADER_GARBAGE, 0);
	}
	return false;
}

static bool is_empty_line(struct bytes line)
{
	return bytes_equal_text(line, "\r\n") || bytes_equal_text(line, "\n");
}

/* ---- Bodies ---- */

/* Would a system that reads the structure otherwise take this line for a label that it acts on? */
static bool is_label_line(struct bytes line)
{
	struct bytes name, value;
	size_t colon;

	if (!bytes_starts_nocase(line, "content-transfer-encoding") || !mime_split_field(line, &name, &colon) || name.len != 25)
		return false;
	value = bytes_trim(bytes_slice(line, colon + 1, line.len));
	return value.len == 0 || cte_label_parse(value).wide;
}

static void begin_line(struct body *body, struct bytes line)
{
	if (line.len < 5)
		return;
	if (line.data[0] == 'F' && memcmp(line.data, "From ", 5) == 0)
		body->from_line = true;
	if ((line.data[0] == 'C' || line.data[0] == 'c') && is_label_line(line))
		body->label_line = true;
}

static unsigned terminator_of(struct bytes line)
{
	if (line.data[line.len - 1] != '\n')
		return 0;
	return line.len > 1 && line.data[line.len - 2] == '\r' ? 2 : 1;
}

static void count_bare(struct body *body)
{
	body->counts.bare = true;
	body->counts.escapes++;
}

static void body_line(struct body *body, struct bytes line)
{
	body->terminator = terminator_of(line);
	if (body->terminator == 1)
		count_bare(body);
	line.len -= body->terminator;
	begin_line(body, line);
	octets_count(&body->counts, line.data, line.len);
	if (line.len > MIME_LINE_MAX_OCTETS)
		body->long_line = true;
}

/* A piece of a line that is longer than MIME_HOLD_BYTES. Whether a CR at its end is a bare one shows the next piece. */
static void body_piece(struct body *body, struct bytes piece)
{
	bool after_cr = body->held_cr;

	body->long_line = true;
	body->held_cr = false;
	body->terminator = terminator_of(piece);
	if (after_cr && piece.data[0] == '\n') {
		body->terminator = 2;
		return;
	}
	if (after_cr)
		count_bare(body);
	if (body->terminator == 1)
		count_bare(body);
	body->held_cr = body->terminator == 0 && piece.data[piece.len - 1] == '\r';
	octets_count(&body->counts, piece.data, piece.len - body->terminator - body->held_cr);
}

static void end_body(struct mime_scan *scan, bool delimited, bool innermost)
{
	struct body *body = &scan->body;
	uint64_t end = scan->line_offset;

	if (body->held_cr)
		count_bare(body);
	if (delimited && end > body->offset) {
		end -= body->terminator;
		if (body->terminator == 1)
			mime_unsignable(scan, "a bare LF before a delimiter");
	}
	scan->label_line = scan->label_line || body->label_line;
	mime_decide_body(scan, end, innermost);
}

static void end_entity(struct mime_scan *scan, bool delimited, bool innermost)
{
	if (scan->state == SCAN_HEADER)
		end_header(scan, HEADER_CUT, 0);
	else
		end_body(scan, delimited, innermost);
}

/* ---- Delimiters (RFC 2046 §5.1.1) ---- */

enum match { MATCH_NONE, MATCH_OPEN, MATCH_CLOSE };

static struct bytes without_end(struct bytes line)
{
	line.len -= terminator_of(line);
	while (line.len > 0 && mime_is_blank(line.data[line.len - 1]))
		line.len--;
	return line;
}

/* Innermost first. A line that only begins with a boundary is a delimiter for some readers: ambiguous. */
static enum match match_delimiter(struct mime_scan *scan, struct bytes line, size_t *level)
{
	struct bytes text = without_end(line);
	bool begins = false;

	for (size_t i = scan->n_frames; i-- > 0;) {
		const struct buf *boundary = &scan->frames[i].boundary;
		size_t rest = text.len - 2 - boundary->len;

		if (text.len < 2 + boundary->len || memcmp(text.data + 2, boundary->data, boundary->len) != 0)
			continue;
		*level = i;
		if (rest == 0)
			return MATCH_OPEN;
		if (rest == 2 && memcmp(text.data + text.len - 2, "--", 2) == 0)
			return MATCH_CLOSE;
		begins = true;
	}
	if (begins)
		mime_ambiguous(scan, "a line that begins like a delimiter");
	return MATCH_NONE;
}

static void check_delimiter(struct mime_scan *scan, struct bytes line)
{
	unsigned terminator = terminator_of(line);

	if (octets_any_8bit(line.data, line.len))
		mime_unsignable(scan, "8-bit octets in a boundary");
	if (line.len - terminator > MIME_LINE_MAX_OCTETS)
		mime_unsignable(scan, "a delimiter line over 998 octets");
	if (terminator == 1)
		mime_unsignable(scan, "a bare LF behind a delimiter");
}

static void root_delimiter(struct mime_scan *scan, bool closes, uint64_t end)
{
	scan->keeping = KEEP_NOTHING;
	if (closes) {
		scan->root_closed = true;
		if (!scan->root_keeps_rest)
			scan->signed_end = end;
	} else if (++scan->root_parts == 2 && scan->root_type.sealed) {
		scan->keeping = KEEP_PART;
	}
}

static void take_delimiter(struct mime_scan *scan, struct bytes line, bool closes, size_t level)
{
	uint64_t end = scan->line_offset + line.len;

	check_delimiter(scan, line);
	end_entity(scan, true, level + 1 == scan->n_frames);
	if (level == 0 && scan->root_multipart)
		root_delimiter(scan, closes, end);
	if (closes) {
		scan->n_frames = level;
		begin_body(scan, BODY_EPILOGUE, end);
		return;
	}
	scan->n_frames = level + 1;
	if (++scan->parts > MIME_PARTS_MAX)
		mime_unsignable(scan, "more parts than the limit");
	mime_header_begin(scan, false, scan->frames[level].digest ? MEDIA_ENCLOSED : MEDIA_TEXT);
}

static bool may_be_delimiter(const struct mime_scan *scan, struct bytes line)
{
	return scan->n_frames > 0 && line.len > 2 && line.data[0] == '-' && line.data[1] == '-';
}

/* ---- Lines ---- */

static void keep(struct mime_scan *scan, struct bytes octets)
{
	if (scan->keeping == KEEP_BODY && scan->state == SCAN_HEADER)
		return;
	if (scan->kept.len + octets.len > MIME_KEPT_MAX_BYTES) {
		scan->kept_cut = true;
		octets.len = MIME_KEPT_MAX_BYTES - scan->kept.len;
	}
	buf_put_bytes(&scan->kept, octets);
}

void mime_structure_begin(struct mime_scan *scan)
{
	mime_header_begin(scan, true, MEDIA_TEXT);
}

void mime_structure_line(struct mime_scan *scan, struct bytes line)
{
	size_t level = 0;

	if (may_be_delimiter(scan, line)) {
		enum match match = match_delimiter(scan, line, &level);

		if (match != MATCH_NONE) {
			take_delimiter(scan, line, match == MATCH_CLOSE, level);
			return;
		}
	}
	if (scan->keeping != KEEP_NOTHING)
		keep(scan, line);
	if (scan->state == SCAN_HEADER && is_empty_line(line)) {
		mime_header_empty_line(scan, line);
		end_header(scan, HEADER_EMPTY_LINE, line.len);
	} else if (!header_takes(scan, line) && scan->state == SCAN_BODY) {
		body_line(&scan->body, line);
	}
}

void mime_structure_long_line(struct mime_scan *scan, struct bytes head)
{
	size_t level = 0;

	if (may_be_delimiter(scan, head) && match_delimiter(scan, head, &level) != MATCH_NONE)
		mime_unsignable(scan, "a delimiter line over 998 octets");
	if (scan->keeping != KEEP_NOTHING)
		keep(scan, head);
	scan->long_is_field = header_takes(scan, head);
	if (!scan->long_is_field && scan->state == SCAN_BODY) {
		begin_line(&scan->body, head);
		body_piece(&scan->body, head);
	}
}

void mime_structure_long_more(struct mime_scan *scan, struct bytes piece)
{
	if (scan->keeping != KEEP_NOTHING)
		keep(scan, piece);
	if (scan->state == SCAN_HEADER && scan->long_is_field)
		mime_header_more(scan, piece);
	else if (scan->state == SCAN_BODY)
		body_piece(&scan->body, piece);
}

void mime_structure_finish(struct mime_scan *scan)
{
	end_entity(scan, false, false);
}
