#include "appliance/relay/smtp/smtp_reply.h"

#include "appliance/relay/smtp/smtp_limits.h"

static const struct smtp_reply_row rows[SMTP_REPLIES] = {
    [SMTP_REPLY_OK] = {250, "2.0.0", "Ok"},
    [SMTP_REPLY_SENDER_OK] = {250, "2.1.0", "Sender ok"},
    [SMTP_REPLY_RECIPIENT_OK] = {250, "2.1.5", "Recipient ok"},
    [SMTP_REPLY_CHUNK_OK] = {250, "2.0.0", "Chunk ok"},
    [SMTP_REPLY_DATA] = {354, "", "End the message with <CR><LF>.<CR><LF>"},
    [SMTP_REPLY_BYE] = {221, "2.0.0", "Bye"},
    [SMTP_REPLY_HELP] = {214, "2.0.0", "EHLO HELO AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT; see RFC 5321"},
    [SMTP_REPLY_CANNOT_VERIFY] = {252, "2.5.0", "Addresses are not verified here; send the mail"},
    [SMTP_REPLY_AUTHENTICATED] = {235, "2.7.0", "Authentication successful"},
    [SMTP_REPLY_SEND_USER] = {334, "", "VXNlcm5hbWU6"},
    [SMTP_REPLY_SEND_PASSWORD] = {334, "", "UGFzc3dvcmQ6"},
    [SMTP_REPLY_SEND_CREDENTIALS] = {334, "", ""},
    [SMTP_REPLY_STARTTLS] = {220, "2.0.0", "Ready to start TLS"},

    [SMTP_REPLY_SESSIONS] = {421, "4.7.0", "Too many sessions; try again later"},
    [SMTP_REPLY_SESSIONS_OF_CLIENT] = {421, "4.7.0", "Too many sessions from your address; try again later"},
    [SMTP_REPLY_MESSAGES] = {421, "4.7.0", "Too many messages in one session; connect again"},
    [SMTP_REPLY_BAD_COMMANDS] = {421, "4.7.0", "Too many bad commands"},
    [SMTP_REPLY_IDLE] = {421, "4.4.2", "Nothing came for too long"},
    [SMTP_REPLY_SESSION_TIME] = {421, "4.4.2", "The session lasted too long"},
    [SMTP_REPLY_STOPPING] = {421, "4.3.2", "Service is stopping; try again later"},
    [SMTP_REPLY_HTTP] = {521, "5.5.1", "This is a mail server"},
    [SMTP_REPLY_BDAT_SYNTAX] = {521, "5.5.4", "Syntax: BDAT octets [LAST]"},
    [SMTP_REPLY_STARTTLS_NOT_LAST] = {421, "4.7.0", "Commands came behind STARTTLS without being encrypted"},

    [SMTP_REPLY_RATE] = {450, "4.7.1", "Too many messages from your address; try again later"},
    [SMTP_REPLY_STORE_FAILED] = {451, "4.3.0", "The message store is not available; try again later"},
    [SMTP_REPLY_STORE_FULL] = {452, "4.3.1", "Insufficient system storage"},
    [SMTP_REPLY_RECIPIENTS] = {452, "4.5.3", "Too many recipients"},
    [SMTP_REPLY_AUTH_BACK_OFF] = {454, "4.7.0", "Too many failed logins from your address; try again later"},
    [SMTP_REPLY_AUTH_BUSY] = {454, "4.7.0", "Too many logins at a time; try again later"},

    [SMTP_REPLY_UNKNOWN_COMMAND] = {500, "5.5.1", "Unknown command"},
    [SMTP_REPLY_LINE_BARE_LF] = {500, "5.5.2", "Bare <LF> in a command: lines end with <CR><LF>"},
    [SMTP_REPLY_LINE_BARE_CR] = {500, "5.5.2", "Bare <CR> in a command: lines end with <CR><LF>"},
    [SMTP_REPLY_LINE_NUL] = {500, "5.5.2", "NUL in a command"},
    [SMTP_REPLY_LINE_TOO_LONG] = {500, "5.5.2", "Command line too long"},
    [SMTP_REPLY_HELLO_SYNTAX] = {501, "5.5.4", "Syntax: EHLO host-name"},
    [SMTP_REPLY_MAIL_SYNTAX] = {501, "5.5.4", "Syntax: MAIL FROM:<address>"},
    [SMTP_REPLY_RCPT_SYNTAX] = {501, "5.5.4", "Syntax: RCPT TO:<address>"},
    [SMTP_REPLY_AUTH_SYNTAX] = {501, "5.5.4", "Syntax: AUTH mechanism [initial-response]"},
    [SMTP_REPLY_NO_ARGUMENT] = {501, "5.5.4", "This command takes no argument"},
    [SMTP_REPLY_PARAM_SYNTAX] = {501, "5.5.4", "Malformed or repeated parameter"},
    [SMTP_REPLY_PARAM_SIZE] = {501, "5.5.4", "SIZE takes a number of octets"},
    [SMTP_REPLY_PARAM_BODY] = {501, "5.5.4", "BODY is 7BIT or 8BITMIME"},
    [SMTP_REPLY_PARAM_UTF8] = {501, "5.5.4", "SMTPUTF8 takes no value"},
    [SMTP_REPLY_PARAM_RET] = {501, "5.5.4", "RET is FULL or HDRS"},
    [SMTP_REPLY_PARAM_ENVID] = {501, "5.5.4", "ENVID is xtext of at most 100 characters"},
    [SMTP_REPLY_PARAM_NOTIFY] = {501, "5.5.4", "NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY"},
    [SMTP_REPLY_PARAM_ORCPT] = {501, "5.5.4", "ORCPT is type;xtext of at most 500 characters"},
    [SMTP_REPLY_PARAM_UNKNOWN] = {555, "5.5.4", "Unsupported parameter"},
    [SMTP_REPLY_NO_EXPN] = {502, "5.5.1", "Lists are not expanded here"},
    [SMTP_REPLY_HELLO_FIRST] = {503, "5.5.1", "Send EHLO first"},
    [SMTP_REPLY_MAIL_FIRST] = {503, "5.5.1", "Send MAIL first"},
    [SMTP_REPLY_MAIL_NESTED] = {503, "5.5.1", "The sender was given already"},
    [SMTP_REPLY_NO_RECIPIENTS] = {554, "5.5.1", "No valid recipients"},
    [SMTP_REPLY_BDAT_BEGUN] = {503, "5.5.1", "Only BDAT, RSET or QUIT once BDAT has begun"},

    [SMTP_REPLY_SENDER_SYNTAX] = {553, "5.1.7", "Bad sender address syntax"},
    [SMTP_REPLY_SENDER_NO_DOMAIN] = {553, "5.1.7", "Sender address without a domain"},
    [SMTP_REPLY_SENDER_TOO_LONG] = {553, "5.1.7", "Sender address too long"},
    [SMTP_REPLY_SENDER_UTF8] = {553, "5.6.7", "Sender address is not ASCII: give SMTPUTF8"},
    [SMTP_REPLY_RECIPIENT_SYNTAX] = {553, "5.1.3", "Bad recipient address syntax"},
    [SMTP_REPLY_RECIPIENT_NO_DOMAIN] = {553, "5.1.3", "Recipient address without a domain"},
    [SMTP_REPLY_RECIPIENT_TOO_LONG] = {553, "5.1.3", "Recipient address too long"},
    [SMTP_REPLY_RECIPIENT_UTF8] = {553, "5.6.7", "Recipient address is not ASCII: give SMTPUTF8 with MAIL"},

    [SMTP_REPLY_NO_STARTTLS] = {502, "5.5.1", "STARTTLS is not available"},
    [SMTP_REPLY_STARTTLS_NOT_NOW] = {454, "4.7.0", "TLS is not available now; try again later"},
    [SMTP_REPLY_STARTTLS_TWICE] = {503, "5.5.1", "The connection is encrypted already"},
    [SMTP_REPLY_STARTTLS_IN_TRANSACTION] = {503, "5.5.1", "STARTTLS is not allowed during a transaction"},

    [SMTP_REPLY_NO_AUTH] = {502, "5.5.1", "AUTH is not available"},
    [SMTP_REPLY_AUTH_NEEDS_TLS] = {538, "5.7.11", "AUTH needs an encrypted connection"},
    [SMTP_REPLY_AUTH_MECHANISM] = {504, "5.5.4", "The mechanisms are PLAIN and LOGIN"},
    [SMTP_REPLY_AUTH_TWICE] = {503, "5.5.1", "Already authenticated"},
    [SMTP_REPLY_AUTH_IN_TRANSACTION] = {503, "5.5.1", "AUTH is not allowed during a transaction"},
    [SMTP_REPLY_AUTH_CANCELLED] = {501, "5.7.0", "Authentication cancelled"},
    [SMTP_REPLY_AUTH_ENCODING] = {501, "5.5.2", "Cannot decode the response"},
    [SMTP_REPLY_AUTH_WRONG] = {535, "5.7.8", "Authentication credentials invalid"},
    [SMTP_REPLY_AUTH_REQUIRED] = {530, "5.7.0", "Authentication required"},
    [SMTP_REPLY_RELAYING_DENIED] = {550, "5.7.1", "Relaying denied"},

    [SMTP_REPLY_TOO_LARGE] = {552, "5.3.4", "Message exceeds the size limit"},
    [SMTP_REPLY_BODY_BARE_LF] = {554, "5.6.0", "Bare <LF> in the message: lines end with <CR><LF>"},
    [SMTP_REPLY_BODY_BARE_CR] = {554, "5.6.0", "Bare <CR> in the message: lines end with <CR><LF>"},
};

const struct smtp_reply_row *smtp_reply_row(enum smtp_reply reply)
{
	return &rows[reply];
}

bool smtp_reply_closes(enum smtp_reply reply)
{
	return rows[reply].code == 421 || rows[reply].code == 521;
}

bool smtp_reply_blames(enum smtp_reply reply)
{
	int code = rows[reply].code;

	return (code >= 500 && code <= 504) || code == 530 || code == 535 || code == 538 || code == 555 ||
	       reply == SMTP_REPLY_RELAYING_DENIED;
}

void smtp_reply_put(struct buf *out, enum smtp_reply reply)
{
	const struct smtp_reply_row *row = &rows[reply];

	smtp_reply_put_text(out, row->code, row->enhanced, row->text);
}

void smtp_reply_put_text(struct buf *out, int code, const char *enhanced, const char *text)
{
	size_t start = out->len;

	buf_printf(out, "%03d %s%s", code, enhanced, *enhanced == '\0' ? "" : " ");
	for (const char *c = text; *c != '\0' && out->len - start < SMTP_REPLY_LINE_MAX_BYTES - 2; c++)
		buf_put_byte(out, *c >= ' ' && *c <= '~' ? (uint8_t)*c : '?');
	buf_put_text(out, "\r\n");
}
