/*
 * Command lines: the table of verbs, and what each is answered where the state does not allow it. BDAT has no row there: its
 * octets follow whatever the answer, so smtp_cmd_data.c decides.
 */
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/relay/smtp/smtp_session.h"

static const struct command {
	smtp_check *check; /* NULL: nothing to check */
	smtp_proceed *proceed;
} commands[SMTP_VERBS] = {
    [SMTP_UNKNOWN] = {smtp_check_unknown, NULL},
    [SMTP_HELO] = {smtp_check_hello, smtp_proceed_helo},
    [SMTP_EHLO] = {smtp_check_hello, smtp_proceed_ehlo},
    [SMTP_MAIL] = {smtp_check_mail, smtp_proceed_mail},
    [SMTP_RCPT] = {smtp_check_rcpt, smtp_proceed_rcpt},
    [SMTP_DATA] = {smtp_check_no_argument, smtp_proceed_data},
    [SMTP_BDAT] = {smtp_check_bdat, smtp_proceed_bdat},
    [SMTP_RSET] = {smtp_check_no_argument, smtp_proceed_rset},
    [SMTP_NOOP] = {NULL, smtp_proceed_noop},
    [SMTP_QUIT] = {smtp_check_no_argument, smtp_proceed_quit},
    [SMTP_VRFY] = {NULL, smtp_proceed_vrfy},
    [SMTP_EXPN] = {smtp_check_expn, NULL},
    [SMTP_HELP] = {NULL, smtp_proceed_help},
    [SMTP_AUTH] = {smtp_check_auth, smtp_proceed_auth},
    [SMTP_STARTTLS] = {smtp_check_starttls, smtp_proceed_starttls},
    [SMTP_HTTP] = {smtp_check_http, NULL},
};

/* RFC 5321 §4.1.4. Where nothing stands the command is in order. */
static const enum smtp_reply out_of_order[SMTP_VERBS][SMTP_STATES] = {
    [SMTP_MAIL] = {[SMTP_STATE_GREETED] = SMTP_REPLY_HELLO_FIRST,
		   [SMTP_STATE_MAIL] = SMTP_REPLY_MAIL_NESTED,
		   [SMTP_STATE_RCPT] = SMTP_REPLY_MAIL_NESTED,
		   [SMTP_STATE_CHUNKED] = SMTP_REPLY_BDAT_BEGUN},
    [SMTP_RCPT] = {[SMTP_STATE_GREETED] = SMTP_REPLY_HELLO_FIRST,
		   [SMTP_STATE_READY] = SMTP_REPLY_MAIL_FIRST,
		   [SMTP_STATE_CHUNKED] = SMTP_REPLY_BDAT_BEGUN},
    [SMTP_DATA] = {[SMTP_STATE_GREETED] = SMTP_REPLY_HELLO_FIRST,
		   [SMTP_STATE_READY] = SMTP_REPLY_MAIL_FIRST,
		   [SMTP_STATE_MAIL] = SMTP_REPLY_NO_RECIPIENTS,
		   [SMTP_STATE_CHUNKED] = SMTP_REPLY_BDAT_BEGUN},
    [SMTP_AUTH] = {[SMTP_STATE_GREETED] = SMTP_REPLY_HELLO_FIRST,
		   [SMTP_STATE_MAIL] = SMTP_REPLY_AUTH_IN_TRANSACTION,
		   [SMTP_STATE_RCPT] = SMTP_REPLY_AUTH_IN_TRANSACTION,
		   [SMTP_STATE_CHUNKED] = SMTP_REPLY_AUTH_IN_TRANSACTION},
    [SMTP_STARTTLS] = {[SMTP_STATE_GREETED] = SMTP_REPLY_HELLO_FIRST,
		       [SMTP_STATE_MAIL] = SMTP_REPLY_STARTTLS_IN_TRANSACTION,
		       [SMTP_STATE_RCPT] = SMTP_REPLY_STARTTLS_IN_TRANSACTION,
		       [SMTP_STATE_CHUNKED] = SMTP_REPLY_STARTTLS_IN_TRANSACTION},
};

static void run_command(struct smtp_session *session, struct bytes line)
{
	struct smtp_request request = {0};
	enum smtp_verb verb = smtp_verb_of(line, &request.arguments);
	enum smtp_reply refusal = out_of_order[verb][session->state];

	if (refusal == SMTP_REPLY_NONE && commands[verb].check != NULL)
		refusal = commands[verb].check(session, &request);
	if (refusal == SMTP_REPLY_NONE)
		commands[verb].proceed(session, &request);
	else
		smtp_session_reply(session, refusal);
}

size_t smtp_command_octets(struct smtp_session *session, struct bytes in)
{
	static const enum smtp_reply faults[] = {
	    [SMTP_LINE_BARE_LF] = SMTP_REPLY_LINE_BARE_LF,
	    [SMTP_LINE_BARE_CR] = SMTP_REPLY_LINE_BARE_CR,
	    [SMTP_LINE_NUL] = SMTP_REPLY_LINE_NUL,
	    [SMTP_LINE_TOO_LONG] = SMTP_REPLY_LINE_TOO_LONG,
	};
	enum smtp_line_event event;
	size_t used;

	if (session->skip > 0) {
		used = in.len < session->skip ? in.len : (size_t)session->skip;
		session->skip -= used;
		return used;
	}
	used = smtp_line_feed(&session->line, in, &event);
	if (event == SMTP_LINE_MORE)
		return used;
	session->active_ms = clock_monotonic_ms();
	if (event != SMTP_LINE_READY) {
		smtp_auth_abandon(session);
		smtp_session_reply(session, faults[event]);
	} else if (session->state == SMTP_STATE_AUTH)
		smtp_auth_response(session, smtp_line_text(&session->line));
	else
		run_command(session, smtp_line_text(&session->line));
	return used;
}

enum smtp_reply smtp_check_unknown(const struct smtp_session *session, struct smtp_request *request)
{
	(void)session;
	(void)request;
	return SMTP_REPLY_UNKNOWN_COMMAND;
}
