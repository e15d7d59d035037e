#include <string.h>

#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

void mime_body_begin(struct mime_scan *scan, enum body_kind kind, uint64_t offset)
{
	scan->body = (struct body){.kind = kind, .offset = offset};
	scan->state = SCAN_BODY;
}

unsigned mime_terminator(struct bytes line)
{
	if (line.data[line.len - 1] != '\n')
		return 0;
	return line.len > 1 && line.data[line.len - 2] == '\r' ? 2 : 1;
}

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

static void count_bare(struct body *body)
{
	body->counts.bare = true;
	body->counts.escapes++;
}

void mime_body_line(struct body *body, struct bytes line)
{
	body->terminator = mime_terminator(line);
	if (body->terminator == 1)
		count_bare(body);
	line.len -= body->terminator;
	begin_line(body, line);
	octets_count(&body->counts, line.data, line.len);
	if (line.len > MIME_LINE_MAX_OCTETS)
		body->long_line = true;
}

/* A piece of a line that is longer than MIME_HOLD_BYTES. Whether a CR at its end is a bare one shows the next piece. */
void mime_body_piece(struct body *body, struct bytes piece)
{
	bool after_cr = body->held_cr;

	body->long_line = true;
	body->held_cr = false;
	body->terminator = mime_terminator(piece);
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

void mime_body_long_line(struct body *body, struct bytes head)
{
	begin_line(body, head);
	mime_body_piece(body, head);
}

void mime_body_end(struct mime_scan *scan, bool delimited, bool part_follows)
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
	mime_decide_body(scan, end, part_follows);
}
