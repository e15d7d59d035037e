#include <string.h>

#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

/* Delimiters of multiparts (RFC 2046 §5.1.1). */

/* A boundary that an open multipart has as well, or whose delimiter is the closing one of an open multipart. */
bool mime_boundary_is_taken(const struct mime_scan *scan, struct bytes boundary)
{
	for (size_t i = 0; i < scan->n_frames; i++) {
		struct bytes open = buf_bytes(&scan->frames[i].boundary);

		if (boundary.len < open.len || memcmp(boundary.data, open.data, open.len) != 0)
			continue;
		if (boundary.len == open.len || bytes_equal_text(bytes_slice(boundary, open.len, boundary.len), "--"))
			return true;
	}
	return false;
}

static struct bytes without_end(struct bytes line)
{
	line.len -= mime_terminator(line);
	while (line.len > 0 && mime_is_blank(line.data[line.len - 1]))
		line.len--;
	return line;
}

/* Innermost first. A line that only begins with a boundary is a delimiter for some readers: ambiguous. */
enum delimiter mime_delimiter_match(struct mime_scan *scan, struct bytes line, size_t *level)
{
	struct bytes text;
	bool begins = false;

	if (scan->n_frames == 0 || line.len < 3 || line.data[0] != '-' || line.data[1] != '-')
		return DELIMITER_NONE;
	text = without_end(line);

	for (size_t i = scan->n_frames; i-- > 0;) {
		const struct buf *boundary = &scan->frames[i].boundary;
		size_t rest = text.len - 2 - boundary->len;

		if (text.len < 2 + boundary->len || memcmp(text.data + 2, boundary->data, boundary->len) != 0)
			continue;
		*level = i;
		if (rest == 0)
			return DELIMITER_OPEN;
		if (rest == 2 && memcmp(text.data + text.len - 2, "--", 2) == 0)
			return DELIMITER_CLOSE;
		begins = true;
	}
	if (begins)
		mime_ambiguous(scan, "a line that begins like a delimiter");
	return DELIMITER_NONE;
}

void mime_delimiter_check(struct mime_scan *scan, struct bytes line)
{
	unsigned terminator = mime_terminator(line);

	if (octets_any_8bit(line.data, line.len))
		mime_unsignable(scan, "8-bit octets in a boundary");
	if (line.len - terminator > MIME_LINE_MAX_OCTETS)
		mime_unsignable(scan, "a delimiter line over 998 octets");
	if (terminator == 1)
		mime_unsignable(scan, "a bare LF behind a delimiter");
}
