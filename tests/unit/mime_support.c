#include "tests/unit/mime_support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const verdict_names[] = {"fast", "reencode", "unsignable"};

struct mime_scan *scan_in_pieces(struct bytes message, size_t piece)
{
	struct mime_scan *scan = mime_scan_new();

	for (size_t i = 0; i < message.len; i += piece < message.len ? piece : message.len)
		mime_scan_feed(scan, bytes_slice(message, i, piece < message.len - i ? i + piece : message.len));
	mime_scan_finish(scan);
	return scan;
}

struct mime_scan *scan_text(const char *text)
{
	return scan_in_pieces(bytes_text(text), FEED_WHOLE);
}

/* ---- Rendering into memory ---- */

ssize_t memory_read(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	struct memory_io *io = arg;
	struct bytes part = bytes_slice(io->original, offset, offset + len);

	(void)err;
	if (io->read_at_most > 0 && part.len > io->read_at_most)
		part.len = io->read_at_most;
	if (part.len > 0)
		memcpy(data, part.data, part.len);
	return (ssize_t)part.len;
}

bool memory_write(void *arg, struct bytes octets, struct err *err)
{
	(void)err;
	buf_put_bytes(&((struct memory_io *)arg)->encoded, octets);
	return true;
}

void memory_hash(void *arg, struct bytes octets)
{
	buf_put_bytes(&((struct memory_io *)arg)->hashed, octets);
}

void memory_io_clear(struct memory_io *io)
{
	buf_clear(&io->encoded);
	buf_clear(&io->hashed);
}

void flatten(const struct rendering *rendering, struct bytes original, struct bytes encoded, struct buf *out)
{
	for (size_t i = 0; i < rendering->count; i++) {
		const struct piece *piece = &rendering->pieces[i];
		struct bytes from = piece->source == PIECE_ORIGINAL  ? original
				    : piece->source == PIECE_LITERAL ? buf_bytes(&rendering->literal)
								     : encoded;

		CHECK(piece->offset + piece->length <= from.len);
		buf_put_bytes(out, bytes_slice(from, piece->offset, piece->offset + piece->length));
	}
	CHECK_INT(out->len, rendering->size);
}

/* The signed part as octets; also checks that exactly these were hashed when the writer had to write. */
bool render_part(const struct mime_scan *scan, struct bytes message, struct buf *out)
{
	struct memory_io memory = {.original = message};
	struct rendering_io io = {memory_read, memory_write, memory_hash, &memory};
	struct rendering part = {0};
	struct err err;
	bool ok = CHECK_OK(rendering_signed_part(scan, &io, &part, &err), &err);

	if (ok) {
		flatten(&part, message, buf_bytes(&memory.encoded), out);
		if (mime_scan_verdict(scan) == MIME_REENCODE)
			CHECK_BYTES(buf_bytes(&memory.hashed), buf_bytes(out));
		else
			CHECK_INT(memory.hashed.len, 0);
	}
	rendering_clear(&part);
	memory_io_clear(&memory);
	return ok;
}

/* The whole signed message around `cms`. */
bool render_message(const struct mime_scan *scan, struct bytes message, struct bytes cms, struct buf *out)
{
	struct memory_io memory = {.original = message};
	struct rendering_io io = {memory_read, memory_write, memory_hash, &memory};
	struct rendering part = {0}, whole = {0};
	char boundary[RENDERING_BOUNDARY_BYTES];
	struct err err;
	bool ok = CHECK_OK(rendering_signed_part(scan, &io, &part, &err), &err) &&
		  CHECK_OK(rendering_new_boundary(boundary, &err), &err);

	if (ok) {
		rendering_signed_message(scan, &part, "sha-256", boundary, cms, &whole);
		flatten(&whole, message, buf_bytes(&memory.encoded), out);
	}
	rendering_clear(&part);
	rendering_clear(&whole);
	memory_io_clear(&memory);
	return ok;
}

/* ---- The corpus ---- */

/* The octets as an SMTP client sends them: CRLF line ends, one at the end. */
void as_sent(struct bytes file, struct buf *out)
{
	for (size_t i = 0; i < file.len; i++) {
		bool crlf = file.data[i] == '\r' && i + 1 < file.len && file.data[i + 1] == '\n';

		if (file.data[i] == '\r' || file.data[i] == '\n') {
			buf_put_text(out, "\r\n");
			i += crlf;
		} else {
			buf_put_byte(out, file.data[i]);
		}
	}
	if (out->len < 2 || memcmp(out->data + out->len - 2, "\r\n", 2) != 0)
		buf_put_text(out, "\r\n");
}

static const char *const corpus_folders[] = {"cpython-test_email", "enmime", "james-mime4j", "ruby-mail", "zbateson-mmp"};

static int ends_eml(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 4 && strcmp(entry->d_name + len - 4, ".eml") == 0;
}

/* Calls `visit` for each message of ../shared/corpus as it would be sent; returns how many there were. */
unsigned each_corpus_message(void (*visit)(const char *name, struct bytes message, void *arg), void *arg)
{
	const char *shared = test_shared();
	unsigned count = 0;

	for (size_t f = 0; shared != NULL && f < sizeof corpus_folders / sizeof *corpus_folders; f++) {
		char *folder = mem_format("%s/corpus/%s", shared, corpus_folders[f]);
		struct dirent **entries = NULL;
		int n = scandir(folder, &entries, ends_eml, alphasort);

		for (int i = 0; i < n; i++) {
			char *path = mem_format("%s/%s", folder, entries[i]->d_name);
			struct buf file = {0}, message = {0};

			if (CHECK(test_read_file(path, &file))) {
				as_sent(buf_bytes(&file), &message);
				test_case("%s", entries[i]->d_name);
				visit(entries[i]->d_name, buf_bytes(&message), arg);
				count++;
			}
			buf_clear(&file);
			buf_clear(&message);
			free(path);
			free(entries[i]);
		}
		free(entries);
		free(folder);
	}
	return count;
}

/* ---- verify/compare ---- */

void pairs_add(struct pairs *pairs, const char *name, const struct mime_scan *scan, struct bytes message)
{
	static const uint8_t cms[1800] = {0x30, 0x82};
	char *original = mem_format("%s/%s.original", pairs->folder, name),
	     *signed_path = mem_format("%s/%s.signed", pairs->folder, name);
	struct buf signed_message = {0};

	if (render_message(scan, message, bytes_of(cms, sizeof cms), &signed_message)) {
		CHECK(test_write_file(original, message));
		CHECK(test_write_file(signed_path, buf_bytes(&signed_message)));
		pairs->written++;
	}
	free(original);
	free(signed_path);
	buf_clear(&signed_message);
}

static void take_difference(struct pairs *pairs, const char *line)
{
	if (strstr(line, ": content-length: ") != NULL)
		pairs->content_length++;
	else if (strchr(line, '\t') != NULL)
		CHECK_TEXT(line, "");
}

void pairs_compare(struct pairs *pairs, const char *options)
{
	char *command = mem_format("/usr/bin/python3 tests/unit/mime_compare.py %s %s %s", options, test_shared(), pairs->folder),
	     *compared = mem_format("compared %u\n", pairs->written), line[1024], last[1024] = "";
	FILE *output = popen(command, "r");

	if (CHECK(output != NULL)) {
		while (fgets(line, sizeof line, output) != NULL) {
			take_difference(pairs, line);
			snprintf(last, sizeof last, "%s", line);
		}
		CHECK_INT(pclose(output), 0);
	}
	CHECK_TEXT(last, compared);
	free(compared);
	free(command);
}

/* ---- The properties that every message has (mime.md §5) ---- */

static bool same_edits(const struct mime_scan *a, const struct mime_scan *b)
{
	size_t n, m;
	const struct mime_edit *left = mime_scan_edits(a, &n), *right = mime_scan_edits(b, &m);

	if (n != m)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (left[i].offset != right[i].offset || left[i].end != right[i].end || left[i].kind != right[i].kind ||
		    left[i].label != right[i].label)
			return false;
	}
	return true;
}

void check_same_scan(const struct mime_scan *a, const struct mime_scan *b)
{
	struct buf left = {0}, right = {0};

	CHECK_INT(mime_scan_verdict(a), mime_scan_verdict(b));
	CHECK_TEXT(mime_scan_reason(a), mime_scan_reason(b));
	CHECK_INT(mime_scan_signed_end(a), mime_scan_signed_end(b));
	CHECK_INT(mime_scan_header(a)->count, mime_scan_header(b)->count);
	CHECK_INT(mime_scan_header(a)->body_offset, mime_scan_header(b)->body_offset);
	CHECK_INT(mime_scan_header(a)->malformed, mime_scan_header(b)->malformed);
	CHECK_INT(mime_scan_has_8bit(a), mime_scan_has_8bit(b));
	CHECK_INT(mime_scan_noted(a, NULL), mime_scan_noted(b, NULL));
	CHECK(same_edits(a, b));
	mime_scan_signed_head(a, &left);
	mime_scan_signed_head(b, &right);
	CHECK_BYTES(buf_bytes(&left), buf_bytes(&right));
	buf_clear(&left);
	buf_clear(&right);
}

static void check_edit_order(const struct mime_scan *scan)
{
	uint64_t last = 0;
	size_t n;
	const struct mime_edit *edits = mime_scan_edits(scan, &n);

	for (size_t i = 0; i < n; i++) {
		CHECK(edits[i].offset >= last && edits[i].end >= edits[i].offset);
		CHECK(edits[i].end <= mime_scan_size(scan));
		last = edits[i].end;
	}
}

static void check_fast_part(const struct mime_scan *scan, struct bytes message, struct bytes part)
{
	uint64_t body = mime_scan_header(scan)->body_offset, end = mime_scan_signed_end(scan);
	struct buf want = {0};

	mime_scan_signed_head(scan, &want);
	buf_put_bytes(&want, bytes_slice(message, body, end < message.len ? end : message.len));
	CHECK_BYTES(part, buf_bytes(&want));
	buf_clear(&want);
}

/* Scanning the output says fast, and rendering it again changes nothing. */
static void check_output(struct bytes part)
{
	struct mime_scan *again = scan_in_pieces(part, FEED_WHOLE);
	struct buf twice = {0};

	CHECK_TEXT(verdict_names[mime_scan_verdict(again)], "fast");
	if (render_part(again, part, &twice))
		CHECK_BYTES(buf_bytes(&twice), part);
	buf_clear(&twice);
	mime_scan_free(again);
}

/* The ranges of the body that are copied are exactly those between the edits. */
static void check_gaps(const struct mime_scan *scan, const struct rendering *part, uint64_t end)
{
	uint64_t body = mime_scan_header(scan)->body_offset, at = body;
	size_t n, next = 0;
	const struct mime_edit *edits = mime_scan_edits(scan, &n);

	for (size_t i = 0; i <= n; i++) {
		uint64_t gap_end = i < n && edits[i].offset < end ? edits[i].offset : end;

		if (gap_end < at)
			continue;
		while (next < part->count && (part->pieces[next].source != PIECE_ORIGINAL || part->pieces[next].offset < body))
			next++;
		if (gap_end > at && CHECK(next < part->count)) {
			CHECK_INT(part->pieces[next].offset, at);
			CHECK_INT(part->pieces[next].length, gap_end - at);
			next++;
		}
		at = i < n ? edits[i].end : end;
	}
	for (; next < part->count; next++)
		CHECK(part->pieces[next].source != PIECE_ORIGINAL);
}

static void check_only_edits(const struct mime_scan *scan, struct bytes message)
{
	struct memory_io memory = {.original = message, .read_at_most = 1000};
	struct rendering_io io = {memory_read, memory_write, memory_hash, &memory};
	uint64_t end = mime_scan_signed_end(scan);
	struct rendering part = {0};
	struct err err;

	if (CHECK_OK(rendering_signed_part(scan, &io, &part, &err), &err))
		check_gaps(scan, &part, end < message.len ? end : message.len);
	rendering_clear(&part);
	memory_io_clear(&memory);
}

void check_properties(const struct mime_scan *scan, struct bytes message)
{
	struct buf part = {0};
	struct rendering none = {0};
	struct err err = {0};
	size_t n;

	mime_scan_edits(scan, &n);
	CHECK_INT(n > 0, mime_scan_verdict(scan) == MIME_REENCODE);
	CHECK_INT(mime_scan_reason(scan)[0] != '\0', mime_scan_verdict(scan) == MIME_UNSIGNABLE);
	check_edit_order(scan);
	if (mime_scan_verdict(scan) == MIME_UNSIGNABLE) {
		CHECK(!rendering_signed_part(scan, NULL, &none, &err));
		CHECK_CONTAINS(err.text, mime_scan_reason(scan));
		CHECK_INT(none.count, 0);
	} else if (render_part(scan, message, &part)) {
		if (mime_scan_verdict(scan) == MIME_FAST)
			check_fast_part(scan, message, buf_bytes(&part));
		else
			check_only_edits(scan, message);
		if (!mime_scan_header(scan)->malformed) /* such a message is refused */
			check_output(buf_bytes(&part));
	}
	buf_clear(&part);
}
