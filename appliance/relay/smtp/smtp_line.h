/*
 * The reader of command lines: octets in, events out. Only CRLF ends a line (RFC 5321 §2.3.8). Pure; fuzzed.
 *
 * A fault is told as soon as it is seen, and nothing of that line is ever run: what follows is skipped up to and with the
 * next CRLF. A further bare LF on the way is told again, so that somebody who types without CR sees why nothing happens.
 */
#ifndef INKAN_RELAY_SMTP_LINE_H
#define INKAN_RELAY_SMTP_LINE_H

#include "appliance/base/bytes.h"

enum smtp_line_event {
	SMTP_LINE_MORE, /* everything was used, no line is complete */
	SMTP_LINE_READY, /* smtp_line_text is the line */
	SMTP_LINE_BARE_LF,
	SMTP_LINE_BARE_CR,
	SMTP_LINE_NUL,
	SMTP_LINE_TOO_LONG
};

/* Zero-initialise, but for `max`. */
struct smtp_line {
	size_t max; /* octets of a line with its CRLF, 2 or more */
	struct buf text;
	bool after_cr, skipping, ready;
};

/* Uses octets from the front of `in` until something is to be told; returns how many. */
size_t smtp_line_feed(struct smtp_line *line, struct bytes in, enum smtp_line_event *event);

struct bytes smtp_line_text(const struct smtp_line *line); /* without CRLF; until the next feed or clear */
bool smtp_line_partial(const struct smtp_line *line); /* octets of an unfinished line are held */
void smtp_line_clear(struct smtp_line *line); /* wipes: a line may hold a password */

#endif
