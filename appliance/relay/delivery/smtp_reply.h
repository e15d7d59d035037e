/*
 * Replies of an SMTP server (RFC 5321 §4.2), as a push parser. Pure; one thread at a time.
 *
 *     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 *
 * A line that ends with LF alone is taken too: nothing is derived from where a reply's lines end. Everything else that does not
 * follow the grammar, or passes a limit, is malformed, and the connection is of no use any more.
 */
#ifndef INKAN_RELAY_DELIVERY_SMTP_REPLY_H
#define INKAN_RELAY_DELIVERY_SMTP_REPLY_H

#include "appliance/base/bytes.h"

#define SMTP_REPLY_LINE_MAX_BYTES 2048 /* with its line end; RFC 5321 §4.5.3.1.5 says 512 */
#define SMTP_REPLY_LINES_MAX 128
#define SMTP_REPLY_TEXT_MAX_BYTES 500 /* of the one-line form, with the NUL */
#define SMTP_REPLY_STATUS_MAX_BYTES 12 /* "5.123.123" and the NUL */

enum smtp_reply_progress {
	SMTP_REPLY_MORE, /* all input is used up, the reply goes on */
	SMTP_REPLY_COMPLETE, /* the reply stands in the parser until the next feed; *in is what follows it */
	SMTP_REPLY_MALFORMED
};

struct smtp_reply {
	int code; /* 200..599 */
	struct buf text; /* the lines without codes, each ended by LF */
	unsigned lines;
};

/* Zero-initialise. */
struct smtp_reply_parser {
	struct smtp_reply reply;
	struct buf line;
	bool complete;
};

enum smtp_reply_progress smtp_reply_feed(struct smtp_reply_parser *parser, struct bytes *in);
void smtp_reply_parser_clear(struct smtp_reply_parser *parser);

/* "550 5.1.1 first line second line": printable, cut at SMTP_REPLY_TEXT_MAX_BYTES. */
void smtp_reply_one_line(const struct smtp_reply *reply, char out[static SMTP_REPLY_TEXT_MAX_BYTES]);

/* The enhanced status code (RFC 2034) in front of the text, if its class fits the code; else "5.0.0" by the first digit. */
void smtp_reply_status(const struct smtp_reply *reply, char out[static SMTP_REPLY_STATUS_MAX_BYTES]);

#endif
