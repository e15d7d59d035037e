#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

#include <string.h>

void mime_header_begin(struct mime_scan *scan, bool top, enum media media)
{
	struct media_type type = scan->entity.type;

	media_type_reset(&type, media);
	scan->entity = (struct entity){.top = top, .type = type, .cte = CTE_IDENTITY};
	scan->state = SCAN_HEADER;
	scan->header_begun = scan->field_open = false;
}

/* ---- Is a field fit to be signed? ---- */

static bool has_bare(struct bytes raw)
{
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.data[i] == '\r' && i + 1 < raw.len && raw.data[i + 1] == '\n')
			i++;
		else if (raw.data[i] == '\r' || raw.data[i] == '\n')
			return true;
	}
	return false;
}

/* Nothing is folded in front of the colon, and no line of blanks alone is made. */
size_t mime_fold_at(struct bytes line, size_t from)
{
	size_t i = from + 1, best = 0, end = line.len, colon;
	struct bytes name;

	if (line.len - from <= MIME_LINE_MAX_OCTETS)
		return line.len;
	if (from == 0 && mime_split_field(line, &name, &colon))
		i = colon + 1;
	while (end > 0 && mime_is_blank(line.data[end - 1]))
		end--;
	for (; i < end && i - from <= MIME_LINE_MAX_OCTETS; i++) {
		if (mime_is_blank(line.data[i]) && !mime_is_blank(line.data[i - 1]))
			best = i;
	}
	return best;
}

static bool is_foldable(struct bytes line)
{
	for (size_t at = 0; at < line.len;) {
		at = mime_fold_at(line, at);
		if (at == 0)
			return false;
	}
	return true;
}

static void strip_colon(struct buf *line)
{
	struct bytes name;
	size_t colon;

	if (!mime_split_field(buf_bytes(line), &name, &colon))
		return;
	memmove(line->data + name.len, line->data + colon, line->len - colon);
	line->len -= colon - name.len;
}

void mime_fold_line(struct buf *line, struct buf *out)
{
	struct bytes text;
	size_t at = 0, next;

	strip_colon(line);
	text = buf_bytes(line);
	while (at < text.len && (next = mime_fold_at(text, at)) > at) {
		if (at > 0)
			buf_put_text(out, "\r\n");
		buf_put_bytes(out, bytes_slice(text, at, next));
		at = next;
	}
}

static void check_line(struct mime_scan *scan, struct bytes line, uint64_t offset)
{
	if (line.len <= MIME_LINE_MAX_OCTETS)
		return;
	if (!is_foldable(line))
		mime_unsignable(scan, "a part header line over 998 octets that cannot be folded");
	mime_edit(scan, EDIT_HARD, (struct mime_edit){.offset = offset, .end = offset + line.len, .kind = MIME_EDIT_FOLD});
}

static void check_lines(struct mime_scan *scan, struct bytes raw)
{
	uint64_t offset = scan->field_offset;

	if (raw.len <= MIME_LINE_MAX_OCTETS)
		return;
	while (raw.len > 0) {
		const uint8_t *lf = memchr(raw.data, '\n', raw.len);
		size_t len = lf != NULL ? (size_t)(lf - raw.data) : raw.len, next = len + (lf != NULL);

		if (lf != NULL && len > 0 && raw.data[len - 1] == '\r')
			len--;
		check_line(scan, bytes_slice(raw, 0, len), offset);
		offset += next;
		raw = bytes_slice(raw, next, raw.len);
	}
}

static void check_field(struct mime_scan *scan, struct bytes raw)
{
	if (scan->field_too_long)
		mime_unsignable(scan, "a part header field over 64 KiB");
	if (memchr(raw.data, '\0', raw.len) != NULL)
		mime_unsignable(scan, "NUL in a part header");
	if (has_bare(raw))
		mime_unsignable(scan, "a bare CR or LF in a part header");
	if (octets_any_8bit(raw.data, raw.len))
		mime_note(scan, "raw 8-bit octets in a part header");
	check_lines(scan, raw);
}

/* ---- What a field says ---- */

static void take_content_type(struct mime_scan *scan, struct bytes value)
{
	struct entity *entity = &scan->entity;

	if (entity->n_types++ > 0) {
		if (entity->top)
			scan->root_types = "two Content-Type fields";
		else
			mime_ambiguous(scan, "two Content-Type fields");
		mime_note(scan, "several Content-Type fields: the first one counts");
		return;
	}
	media_type_parse(&entity->type, value);
	if (entity->type.ambiguous)
		mime_ambiguous(scan, "a Content-Type whose boundary readers may disagree about");
}

static void take_cte(struct mime_scan *scan, struct bytes value, struct cte_field field)
{
	struct entity *entity = &scan->entity;
	struct cte_label label = cte_label_parse(value);

	if (field.end - field.offset > MIME_LINE_MAX_OCTETS) /* it could have to be folded and replaced */
		mime_unsignable(scan, "a Content-Transfer-Encoding field over 998 octets");
	if (entity->n_ctes == 0)
		entity->cte = label.cte;
	else if (entity->cte != label.cte)
		entity->cte_conflict = true;
	entity->wide = entity->wide || label.wide;
	if (entity->n_ctes == MIME_CTE_FIELDS_MAX)
		entity->cte_conflict = true;
	else
		entity->ctes[entity->n_ctes++] = field;
}

/* Blanks before the colon are removed by later systems. Where the line is folded as well, folding removes them. */
static void mend_colon(struct mime_scan *scan, struct bytes raw, size_t name_end, size_t colon)
{
	const uint8_t *lf = memchr(raw.data, '\n', raw.len);
	size_t first_line = lf != NULL ? (size_t)(lf - raw.data) - 1 : raw.len;

	if (name_end == colon || first_line > MIME_LINE_MAX_OCTETS)
		return;
	mime_edit(scan, EDIT_HARD,
		  (struct mime_edit){
		      .offset = scan->field_offset + name_end, .end = scan->field_offset + colon, .kind = MIME_EDIT_COLON});
}

static void finish_field(struct mime_scan *scan)
{
	struct bytes raw = buf_bytes(&scan->field), name = {0}, value;
	uint64_t offset = scan->field_offset, end = scan->line_offset;
	size_t colon = 0;
	bool named;

	if (!scan->field_open)
		return;
	scan->field_open = false;
	named = mime_split_field(raw, &name, &colon);
	if (scan->entity.top) {
		mime_top_field(scan, offset, end);
		if (has_bare(raw))
			scan->header.malformed = true;
		if (!named || !bytes_starts_nocase(name, "content-"))
			return;
	}
	check_field(scan, raw);
	if (!named)
		return;
	value = bytes_slice(raw, colon + 1, raw.len);
	if (bytes_equal_nocase(name, "content-transfer-encoding")) {
		take_cte(scan, value, (struct cte_field){offset, end, offset + name.len, offset + colon});
		return;
	}
	mend_colon(scan, raw, name.len, colon);
	if (bytes_equal_nocase(name, "content-type"))
		take_content_type(scan, value);
}

/* ---- Lines ---- */

void mime_header_more(struct mime_scan *scan, struct bytes piece)
{
	size_t room = MIME_FIELD_MAX_BYTES - scan->field.len;

	if (scan->entity.top)
		mime_top_octets(scan, piece);
	scan->field_too_long = scan->field_too_long || piece.len > room;
	buf_put_bytes(&scan->field, bytes_slice(piece, 0, room));
}

static void begin_field(struct mime_scan *scan)
{
	finish_field(scan);
	buf_reset(&scan->field);
	scan->field_offset = scan->line_offset;
	scan->field_open = true;
	scan->field_too_long = false;
}

bool mime_header_takes(struct mime_scan *scan, struct bytes line)
{
	struct bytes name;
	size_t colon;

	if (mime_is_blank(line.data[0])) {
		if (!scan->field_open)
			return false;
		if (!scan->entity.top && bytes_trim(line).len == 0)
			mime_ambiguous(scan, "a part header line of blanks");
	} else if (mime_split_field(line, &name, &colon) || (!scan->header_begun && mime_is_mbox_line(line))) {
		begin_field(scan);
	} else {
		return false;
	}
	scan->header_begun = true;
	mime_header_more(scan, line);
	return true;
}

void mime_header_empty_line(struct mime_scan *scan, struct bytes line)
{
	if (line.len == 2)
		return;
	if (scan->entity.top)
		scan->header.malformed = true;
	else
		mime_unsignable(scan, "a bare CR or LF in a part header");
}

void mime_header_finish(struct mime_scan *scan, enum header_end ended)
{
	finish_field(scan);
	scan->entity.ended = ended;
	scan->entity.insert_at = scan->line_offset;
	if (ended != HEADER_GARBAGE)
		return;
	mime_ambiguous(scan, "a part header that no empty line ends");
	if (scan->entity.top)
		scan->header.malformed = true;
}
