#include "appliance/relay/mime/scan_private.h"

#include <stdlib.h>
#include <string.h>

struct mime_scan *mime_scan_new(void)
{
	struct mime_scan *scan = mem_new(sizeof *scan);

	scan->signed_end = UINT64_MAX;
	mime_structure_begin(scan);
	return scan;
}

void mime_scan_free(struct mime_scan *scan)
{
	if (scan == NULL)
		return;
	for (size_t i = 0; i < MIME_DEPTH_MAX; i++)
		buf_clear(&scan->frames[i].boundary);
	buf_clear(&scan->entity.type.boundary);
	buf_clear(&scan->root_type.boundary);
	buf_clear(&scan->held);
	buf_clear(&scan->field);
	buf_clear(&scan->kept);
	mime_top_clear(scan);
	free(scan->edits);
	free(scan);
}

static void note_length(struct mime_scan *scan, uint64_t length)
{
	if (length > scan->longest_line)
		scan->longest_line = length;
}

/* A line is looked at whole up to MIME_HOLD_BYTES; how longer ones are treated does not depend on how they are fed. */
static void take_line(struct mime_scan *scan, struct bytes line)
{
	note_length(scan, line.len);
	mime_structure_line(scan, line);
	scan->line_offset += line.len;
}

static void take_more(struct mime_scan *scan, struct bytes piece, bool ends)
{
	if (piece.len > 0)
		mime_structure_long_more(scan, piece);
	scan->line_offset += piece.len;
	scan->in_long_line = !ends;
	note_length(scan, scan->line_offset - scan->long_offset);
}

static void take_long(struct mime_scan *scan, struct bytes head)
{
	scan->long_offset = scan->line_offset;
	mime_structure_long_line(scan, head);
	scan->line_offset += head.len;
	scan->in_long_line = true;
}

/* A piece that begins a line or goes on with a held one; `ends` when its last octet is LF. */
static void hold(struct mime_scan *scan, struct bytes piece, bool ends)
{
	size_t room = MIME_HOLD_BYTES - scan->held.len;
	bool fits = piece.len <= room;

	buf_put_bytes(&scan->held, bytes_slice(piece, 0, room));
	if (fits && !ends)
		return;
	if (fits)
		take_line(scan, buf_bytes(&scan->held));
	else
		take_long(scan, buf_bytes(&scan->held));
	buf_reset(&scan->held);
	if (!fits)
		take_more(scan, bytes_slice(piece, room, piece.len), ends);
}

void mime_scan_feed(struct mime_scan *scan, struct bytes octets)
{
	const uint8_t *at = octets.data, *end = octets.data + octets.len;

	scan->size += octets.len;
	scan->has_8bit = scan->has_8bit || octets_any_8bit(octets.data, octets.len);
	while (at < end && scan->state != SCAN_IGNORE) {
		const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
		struct bytes piece = bytes_of(at, (size_t)((lf != NULL ? lf + 1 : end) - at));

		if (scan->in_long_line)
			take_more(scan, piece, lf != NULL);
		else if (lf != NULL && scan->held.len == 0 && piece.len <= MIME_HOLD_BYTES)
			take_line(scan, piece);
		else
			hold(scan, piece, lf != NULL);
		at += piece.len;
	}
}

void mime_scan_finish(struct mime_scan *scan)
{
	if (scan->finished)
		return;
	scan->finished = true;
	if (scan->held.len > 0 && scan->state != SCAN_IGNORE)
		take_line(scan, buf_bytes(&scan->held));
	buf_clear(&scan->held);
	if (scan->state != SCAN_IGNORE)
		mime_structure_finish(scan);
	mime_settle(scan);
}

uint64_t mime_scan_signed_end(const struct mime_scan *scan)
{
	return scan->signed_end;
}

uint64_t mime_scan_longest_line(const struct mime_scan *scan)
{
	return scan->longest_line;
}

uint64_t mime_scan_size(const struct mime_scan *scan)
{
	return scan->size;
}

bool mime_scan_has_8bit(const struct mime_scan *scan)
{
	return scan->has_8bit;
}

bool mime_scan_header_complete(const struct mime_scan *scan)
{
	return scan->header_complete;
}

const struct mime_header *mime_scan_header(const struct mime_scan *scan)
{
	return &scan->header;
}

enum mime_verdict mime_scan_verdict(const struct mime_scan *scan)
{
	return scan->verdict;
}

const char *mime_scan_reason(const struct mime_scan *scan)
{
	return scan->verdict == MIME_UNSIGNABLE ? scan->reason : "";
}

bool mime_scan_noted(const struct mime_scan *scan, const char **note)
{
	if (note != NULL)
		*note = scan->note != NULL ? scan->note : "";
	return scan->note != NULL;
}

const struct mime_edit *mime_scan_edits(const struct mime_scan *scan, size_t *count)
{
	*count = scan->n_edits;
	return scan->edits;
}
