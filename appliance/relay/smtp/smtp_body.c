#include "appliance/relay/smtp/smtp_body.h"

#include <string.h>

static void set_fault(struct smtp_body *body, enum smtp_body_fault fault)
{
	if (body->fault == SMTP_BODY_GOOD)
		body->fault = fault;
}

/*
 * From inside a line to the octet behind its CR, behind a bare LF, or to the end. After a fault a bare LF changes nothing any
 * more, and looking for CR alone keeps a flood of either linear.
 */
static const uint8_t *pass_text(struct smtp_body *body, const uint8_t *at, const uint8_t *end)
{
	const uint8_t *lf = body->fault != SMTP_BODY_GOOD ? NULL : memchr(at, '\n', (size_t)(end - at));
	const uint8_t *stop = lf != NULL ? lf : end;
	const uint8_t *cr = memchr(at, '\r', (size_t)(stop - at));

	if (cr != NULL) {
		body->at = SMTP_BODY_CR;
		return cr + 1;
	}
	if (lf == NULL)
		return end;
	set_fault(body, SMTP_BODY_BARE_LF);
	return lf + 1;
}

/* Behind a CR: the octet that must be LF. */
static const uint8_t *pass_line_end(struct smtp_body *body, const uint8_t *at, enum smtp_body_at next)
{
	if (*at == '\n') {
		body->at = next;
		return at + 1;
	}
	set_fault(body, SMTP_BODY_BARE_CR);
	body->at = SMTP_BODY_TEXT;
	return at;
}

/* A dot at the start of a line is never part of the message. What follows decides whether it was the end. */
static const uint8_t *pass_dot(struct smtp_body *body, const uint8_t *at)
{
	body->at = *at == '\r' ? SMTP_BODY_DOT_CR : SMTP_BODY_TEXT;
	return *at == '\r' ? at + 1 : at;
}

size_t smtp_body_feed(struct smtp_body *body, struct bytes in, struct bytes *out)
{
	const uint8_t *at = in.data, *end = in.data + in.len, *start = at;

	*out = bytes_of(NULL, 0);
	while (at < end && body->at != SMTP_BODY_END) {
		switch (body->at) {
		case SMTP_BODY_LINE_START:
			if (body->dots && *at == '.') {
				body->at = SMTP_BODY_DOT;
				*out = bytes_of(start, (size_t)(at - start));
				return (size_t)(at - in.data) + 1;
			}
			body->at = SMTP_BODY_TEXT;
			break;
		case SMTP_BODY_CR:
			at = pass_line_end(body, at, SMTP_BODY_LINE_START);
			break;
		case SMTP_BODY_DOT:
			at = start = pass_dot(body, at);
			break;
		case SMTP_BODY_DOT_CR:
			at = start = pass_line_end(body, at, SMTP_BODY_END);
			break;
		default:
			at = pass_text(body, at, end);
			break;
		}
	}
	*out = bytes_of(start, (size_t)(at - start));
	return (size_t)(at - in.data);
}

/* ---- Normalising ---- */

static void put_text(struct smtp_body *body, uint8_t octet, struct buf *out)
{
	body->at = SMTP_BODY_TEXT;
	if (octet == '\r') {
		body->at = SMTP_BODY_CR;
	} else if (octet == '\n') {
		buf_put_text(out, "\r\n");
		body->at = SMTP_BODY_BARE_START;
	} else {
		buf_put_byte(out, octet);
	}
}

static void take_octet(struct smtp_body *body, uint8_t octet, struct buf *out)
{
	enum smtp_body_at before = body->at;

	if (before == SMTP_BODY_CR && octet == '\n') {
		buf_put_text(out, "\r\n");
		body->at = SMTP_BODY_LINE_START;
	} else if (before == SMTP_BODY_DOT_CR && octet == '\n') {
		body->at = SMTP_BODY_END;
	} else if (before == SMTP_BODY_DOT && octet == '\r') {
		body->at = SMTP_BODY_DOT_CR;
	} else if (body->dots && octet == '.' && (before == SMTP_BODY_LINE_START || before == SMTP_BODY_BARE_START)) {
		body->at = before == SMTP_BODY_LINE_START ? SMTP_BODY_DOT : SMTP_BODY_BARE_DOT;
	} else {
		if (before == SMTP_BODY_CR || before == SMTP_BODY_DOT_CR)
			buf_put_byte(out, ' ');
		if (before == SMTP_BODY_BARE_DOT && octet != '.')
			buf_put_byte(out, '.');
		put_text(body, octet, out);
	}
}

size_t smtp_body_normalise(struct smtp_body *body, struct bytes in, struct buf *out)
{
	size_t i = 0;

	while (i < in.len && body->at != SMTP_BODY_END)
		take_octet(body, in.data[i++], out);
	return i;
}

bool smtp_body_finish(struct smtp_body *body)
{
	if (body->at == SMTP_BODY_CR && !body->normalise)
		set_fault(body, SMTP_BODY_BARE_CR);
	return body->at == SMTP_BODY_LINE_START || body->at == SMTP_BODY_BARE_START;
}
