#include "appliance/relay/delivery/dsn.h"

#include <stdio.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue.h"

#define BOUNDARY_BYTES 64
#define REPLY_MAX_CHARACTERS 700 /* RFC 5322 §2.1.1: a line has at most 998 */

bool dsn_wanted(const char *sender, uint32_t notify, enum dsn_action action)
{
	static const uint32_t bits[] = {[DSN_FAILED] = QUEUE_NOTIFY_FAILURE,
					[DSN_DELAYED] = QUEUE_NOTIFY_DELAY,
					[DSN_RELAYED] = QUEUE_NOTIFY_SUCCESS,
					[DSN_DELIVERED] = QUEUE_NOTIFY_SUCCESS};
	uint32_t asked = notify & (QUEUE_NOTIFY_NEVER | QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_FAILURE | QUEUE_NOTIFY_DELAY);

	if (*sender == '\0' || (asked & QUEUE_NOTIFY_NEVER) != 0)
		return false;
	if (asked == 0)
		return action == DSN_FAILED || action == DSN_DELAYED;
	return (asked & bits[action]) != 0;
}

/* ---- Text that came from elsewhere ---- */

static bool is_ascii(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text >= 0x80)
			return false;
	}
	return true;
}

static void put_printable(struct buf *out, const char *text, size_t most)
{
	for (size_t i = 0; i < most && text[i] != '\0'; i++) {
		unsigned char c = (unsigned char)text[i];

		buf_put_byte(out, c >= 0x20 && c != 0x7f && c < 0x80 ? c : '?');
	}
}

/* The length of a UTF-8 sequence by its first octet; 0: it cannot begin one. */
static size_t sequence_length(unsigned char c)
{
	return c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
}

/* One character from beyond ASCII: its code point, and *length; or 0 for octets that are no UTF-8. */
static unsigned decode_utf8(const unsigned char *text, size_t *length)
{
	size_t len = sequence_length(*text);
	unsigned code = len == 0 ? 0 : *text & (0x7fu >> len);

	for (size_t i = 1; i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			len = 0;
		else
			code = code << 6 | (text[i] & 0x3fu);
	}
	*length = len == 0 ? 1 : len;
	return len == 0 ? 0 : code;
}

/* utf-8-addr-xtext (RFC 6533 §3): ASCII, other characters as \x{HEX}, and so a backslash, + and =. */
static void put_utf8_xtext(struct buf *out, const char *address)
{
	const unsigned char *c = (const unsigned char *)address;
	size_t length;

	for (; *c != '\0'; c += length) {
		unsigned code = *c;

		length = 1;
		if (*c >= 0x80)
			code = decode_utf8(c, &length);
		if (code <= 0x20 || code == 0x7f)
			buf_put_byte(out, '?');
		else if (code >= 0x80 || code == '\\' || code == '+' || code == '=')
			buf_printf(out, "\\x{%02X}", code);
		else
			buf_put_byte(out, (uint8_t)code);
	}
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* xtext (RFC 3461 §4) decoded; what is not printable ASCII becomes '?'. */
static void put_xtext_decoded(struct buf *out, const char *text)
{
	while (*text != '\0') {
		int high = *text == '+' ? hex_value(text[1]) : -1;
		int low = high >= 0 ? hex_value(text[2]) : -1;
		int c = low >= 0 ? high * 16 + low : (unsigned char)*text;

		buf_put_byte(out, c >= 0x20 && c < 0x7f ? (uint8_t)c : '?');
		text += low >= 0 ? 3 : 1;
	}
}

static void put_date(struct buf *out, const char *name, int64_t wall_seconds)
{
	char date[CLOCK_RFC5322_BYTES];

	clock_rfc5322(date, wall_seconds);
	buf_printf(out, "%s: %s\r\n", name, date);
}

/* ---- The parts ---- */

static const struct action {
	const char *word; /* RFC 3464 §2.3.3 */
	const char *subject;
	const char *text;
} actions[] = {
    [DSN_FAILED] = {"failed", "Undelivered Mail Returned to Sender",
		    "Your message could not be delivered to the recipients below. It will not\r\nbe tried again."},
    [DSN_DELAYED] = {"delayed", "Delayed Mail (still being retried)",
		     "Your message could not be delivered to the recipients below yet. It is being\r\n"
		     "retried: you do not need to send it again."},
    [DSN_RELAYED] = {"relayed", "Successful Mail Delivery Report",
		     "Your message was handed to a mail system that does not report what becomes of it."},
    [DSN_DELIVERED] = {"delivered", "Successful Mail Delivery Report", "Your message was delivered."},
};

static bool has_action(const struct dsn *dsn, enum dsn_action action)
{
	for (size_t i = 0; i < dsn->n_recipients; i++) {
		if (dsn->recipients[i].action == action)
			return true;
	}
	return false;
}

/* The gravest of them is what the notice is called by. */
static const struct action *gravest(const struct dsn *dsn)
{
	enum dsn_action action = DSN_FAILED;

	while (action < DSN_DELIVERED && !has_action(dsn, action))
		action++;
	return &actions[action];
}

static void put_header(struct buf *out, const struct dsn *dsn, const char *boundary, bool eight_bit)
{
	put_date(out, "Date", dsn->now);
	buf_printf(out, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: <", dsn->host_name);
	buf_put_text(out, dsn->sender);
	buf_printf(out, ">\r\nSubject: %s\r\nMessage-ID: <%llx.bounce@%s>\r\n", gravest(dsn)->subject,
		   (unsigned long long)dsn->id, dsn->host_name);
	if (*dsn->references != '\0' && strlen(dsn->references) < REPLY_MAX_CHARACTERS && is_ascii(dsn->references)) {
		buf_put_text(out, "References: ");
		put_printable(out, dsn->references, REPLY_MAX_CHARACTERS);
		buf_put_text(out, "\r\n");
	}
	buf_printf(out,
		   "Auto-Submitted: auto-replied\r\n"
		   "MIME-Version: 1.0\r\n"
		   "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"%s\"\r\n"
		   "Content-Transfer-Encoding: %s\r\n\r\n",
		   boundary, eight_bit ? "8bit" : "7bit");
}

static void put_reason(struct buf *out, const struct dsn_recipient *recipient)
{
	buf_put_text(out, "\r\n<");
	put_printable(out, recipient->address, REPLY_MAX_CHARACTERS);
	buf_printf(out, ">:\r\n    ");
	if (recipient->hop != NULL)
		buf_printf(out, "%s said:\r\n    ", recipient->hop);
	put_printable(out, recipient->reply, REPLY_MAX_CHARACTERS);
	buf_put_text(out, "\r\n");
}

static void put_reasons(struct buf *out, const struct dsn *dsn, enum dsn_action action)
{
	if (!has_action(dsn, action))
		return;
	buf_printf(out, "\r\n%s\r\n", actions[action].text);
	for (size_t i = 0; i < dsn->n_recipients; i++) {
		if (dsn->recipients[i].action == action)
			put_reason(out, &dsn->recipients[i]);
	}
}

static void put_explanation(struct buf *out, const struct dsn *dsn)
{
	buf_printf(out,
		   "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
		   "This is the mail system at host %s.\r\n",
		   dsn->host_name);
	for (size_t action = 0; action < sizeof actions / sizeof *actions; action++)
		put_reasons(out, dsn, (enum dsn_action)action);
	if (dsn->returned.len > 0)
		buf_put_text(out, dsn->whole ? "\r\nThe message is attached.\r\n" : "\r\nIts header is attached.\r\n");
}

static void put_final_recipient(struct buf *out, const char *address)
{
	if (is_ascii(address)) {
		buf_put_text(out, "Final-Recipient: rfc822; ");
		put_printable(out, address, REPLY_MAX_CHARACTERS);
	} else {
		buf_put_text(out, "Final-Recipient: utf-8; ");
		put_utf8_xtext(out, address);
	}
	buf_put_text(out, "\r\n");
}

/* "rfc822;user+40example" as received, its type kept. */
static void put_original_recipient(struct buf *out, const char *original)
{
	const char *semicolon = strchr(original, ';');

	if (semicolon == NULL || semicolon == original || semicolon - original > 32)
		return;
	buf_put_text(out, "Original-Recipient: ");
	put_printable(out, original, (size_t)(semicolon - original));
	buf_put_text(out, "; ");
	put_xtext_decoded(out, semicolon + 1);
	buf_put_text(out, "\r\n");
}

/* RFC 3464 §2.3.5: Remote-MTA is a name, or an address in brackets, without what follows it. */
static size_t remote_length(const char *hop)
{
	return *hop == '[' ? strcspn(hop, "]") + 1 : strcspn(hop, "[:");
}

static void put_remote(struct buf *out, const struct dsn_recipient *recipient)
{
	size_t len = remote_length(recipient->hop);

	buf_put_text(out, "Remote-MTA: dns; ");
	put_printable(out, recipient->hop, len);
	buf_put_text(out, "\r\nDiagnostic-Code: smtp; ");
	put_printable(out, recipient->reply, REPLY_MAX_CHARACTERS);
	buf_put_text(out, "\r\n");
}

static void put_status(struct buf *out, const struct dsn *dsn)
{
	buf_printf(out, "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; %s\r\n", dsn->host_name);
	buf_printf(out, "X-Inkan-Queue-ID: %llx\r\n", (unsigned long long)dsn->message_id);
	if (dsn->envelope_id != NULL) {
		buf_put_text(out, "Original-Envelope-Id: ");
		put_xtext_decoded(out, dsn->envelope_id);
		buf_put_text(out, "\r\n");
	}
	put_date(out, "Arrival-Date", dsn->received);
	for (size_t i = 0; i < dsn->n_recipients; i++) {
		const struct dsn_recipient *recipient = &dsn->recipients[i];

		buf_put_text(out, "\r\n");
		if (recipient->original != NULL)
			put_original_recipient(out, recipient->original);
		put_final_recipient(out, recipient->address);
		buf_printf(out, "Action: %s\r\nStatus: %s\r\n", actions[recipient->action].word, recipient->status);
		if (recipient->hop != NULL)
			put_remote(out, recipient);
		put_date(out, "Last-Attempt-Date", dsn->now);
		if (recipient->action == DSN_DELAYED)
			put_date(out, "Will-Retry-Until", dsn->expires);
	}
}

/* The header with its empty line; if that is not among the octets, up to the last whole line. */
static struct bytes header_of(struct bytes octets)
{
	const uint8_t *end = octets.len > 0 ? memmem(octets.data, octets.len, "\r\n\r\n", 4) : NULL;
	size_t len = octets.len;

	if (end != NULL)
		return bytes_slice(octets, 0, (size_t)(end - octets.data) + 4);
	while (len > 0 && octets.data[len - 1] != '\n')
		len--;
	return bytes_slice(octets, 0, len);
}

static bool has_8bit(struct bytes octets)
{
	for (size_t i = 0; i < octets.len; i++) {
		if (octets.data[i] >= 0x80)
			return true;
	}
	return false;
}

static void put_returned(struct buf *out, const struct dsn *dsn, struct bytes returned, bool eight_bit)
{
	buf_printf(out, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
		   dsn->whole ? "message/rfc822" : "text/rfc822-headers", eight_bit ? "8bit" : "7bit");
	buf_put_bytes(out, returned);
}

/* RFC 2046 §5.1.1: a boundary must not occur in what it bounds. */
static void choose_boundary(char out[static BOUNDARY_BYTES], const struct dsn *dsn, struct bytes returned)
{
	for (unsigned try = 0;; try++) {
		int len = snprintf(out, BOUNDARY_BYTES, "----=_inkan_bounce_%llx_%u", (unsigned long long)dsn->id, try);

		if (returned.len == 0 || memmem(returned.data, returned.len, out, (size_t)len) == NULL)
			return;
	}
}

static void put_delimiter(struct buf *out, const char *boundary, bool last)
{
	buf_printf(out, "\r\n--%s%s\r\n", boundary, last ? "--" : "");
}

void dsn_compose(struct buf *out, const struct dsn *dsn, bool *eight_bit)
{
	struct bytes returned = dsn->whole ? dsn->returned : header_of(dsn->returned);
	char boundary[BOUNDARY_BYTES];

	*eight_bit = has_8bit(returned);
	choose_boundary(boundary, dsn, returned);
	put_header(out, dsn, boundary, *eight_bit);
	put_delimiter(out, boundary, false);
	put_explanation(out, dsn);
	put_delimiter(out, boundary, false);
	put_status(out, dsn);
	if (returned.len > 0) {
		put_delimiter(out, boundary, false);
		put_returned(out, dsn, returned, *eight_bit);
	}
	put_delimiter(out, boundary, true);
}
