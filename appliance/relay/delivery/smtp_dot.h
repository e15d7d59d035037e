/*
 * Mail text as it goes out after DATA (RFC 5321 §4.5.2): a dot before every line that begins with one, CRLF at the end, the final
 * dot. Only CRLF ends a line here, as in everything this relay accepts. Pure; works across any cut of the input.
 */
#ifndef INKAN_RELAY_DELIVERY_SMTP_DOT_H
#define INKAN_RELAY_DELIVERY_SMTP_DOT_H

#include "appliance/base/bytes.h"

/* Zero-initialise for each message. */
struct smtp_dot {
	bool within_line; /* an octet has come since the last CRLF */
	bool cr; /* the last octet was CR */
};

void smtp_dot_feed(struct smtp_dot *dot, struct bytes in, struct buf *out);
void smtp_dot_finish(struct smtp_dot *dot, struct buf *out); /* a missing last CRLF, then ".\r\n" */

#endif
