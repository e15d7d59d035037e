/*
 * Header fields as the API writes them: folded at 76 columns, text beyond ASCII as encoded words (RFC 2047), parameters
 * beyond it as RFC 2231 says. Input is valid UTF-8 without control characters. Pure.
 *
 * Errors are charset_convert's: a character that the mail's character set lacks. What was appended to `out` is then taken back.
 */
#ifndef INKAN_RELAY_API_HEADER_TEXT_H
#define INKAN_RELAY_API_HEADER_TEXT_H

#include "appliance/relay/api/charset.h"

#define HEADER_LINE_COLUMNS 76 /* RFC 2047 §2: of a line that holds encoded words */

struct header_mailbox {
	char *name; /* display name, "" for none */
	char *address; /* local part and domain, as smtp_address.h gives it */
};

/* "Subject: …\r\n" */
bool header_put_text(struct buf *out, const char *field, enum charset charset, const char *text, struct err *err) MUST_USE;

/* "To: =?UTF-8?B?…?= <a@example.com>,\r\n b@example.com\r\n" */
bool header_put_mailboxes(struct buf *out, const char *field, enum charset charset, const struct header_mailbox *mailboxes,
			  size_t n_mailboxes, struct err *err) MUST_USE;

/* `;\r\n NAME="VALUE"` behind a field's value, or `;\r\n NAME*0*=UTF-8''%E3…` over as many lines as it takes. */
void header_put_parameter(struct buf *out, const char *name, const char *value);

#endif
