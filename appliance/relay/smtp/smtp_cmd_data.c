/* DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030). */
#include "appliance/relay/smtp/smtp_session.h"

void smtp_proceed_data(struct smtp_session *session, const struct smtp_request *request)
{
	(void)request;
	smtp_content_begin(session, true);
	smtp_session_set_state(session, SMTP_STATE_DATA);
	smtp_session_reply(session, SMTP_REPLY_DATA);
}

/* Without a count nobody can tell where the octets end and commands begin again: the reply closes the session. */
enum smtp_reply smtp_check_bdat(const struct smtp_session *session, struct smtp_request *request)
{
	(void)session;
	return smtp_parse_bdat(request->arguments, &request->size, &request->last) ? SMTP_REPLY_NONE : SMTP_REPLY_BDAT_SYNTAX;
}

void smtp_proceed_bdat(struct smtp_session *session, const struct smtp_request *request)
{
	static const enum smtp_reply out_of_order[SMTP_STATES] = {
	    [SMTP_STATE_GREETED] = SMTP_REPLY_HELLO_FIRST,
	    [SMTP_STATE_READY] = SMTP_REPLY_MAIL_FIRST,
	    [SMTP_STATE_MAIL] = SMTP_REPLY_NO_RECIPIENTS,
	};
	enum smtp_reply refusal = out_of_order[session->state];

	if (refusal != SMTP_REPLY_NONE) {
		session->skip = request->size; /* they come all the same, and are no commands */
		smtp_session_reply(session, refusal);
		return;
	}
	if (session->state == SMTP_STATE_RCPT)
		smtp_content_begin(session, false);
	smtp_chunk_begin(session, request->size, request->last);
}
