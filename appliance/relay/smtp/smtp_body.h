/*
 * The reader of message octets behind DATA and BDAT. Pure; fuzzed.
 *
 * DATA (dots): undoes dot-stuffing (RFC 5321 §4.5.2) and ends at CRLF.CRLF alone, the CRLF of the DATA line counting as the
 * first one. No other sequence ends it: not LF.LF, LF.CRLF, CR.CRLF, CR.CR nor any mixture (SMTP smuggling, CVE-2023-51764).
 * A CR without LF or an LF without CR anywhere is a fault, and the message must be refused at its true end.
 * BDAT: the octets are the message, and the same faults are found; the caller counts.
 *
 * With `normalise` there are no faults: a bare LF becomes CRLF, a bare CR a blank (a line end could end the header: CR CR LF is
 * common). The end is still CRLF.CRLF alone. Behind a bare LF a dot is taken out only where another dot follows, since
 * nobody knows whether such a client stuffs them; a line of one dot there is text.
 */
#ifndef INKAN_RELAY_SMTP_BODY_H
#define INKAN_RELAY_SMTP_BODY_H

#include "appliance/base/bytes.h"

enum smtp_body_fault { SMTP_BODY_GOOD, SMTP_BODY_BARE_CR, SMTP_BODY_BARE_LF };

enum smtp_body_at {
	SMTP_BODY_LINE_START,
	SMTP_BODY_TEXT,
	SMTP_BODY_CR,
	SMTP_BODY_DOT, /* a dot that began a line; taken out */
	SMTP_BODY_DOT_CR, /* CR behind it */
	SMTP_BODY_BARE_START, /* normalise: behind a bare LF */
	SMTP_BODY_BARE_DOT, /* normalise: a dot behind that */
	SMTP_BODY_END
};

/* Zero-initialise for BDAT; {.dots = true} for DATA. */
struct smtp_body {
	bool dots, normalise;
	enum smtp_body_at at;
	enum smtp_body_fault fault; /* the first one */
};

/*
 * Uses octets from the front of `in` (at least one), returns how many. *out is what they mean: a view into `in`, perhaps
 * empty, and of no use once there is a fault. At the end of DATA `at` is SMTP_BODY_END and the rest is not touched.
 */
size_t smtp_body_feed(struct smtp_body *body, struct bytes in, struct bytes *out);

/* The same for `normalise`: what the octets mean is appended to *out. */
size_t smtp_body_normalise(struct smtp_body *body, struct bytes in, struct buf *out);

/* BDAT LAST was used up: finds a CR at the very end (to normalise is to end the line there); false when the last line lacks its
 * CRLF. */
bool smtp_body_finish(struct smtp_body *body);

#endif
