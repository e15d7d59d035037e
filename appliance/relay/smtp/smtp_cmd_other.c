/* RSET NOOP QUIT VRFY EXPN HELP, and HTTP. */
#include "appliance/relay/smtp/smtp_session.h"

enum smtp_reply smtp_check_no_argument(const struct smtp_session *session, struct smtp_request *request)
{
	(void)session;
	return request->arguments.len == 0 ? SMTP_REPLY_NONE : SMTP_REPLY_NO_ARGUMENT;
}

void smtp_proceed_rset(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_session_reset(session);
	smtp_session_reply(session, SMTP_REPLY_OK);
}

void smtp_proceed_noop(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_session_reply(session, SMTP_REPLY_OK);
}

void smtp_proceed_quit(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_session_reply(session, SMTP_REPLY_BYE);
	smtp_session_close(session);
}

/* RFC 5321 §7.3: 252, so that nobody can collect addresses. */
void smtp_proceed_vrfy(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_session_reply(session, SMTP_REPLY_CANNOT_VERIFY);
}

enum smtp_reply smtp_check_expn(const struct smtp_session *session, struct smtp_request *request)
{
	(void)session;
	(void)request;
	return SMTP_REPLY_NO_EXPN;
}

void smtp_proceed_help(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_session_reply(session, SMTP_REPLY_HELP);
}

/* A web page can make its reader's browser send a form here, the commands in its body: the first line ends it. */
enum smtp_reply smtp_check_http(const struct smtp_session *session, struct smtp_request *request)
{
	(void)session;
	(void)request;
	return SMTP_REPLY_HTTP;
}
