#include <string.h>

#include "appliance/relay/mime/codec.h"
#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/mime/scan_private.h"

#define CHUNK_OCTETS (32u << 10)

/* Copies the original between the edits and writes what they ask for; all of it passes the digest and a second scan. */
struct writer {
	const struct mime_scan *scan;
	const struct rendering_io *io;
	struct rendering *part;
	struct mime_scan *again;
	uint64_t encoded; /* octets written to the encoded body */
	struct buf chunk, out;
	struct err *err;
};

static void passes(struct writer *writer, struct bytes octets)
{
	writer->io->signed_octets(writer->io->arg, octets);
	mime_scan_feed(writer->again, octets);
}

static bool write_new(struct writer *writer, struct bytes octets)
{
	if (octets.len == 0)
		return true;
	passes(writer, octets);
	if (writer->encoded == 0 && writer->part->literal.len + octets.len <= RENDERING_LITERAL_MAX_BYTES) {
		rendering_add_literal(writer->part, octets);
		return true;
	}
	if (!writer->io->write_encoded(writer->io->arg, octets, writer->err))
		return false;
	rendering_add_range(writer->part, PIECE_ENCODED, writer->encoded, octets.len);
	writer->encoded += octets.len;
	return true;
}

/* Reads up to CHUNK_OCTETS of [from, to) into writer->chunk; an original that ends before `to` is not the one scanned. */
static bool read_chunk(struct writer *writer, uint64_t from, uint64_t to)
{
	size_t want = to - from < CHUNK_OCTETS ? (size_t)(to - from) : CHUNK_OCTETS;
	ssize_t got;

	buf_reset(&writer->chunk);
	buf_reserve(&writer->chunk, CHUNK_OCTETS);
	got = writer->io->read(writer->io->arg, writer->chunk.data, want, from, writer->err);
	if (got < 0)
		return false;
	if (got == 0)
		return err_set(writer->err, ERR_INTEGRITY, "the message ends at octet %llu of %llu", (unsigned long long)from,
			       (unsigned long long)to);
	writer->chunk.len = (size_t)got;
	return true;
}

static bool copy_original(struct writer *writer, uint64_t from, uint64_t to)
{
	rendering_add_range(writer->part, PIECE_ORIGINAL, from, to - from);
	while (from < to) {
		if (!read_chunk(writer, from, to))
			return false;
		passes(writer, buf_bytes(&writer->chunk));
		from += writer->chunk.len;
	}
	return true;
}

static bool encode_range(struct writer *writer, const struct mime_edit *edit)
{
	struct mime_codec codec;
	bool ok = true;

	mime_codec_init(&codec, edit->kind);
	for (uint64_t at = edit->offset; ok && at < edit->end; at += writer->chunk.len) {
		ok = read_chunk(writer, at, edit->end);
		if (!ok)
			break;
		buf_reset(&writer->out);
		mime_codec_put(&codec, buf_bytes(&writer->chunk), &writer->out);
		ok = write_new(writer, buf_bytes(&writer->out));
	}
	buf_reset(&writer->out);
	if (ok) {
		mime_codec_finish(&codec, &writer->out);
		if (edit->kind == MIME_EDIT_BASE64 && edit->end == mime_scan_size(writer->scan))
			buf_put_text(&writer->out, "\r\n");
		ok = write_new(writer, buf_bytes(&writer->out));
	}
	mime_codec_clear(&codec);
	return ok;
}

/* A long header line, read whole (MIME_FIELD_MAX_BYTES bounds it). */
static bool fold_line(struct writer *writer, const struct mime_edit *edit)
{
	struct buf line = {0};
	bool ok = true;

	for (uint64_t at = edit->offset; ok && at < edit->end; at += writer->chunk.len) {
		ok = read_chunk(writer, at, edit->end);
		if (!ok)
			break;
		buf_put_bytes(&line, buf_bytes(&writer->chunk));
	}
	buf_reset(&writer->out);
	if (ok)
		mime_fold_line(&line, &writer->out);
	buf_clear(&line);
	return ok && write_new(writer, buf_bytes(&writer->out));
}

static bool set_label(struct writer *writer, const struct mime_edit *edit)
{
	buf_reset(&writer->out);
	buf_printf(&writer->out, "Content-Transfer-Encoding: %s\r\n", edit->label);
	return write_new(writer, buf_bytes(&writer->out));
}

static bool apply(struct writer *writer, const struct mime_edit *edit)
{
	switch (edit->kind) {
	case MIME_EDIT_CTE:
		return set_label(writer, edit);
	case MIME_EDIT_DELETE:
	case MIME_EDIT_COLON:
		return true;
	case MIME_EDIT_FOLD:
		return fold_line(writer, edit);
	default:
		return encode_range(writer, edit);
	}
}

/* The index of the first edit that begins at or behind `offset`. */
static size_t first_edit(const struct mime_scan *scan, uint64_t offset)
{
	size_t low = 0, high = scan->n_edits;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (scan->edits[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* [from, to) of the original with the edits that begin in it. */
static bool write_range(struct writer *writer, uint64_t from, uint64_t to)
{
	const struct mime_scan *scan = writer->scan;

	for (size_t i = first_edit(scan, from); i < scan->n_edits && scan->edits[i].offset < to; i++) {
		if (!copy_original(writer, from, scan->edits[i].offset) || !apply(writer, &scan->edits[i]))
			return false;
		from = scan->edits[i].end;
	}
	return from >= to || copy_original(writer, from, to);
}

/* A field that ends the message may lack its CRLF; a label that replaces it has one. */
static bool write_field(struct writer *writer, const struct mime_field *field)
{
	const struct mime_scan *scan = writer->scan;
	struct bytes raw = mime_field_raw(scan, field);
	size_t i = first_edit(scan, field->offset);
	bool replaced = i < scan->n_edits && scan->edits[i].offset == field->offset && scan->edits[i].kind == MIME_EDIT_CTE;

	if (!write_range(writer, field->offset, field->end))
		return false;
	return replaced || raw.data[raw.len - 1] == '\n' || write_new(writer, bytes_text("\r\n"));
}

/* The label of a body without one stands in front of the empty line. */
static bool write_new_label(struct writer *writer)
{
	const struct mime_scan *scan = writer->scan;
	uint64_t body = scan->header.body_offset;

	for (size_t i = 0; i < scan->n_edits && scan->edits[i].offset < body; i++) {
		const struct mime_edit *edit = &scan->edits[i];

		if (edit->kind == MIME_EDIT_CTE && edit->offset == edit->end && !set_label(writer, edit))
			return false;
	}
	return true;
}

static bool write_head(struct writer *writer)
{
	const struct mime_scan *scan = writer->scan;

	for (size_t i = 0; i < scan->header.count; i++) {
		const struct mime_field *field = &scan->header.fields[i];

		if (!scan->moves[i] || bytes_equal_nocase(field->name, "content-md5"))
			continue;
		if (!write_field(writer, field))
			return false;
	}
	if (scan->head_default_edited && !write_new(writer, bytes_text(MIME_DEFAULT_CONTENT_TYPE)))
		return false;
	return write_new_label(writer) && write_new(writer, bytes_text("\r\n"));
}

static uint64_t signed_end(const struct mime_scan *scan)
{
	return scan->signed_end < scan->size ? scan->signed_end : scan->size;
}

static bool write_part(struct writer *writer)
{
	if (!write_head(writer) || !write_range(writer, writer->scan->header.body_offset, signed_end(writer->scan)))
		return false;
	mime_scan_finish(writer->again);
	if (mime_scan_verdict(writer->again) == MIME_FAST)
		return true;
	return err_set(writer->err, ERR_INTEGRITY, "a re-encoded message is not fit to be signed: %s",
		       mime_scan_verdict(writer->again) == MIME_UNSIGNABLE ? mime_scan_reason(writer->again)
									   : "it would have to be edited again");
}

static void add_fast(const struct mime_scan *scan, struct rendering *part)
{
	struct buf head = {0};

	mime_scan_signed_head(scan, &head);
	rendering_add_literal(part, buf_bytes(&head));
	rendering_add_range(part, PIECE_ORIGINAL, scan->header.body_offset, signed_end(scan) - scan->header.body_offset);
	buf_clear(&head);
}

bool rendering_signed_part(const struct mime_scan *scan, const struct rendering_io *io, struct rendering *part, struct err *err)
{
	struct writer writer = {.scan = scan, .io = io, .part = part, .err = err};
	bool ok;

	if (scan->verdict == MIME_UNSIGNABLE)
		return err_set(err, ERR_INVALID, "message cannot be signed: %s", mime_scan_reason(scan));
	if (scan->verdict == MIME_FAST) {
		add_fast(scan, part);
		return true;
	}
	writer.again = mime_scan_new();
	ok = write_part(&writer);
	mime_scan_free(writer.again);
	buf_clear(&writer.chunk);
	buf_clear(&writer.out);
	if (!ok)
		rendering_clear(part);
	return ok;
}
