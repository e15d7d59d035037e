/* EHLO and HELO (RFC 5321 §4.1.1.1): the extensions, each announced only where it is carried through. */
#include <inttypes.h>
#include <stdlib.h>

#include "appliance/relay/smtp/smtp_session.h"

enum smtp_reply smtp_check_hello(const struct smtp_session *session, struct smtp_request *request)
{
	(void)session;
	return smtp_parse_hello(request->arguments, &request->arguments) ? SMTP_REPLY_NONE : SMTP_REPLY_HELLO_SYNTAX;
}

/* The name goes into Received and into logs: what could disturb there becomes '?'. */
static char *printable(struct bytes name)
{
	char *text = bytes_string(name);

	for (char *c = text; *c != '\0'; c++) {
		if (*c < '!' || *c > '~' || *c == '(' || *c == ')' || *c == '\\' || *c == '"' || *c == '<' || *c == '>' ||
		    *c == ';')
			*c = '?';
	}
	return text;
}

/* Both end a transaction that has begun. */
static void hello(struct smtp_session *session, const struct smtp_request *request, bool extended)
{
	smtp_session_reset(session);
	smtp_session_set_state(session, SMTP_STATE_READY);
	free(session->hello);
	session->hello = printable(request->arguments);
	session->extended = extended;
}

void smtp_proceed_helo(struct smtp_session *session, const struct smtp_request *request)
{
	hello(session, request, false);
	buf_printf(&session->replies, "250 %s\r\n", session->service->config->host_name);
}

void smtp_proceed_ehlo(struct smtp_session *session, const struct smtp_request *request)
{
	const struct config_limits *limits = &smtp_session_settings(session)->limits;

	hello(session, request, true);
	buf_printf(&session->replies,
		   "250-%s\r\n250-PIPELINING\r\n250-SIZE %" PRIu64 "\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
		   "250-DSN\r\n250-LIMITS MAILMAX=%" PRIu32 " RCPTMAX=%" PRIu32 "\r\n",
		   session->service->config->host_name, limits->message_bytes, limits->messages_per_session, limits->recipients);
	if (smtp_starttls_offered(session))
		buf_put_text(&session->replies, "250-STARTTLS\r\n");
	if (smtp_auth_offered(session))
		buf_put_text(&session->replies, "250-AUTH PLAIN LOGIN\r\n");
	buf_put_text(&session->replies, "250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n");
}
