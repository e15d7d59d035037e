#include "appliance/relay/smtp/smtp_line.h"

static enum smtp_line_event fault(struct smtp_line *line, enum smtp_line_event event, uint8_t octet)
{
	line->skipping = true;
	line->after_cr = octet == '\r';
	buf_wipe_clear(&line->text);
	return event;
}

static enum smtp_line_event skip(struct smtp_line *line, uint8_t octet)
{
	bool line_end = octet == '\n' && line->after_cr;

	line->after_cr = octet == '\r';
	if (line_end)
		line->skipping = false;
	return octet == '\n' && !line_end ? SMTP_LINE_BARE_LF : SMTP_LINE_MORE;
}

static enum smtp_line_event take(struct smtp_line *line, uint8_t octet)
{
	if (line->skipping)
		return skip(line, octet);
	if (octet == '\n' && line->after_cr) {
		line->after_cr = false;
		line->ready = true;
		return SMTP_LINE_READY;
	}
	if (line->after_cr)
		return fault(line, SMTP_LINE_BARE_CR, octet);
	if (octet == '\n')
		return fault(line, SMTP_LINE_BARE_LF, octet);
	if (octet == '\0')
		return fault(line, SMTP_LINE_NUL, octet);
	if (octet == '\r') {
		line->after_cr = true;
		return SMTP_LINE_MORE;
	}
	if (line->text.len + 2 == line->max)
		return fault(line, SMTP_LINE_TOO_LONG, octet);
	buf_put_byte(&line->text, octet);
	return SMTP_LINE_MORE;
}

size_t smtp_line_feed(struct smtp_line *line, struct bytes in, enum smtp_line_event *event)
{
	if (line->ready) {
		line->ready = false;
		buf_reset(&line->text);
	}
	if (line->text.capacity == 0)
		buf_reserve(&line->text, line->max); /* never moved, so that no copy of a password is left behind */
	*event = SMTP_LINE_MORE;
	for (size_t i = 0; i < in.len; i++) {
		*event = take(line, in.data[i]);
		if (*event != SMTP_LINE_MORE)
			return i + 1;
	}
	return in.len;
}

struct bytes smtp_line_text(const struct smtp_line *line)
{
	return buf_bytes(&line->text);
}

bool smtp_line_partial(const struct smtp_line *line)
{
	return !line->ready && (line->text.len > 0 || line->after_cr);
}

void smtp_line_clear(struct smtp_line *line)
{
	buf_wipe_clear(&line->text);
	line->ready = false;
}
