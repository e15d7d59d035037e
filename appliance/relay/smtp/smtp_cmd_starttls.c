/* STARTTLS (RFC 3207). */
#include <event2/buffer.h>
#include <stdlib.h>

#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_session.h"

bool smtp_starttls_offered(const struct smtp_session *session)
{
	return session->context != NULL && !session->encrypted && tls_is_ready(session->server->tls);
}

enum smtp_reply smtp_check_starttls(const struct smtp_session *session, struct smtp_request *request)
{
	if (session->encrypted)
		return SMTP_REPLY_STARTTLS_TWICE;
	if (session->context == NULL)
		return SMTP_REPLY_NO_STARTTLS;
	if (request->arguments.len > 0)
		return SMTP_REPLY_NO_ARGUMENT;
	return tls_is_ready(session->server->tls) ? SMTP_REPLY_NONE : SMTP_REPLY_STARTTLS_NOT_NOW;
}

void smtp_proceed_starttls(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_session_set_state(session, SMTP_STATE_STARTTLS);
}

/* RFC 3207 §4.2: what the client has said in the clear counts no more. */
static void forget(struct smtp_session *session)
{
	free(session->hello);
	free(session->user);
	session->hello = session->user = NULL;
	session->extended = false;
	smtp_session_set_state(session, SMTP_STATE_GREETED);
}

void smtp_starttls_begin(struct smtp_session *session)
{
	if (evbuffer_get_length(bufferevent_get_input(session->stream)) > 0) {
		log_warning("smtp.starttls-injection", SMTP_SESSION_LOG(session));
		smtp_session_reply(session, SMTP_REPLY_STARTTLS_NOT_LAST);
		return;
	}
	forget(session);
	smtp_session_reply(session, SMTP_REPLY_STARTTLS);
	smtp_session_encrypt(session);
}
