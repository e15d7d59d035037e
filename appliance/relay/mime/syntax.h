/*
 * The small grammar of header fields: names, folding, comments, parameters (RFC 5322 §2.2, §3.2; RFC 2045 §5.1).
 * Pure; all input is untrusted. "Blank" is SP or HT.
 */
#ifndef INKAN_RELAY_MIME_SYNTAX_H
#define INKAN_RELAY_MIME_SYNTAX_H

#include "appliance/base/bytes.h"

static inline bool mime_is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/*
 * Does `line` begin a field: a name of visible ASCII, blanks perhaps, a colon? *name is without blanks, *colon the index of
 * the colon. The line may be cut anywhere behind the colon.
 */
bool mime_split_field(struct bytes line, struct bytes *name, size_t *colon);

/* "From " or ">From ", the separator of mbox files, which is tolerated as the first line of a header. */
bool mime_is_mbox_line(struct bytes line);

/* Appends `raw` without the CRLFs that fold it (those before a blank); other CRs and LFs stay to be seen. */
void mime_unfold(struct buf *out, struct bytes raw);

/* Drops blanks and (nested (comments)) from the front; a comment that does not end takes everything. */
void mime_skip_cfws(struct bytes *rest);

/* Takes the longest run of RFC 2045 token characters from the front; may be empty. */
struct bytes mime_take_token(struct bytes *rest);

/* One parameter of a Content-Type or Content-Disposition, RFC 2231 pieces not joined. */
struct mime_parameter {
	struct bytes name; /* view into the unfolded value */
	struct buf value; /* unquoted */
	bool odd; /* readers may disagree where it ends */
};

/*
 * The next parameter from `*rest`, which begins at or before a semicolon; false at the end. parameter->value is reused:
 * release it with buf_clear when done. Text without an equals sign is passed over.
 */
bool mime_next_parameter(struct bytes *rest, struct mime_parameter *parameter);

/* "type/subtype" from the front of an unfolded Content-Type value; false (outputs empty) when it is not of that form. */
bool mime_take_type(struct bytes *rest, struct bytes *type, struct bytes *subtype);

#endif
