#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

#include <string.h>

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

	if (mime_boundary_is_taken(scan, buf_bytes(&scan->entity.type.boundary)))
		mime_ambiguous(scan, "a boundary that an outer multipart has as well");
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
		mime_body_begin(scan, BODY_NO_PARTS, offset);
	} else if (scan->n_frames == MIME_DEPTH_MAX) {
		mime_body_begin(scan, BODY_DEEP, offset);
	} else {
		push_frame(scan, frozen_by(scan));
		mime_body_begin(scan, BODY_PREAMBLE, offset);
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
	mime_body_begin(scan, BODY_LEAF, offset);
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
		mime_body_begin(scan, BODY_LEAF, offset);
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

/* `part_follows`: the innermost multipart has a (next) part behind the delimiter that ends this entity. */
static void end_entity(struct mime_scan *scan, bool delimited, bool part_follows)
{
	if (scan->state == SCAN_HEADER)
		end_header(scan, HEADER_CUT, 0);
	else
		mime_body_end(scan, delimited, part_follows);
}

/* ---- Delimiters (RFC 2046 §5.1.1) ---- */

static void root_delimiter(struct mime_scan *scan, bool closes, uint64_t end)
{
	scan->keeping = KEEP_NOTHING;
	if (closes) {
		scan->root_closed = true;
		if (!scan->root_keeps_rest && scan->root_parts > 0)
			scan->signed_end = end;
	} else if (++scan->root_parts == 2 && scan->root_type.sealed) {
		scan->keeping = KEEP_PART;
	}
}

static void take_delimiter(struct mime_scan *scan, struct bytes line, bool closes, size_t level)
{
	uint64_t end = scan->line_offset + line.len;
	bool innermost = level + 1 == scan->n_frames;
	bool no_parts = closes && innermost && scan->state == SCAN_BODY && scan->body.kind == BODY_PREAMBLE;

	mime_delimiter_check(scan, line);
	end_entity(scan, true, innermost && !closes);
	if (level == 0 && scan->root_multipart)
		root_delimiter(scan, closes, end);
	if (closes) {
		scan->n_frames = level;
		mime_body_begin(scan, no_parts ? BODY_NO_PARTS : BODY_EPILOGUE, end);
		return;
	}
	scan->n_frames = level + 1;
	if (++scan->parts > MIME_PARTS_MAX)
		mime_unsignable(scan, "more parts than the limit");
	mime_header_begin(scan, false, scan->frames[level].digest ? MEDIA_ENCLOSED : MEDIA_TEXT);
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
	enum delimiter delimiter = mime_delimiter_match(scan, line, &level);

	if (delimiter != DELIMITER_NONE) {
		take_delimiter(scan, line, delimiter == DELIMITER_CLOSE, level);
		return;
	}
	if (scan->keeping != KEEP_NOTHING)
		keep(scan, line);
	if (scan->state == SCAN_HEADER && is_empty_line(line)) {
		mime_header_empty_line(scan, line);
		end_header(scan, HEADER_EMPTY_LINE, line.len);
	} else if (!header_takes(scan, line) && scan->state == SCAN_BODY) {
		mime_body_line(&scan->body, line);
	}
}

void mime_structure_long_line(struct mime_scan *scan, struct bytes head)
{
	size_t level = 0;

	if (mime_delimiter_match(scan, head, &level) != DELIMITER_NONE)
		mime_unsignable(scan, "a delimiter line over 998 octets");
	if (scan->keeping != KEEP_NOTHING)
		keep(scan, head);
	scan->long_is_field = header_takes(scan, head);
	if (!scan->long_is_field && scan->state == SCAN_BODY) {
		mime_body_long_line(&scan->body, head);
	}
}

void mime_structure_long_more(struct mime_scan *scan, struct bytes piece)
{
	if (scan->keeping != KEEP_NOTHING)
		keep(scan, piece);
	if (scan->state == SCAN_HEADER && scan->long_is_field)
		mime_header_more(scan, piece);
	else if (scan->state == SCAN_BODY)
		mime_body_piece(&scan->body, piece);
}

void mime_structure_finish(struct mime_scan *scan)
{
	end_entity(scan, false, false);
}
