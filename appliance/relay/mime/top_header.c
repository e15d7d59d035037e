#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

void mime_top_clear(struct mime_scan *scan)
{
	buf_clear(&scan->top_octets);
	free(scan->top_fields);
	free(scan->header.fields);
	free(scan->moves);
}

void mime_top_octets(struct mime_scan *scan, struct bytes octets)
{
	size_t room = MIME_HEADER_MAX_BYTES - scan->top_octets.len;

	buf_put_bytes(&scan->top_octets, bytes_slice(octets, 0, room));
	if (octets.len <= room)
		return;
	scan->header.too_large = true;
	mime_unsignable(scan, "a header over 256 KiB");
	mime_top_complete(scan, scan->line_offset);
	scan->state = SCAN_IGNORE;
}

void mime_top_field(struct mime_scan *scan, uint64_t offset, uint64_t end)
{
	if (scan->n_top_fields == scan->top_capacity) {
		scan->top_capacity = scan->top_capacity > 0 ? 2 * scan->top_capacity : 32;
		scan->top_fields = mem_resize(scan->top_fields, scan->top_capacity, sizeof *scan->top_fields);
	}
	scan->top_fields[scan->n_top_fields++] = (struct raw_field){offset, end};
}

/* ---- Completion: from offsets to views ---- */

static struct bytes without_crlf(struct bytes raw)
{
	if (raw.len >= 2 && memcmp(raw.data + raw.len - 2, "\r\n", 2) == 0)
		raw.len -= 2;
	return raw;
}

static struct mime_field view_field(const struct mime_scan *scan, struct raw_field raw)
{
	struct bytes octets = bytes_slice(buf_bytes(&scan->top_octets), raw.offset, raw.end);
	struct mime_field field = {.value = without_crlf(octets), .offset = raw.offset, .end = raw.end};
	size_t colon;

	if (mime_split_field(octets, &field.name, &colon))
		field.value = bytes_slice(field.value, colon + 1, field.value.len);
	return field;
}

static int compare_names(struct bytes a, struct bytes b)
{
	int order = strncasecmp((const char *)a.data, (const char *)b.data, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name_then_place(const void *a, const void *b)
{
	const struct mime_field *left = *(const struct mime_field *const *)a, *right = *(const struct mime_field *const *)b;
	int order = compare_names(left->name, right->name);

	return order != 0 ? order : (left > right) - (left < right);
}

static bool belongs_inside(const struct mime_field *field)
{
	return bytes_starts_nocase(field->name, "content-") && !bytes_equal_nocase(field->name, "content-length");
}

/* Of each Content-* field the first; the others and Content-Length (of mbox files) are dropped. */
static void choose_moving(struct mime_scan *scan)
{
	const struct mime_field **inside = mem_new_array(scan->header.count, sizeof *inside);
	size_t n = 0;

	for (size_t i = 0; i < scan->header.count; i++) {
		if (belongs_inside(&scan->header.fields[i]))
			inside[n++] = &scan->header.fields[i];
	}
	qsort(inside, n, sizeof *inside, by_name_then_place);
	for (size_t i = 0; i < n; i++) {
		bool first = i == 0 || compare_names(inside[i - 1]->name, inside[i]->name) != 0;

		scan->moves[inside[i] - scan->header.fields] = first;
		if (!first)
			mime_note(scan, "a Content field occurs twice: the first one was signed");
	}
	free(inside);
}

void mime_top_complete(struct mime_scan *scan, uint64_t body_offset)
{
	struct mime_header *header = &scan->header;

	header->count = scan->n_top_fields;
	header->fields = mem_new_array(header->count, sizeof *header->fields);
	for (size_t i = 0; i < header->count; i++)
		header->fields[i] = view_field(scan, scan->top_fields[i]);
	header->body_offset = body_offset;
	header->has_nul = scan->top_octets.len > 0 && memchr(scan->top_octets.data, '\0', scan->top_octets.len) != NULL;
	scan->moves = mem_new_array(header->count, sizeof *scan->moves);
	choose_moving(scan);
	if (scan->entity.cte_conflict) /* the first one would be kept, where others may believe the last */
		mime_unsignable(scan, "conflicting Content-Transfer-Encoding fields");
	scan->head_default = scan->entity.n_types == 0 && scan->entity.cte == CTE_IDENTITY;
	scan->head_default_edited = scan->head_default;
	scan->header_complete = true;
}

/* ---- Use ---- */

const struct mime_field *mime_header_find(const struct mime_header *header, const char *name, size_t *count)
{
	const struct mime_field *found = NULL;
	size_t n = 0;

	for (size_t i = 0; i < header->count; i++) {
		if (!bytes_equal_nocase(header->fields[i].name, name))
			continue;
		if (n++ == 0)
			found = &header->fields[i];
	}
	if (count != NULL)
		*count = n;
	return found;
}

void mime_field_unfold(struct buf *out, const struct mime_field *field)
{
	struct bytes trimmed;

	mime_unfold(out, field->value);
	trimmed = bytes_trim(buf_bytes(out));
	if (trimmed.len > 0)
		memmove(out->data, trimmed.data, trimmed.len);
	out->len = trimmed.len;
}

struct bytes mime_field_raw(const struct mime_scan *scan, const struct mime_field *field)
{
	return bytes_slice(buf_bytes(&scan->top_octets), field->offset, field->end);
}

void mime_scan_signed_head(const struct mime_scan *scan, struct buf *out)
{
	for (size_t i = 0; i < scan->header.count; i++) {
		if (!scan->moves[i])
			continue;
		buf_put_bytes(out, without_crlf(mime_field_raw(scan, &scan->header.fields[i])));
		buf_put_text(out, "\r\n");
	}
	if (scan->head_default)
		buf_put_text(out, MIME_DEFAULT_CONTENT_TYPE);
	buf_put_text(out, "\r\n");
}
