/*
 * A mail of the API as RFC 5322 and MIME octets, made piece by piece so that no attachment is in memory as a whole. What
 * comes out is 7-bit (but for addresses and header fields that need SMTPUTF8), ends every line with CRLF and has no line over
 * 998 octets: it is signed as it is.
 *
 * text alone: text/plain; html alone: text/html; both: multipart/alternative; html that names an attachment as `cid:NAME` or
 * `cid:attachmentN`: multipart/related with it; further attachments: multipart/mixed around that.
 */
#ifndef INKAN_RELAY_API_COMPOSE_H
#define INKAN_RELAY_API_COMPOSE_H

#include "appliance/relay/api/api_mail.h"

struct compose_file {
	char *field; /* "attachment1" */
	char *name; /* file name, "" for none */
	char *type; /* media type as the client says, "" for none */
	uint64_t offset, len; /* of its octets in what `read` reads */
};

/* `len` octets from `offset`; false with *err when they cannot be read. */
typedef bool compose_read(void *data, size_t len, uint64_t offset, void *arg, struct err *err);

struct compose_facts {
	const char *host_name; /* right half of the Message-ID */
	const char *message_id; /* left half, a dot-atom */
	int64_t now; /* wall seconds, for Date */
	const char *boundary; /* left part of the boundaries: random, so that no text holds it */
};

struct composer;

/*
 * Everything that is pointed to, `files` too, must live as long as the composer. An error is a character that the mail's
 * character set lacks (api_mail_read has looked for them, so none is expected).
 */
struct composer *composer_new(const struct api_mail *mail, const struct compose_file *files, size_t n_files,
			      const struct compose_facts *facts, compose_read *read, void *arg, struct err *err);
void composer_free(struct composer *composer);

/* The next octets, some 64 KiB at most, behind what `out` holds. Nothing appended: that was all. */
bool composer_next(struct composer *composer, struct buf *out, struct err *err) MUST_USE;

bool composer_needs_utf8(const struct api_mail *mail); /* an address beyond ASCII: SMTPUTF8 (RFC 6531) */

#endif
