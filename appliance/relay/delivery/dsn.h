/*
 * A delivery status notification (RFC 3464, RFC 3461 §6): tells a sender which recipients were given up, wait, or have the mail.
 * Composed in memory. Pure; any thread.
 */
#ifndef INKAN_RELAY_DELIVERY_DSN_H
#define INKAN_RELAY_DELIVERY_DSN_H

#include "appliance/base/bytes.h"

#define DSN_RETURNED_MAX_BYTES 65536 /* of the original that may go with it */

enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_RELAYED, /* to a server that will not notify */
	DSN_DELIVERED
};

struct dsn_recipient {
	enum dsn_action action;
	const char *address;
	const char *original; /* ORCPT as received ("rfc822;user@example.com", xtext), or NULL */
	const char *status; /* "5.1.1" */
	const char *reply; /* one line */
	const char *hop; /* "mx.example:25" that gave the reply, or NULL: the reason is our own */
};

struct dsn {
	const char *host_name; /* ours: From is MAILER-DAEMON@host_name */
	uint64_t id; /* of the bounce */
	uint64_t message_id; /* of the message that it is about */
	const char *sender; /* to whom it goes; not empty */
	const char *envelope_id; /* ENVID as received (xtext), or NULL */
	const char *references; /* Message-ID of the original; "" when unknown */
	int64_t received; /* the original, wall seconds */
	int64_t now; /* wall seconds */
	int64_t expires; /* wall seconds: until then delayed recipients are tried */
	const struct dsn_recipient *recipients;
	size_t n_recipients;
	struct bytes returned; /* the original as far as it is known, from its first octet; empty: nothing goes with it */
	bool whole; /* `returned` is all of it and shall go whole (RET=FULL); else its header alone */
};

/*
 * Does a recipient with these NOTIFY bits (queue.h) want a notice of this? Without any: of failure and of delay. Nothing is ever
 * told to the null sender.
 */
bool dsn_wanted(const char *sender, uint32_t notify, enum dsn_action action);

/* Appends the message, CRLF line ends. Its own text is ASCII; *eight_bit tells whether the returned octets made it 8-bit. */
void dsn_compose(struct buf *out, const struct dsn *dsn, bool *eight_bit);

#endif
