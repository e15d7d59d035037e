#include "appliance/relay/delivery/smtp_dot.h"

#include <string.h>

/* The length of the rest of a line, its CRLF included, or of all that is there. Sets what smtp_dot knows at that point. */
static size_t line_length(struct smtp_dot *dot, struct bytes in)
{
	size_t at = 0;

	while (at < in.len) {
		const uint8_t *lf = memchr(in.data + at, '\n', in.len - at);

		if (lf == NULL)
			break;
		at = (size_t)(lf - in.data) + 1;
		if (at >= 2 ? in.data[at - 2] == '\r' : dot->cr) {
			*dot = (struct smtp_dot){0};
			return at;
		}
		dot->cr = false;
	}
	*dot = (struct smtp_dot){.within_line = true, .cr = in.data[in.len - 1] == '\r'};
	return in.len;
}

void smtp_dot_feed(struct smtp_dot *dot, struct bytes in, struct buf *out)
{
	buf_reserve(out, in.len + in.len / 64 + 2);
	while (in.len > 0) {
		size_t len;

		if (!dot->within_line && in.data[0] == '.')
			buf_put_byte(out, '.');
		len = line_length(dot, in);
		buf_put(out, in.data, len);
		in = bytes_slice(in, len, in.len);
	}
}

void smtp_dot_finish(struct smtp_dot *dot, struct buf *out)
{
	buf_put_text(out, dot->within_line ? "\r\n.\r\n" : ".\r\n");
	*dot = (struct smtp_dot){0};
}
