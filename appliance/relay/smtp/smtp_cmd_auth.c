/* AUTH (RFC 4954). */
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_session.h"

/* Where a password does not help without a network, other networks get nothing to guess at. */
static bool network_may_log_in(const struct smtp_session *session)
{
	const struct config_server *server = smtp_session_settings(session);

	if (server->auth == CONFIG_AUTH_REQUIRED && server->n_networks == 0)
		return true;
	return server->auth == CONFIG_AUTH_OPTIONAL || smtp_session_network_allows(session);
}

static enum smtp_reply availability(const struct smtp_session *session)
{
	const struct config_server *server = smtp_session_settings(session);

	if (server->auth == CONFIG_AUTH_NONE || !network_may_log_in(session))
		return SMTP_REPLY_NO_AUTH;
	return session->encrypted || server->auth_without_tls ? SMTP_REPLY_NONE : SMTP_REPLY_AUTH_NEEDS_TLS;
}

bool smtp_auth_offered(const struct smtp_session *session)
{
	return availability(session) == SMTP_REPLY_NONE;
}

enum smtp_reply smtp_check_auth(const struct smtp_session *session, struct smtp_request *request)
{
	enum smtp_reply fault = availability(session);
	struct smtp_auth trial = {0};

	if (fault != SMTP_REPLY_NONE)
		return fault;
	if (session->user != NULL)
		return SMTP_REPLY_AUTH_TWICE;
	if (!smtp_parse_auth(request->arguments, &request->mechanism, &request->initial))
		return SMTP_REPLY_AUTH_SYNTAX;
	if (!smtp_auth_start(&trial, request->mechanism))
		return SMTP_REPLY_AUTH_MECHANISM;
	if (smtp_clients_may_log_in(session->service->clients, &session->counted,
				    smtp_session_settings(session)->limits.failed_logins, clock_monotonic_ms()))
		return SMTP_REPLY_NONE;
	log_info("smtp.authentication-put-off", SMTP_SESSION_LOG(session));
	return SMTP_REPLY_AUTH_BACK_OFF;
}

/* Back from the dialogue. */
static void end(struct smtp_session *session, enum smtp_reply reply)
{
	smtp_auth_clear(&session->auth);
	smtp_session_set_state(session, SMTP_STATE_READY);
	smtp_session_reply(session, reply);
}

static void on_checked(bool right, void *arg)
{
	struct smtp_session *session = arg;
	const char *user = smtp_auth_check_user(session->check);

	log_info(right ? "smtp.authenticated" : "smtp.authentication-failed", SMTP_SESSION_LOG(session), LOG_TEXT("user", user));
	smtp_clients_login(session->service->clients, &session->counted, right, clock_monotonic_ms());
	if (right)
		session->user = mem_string(user);
	session->check = NULL;
	end(session, right ? SMTP_REPLY_AUTHENTICATED : SMTP_REPLY_AUTH_WRONG);
	smtp_session_run(session);
}

static void check_password(struct smtp_session *session)
{
	session->check = smtp_auth_check_start(session->server->auth_checks, smtp_session_settings(session), &session->auth,
					       on_checked, session);
	if (session->check == NULL)
		end(session, SMTP_REPLY_AUTH_BUSY);
	else
		smtp_session_set_state(session, SMTP_STATE_AUTH_CHECK);
}

void smtp_auth_response(struct smtp_session *session, struct bytes line)
{
	switch (smtp_auth_feed(&session->auth, line)) {
	case SMTP_AUTH_MORE:
		smtp_session_reply(session, SMTP_REPLY_SEND_PASSWORD);
		break;
	case SMTP_AUTH_COMPLETE:
		check_password(session);
		break;
	case SMTP_AUTH_CANCELLED:
		end(session, SMTP_REPLY_AUTH_CANCELLED);
		break;
	case SMTP_AUTH_ENCODING:
		end(session, SMTP_REPLY_AUTH_ENCODING);
		break;
	case SMTP_AUTH_INVALID:
		end(session, SMTP_REPLY_AUTH_WRONG);
		break;
	}
}

void smtp_proceed_auth(struct smtp_session *session, const struct smtp_request *request)
{
	smtp_auth_start(&session->auth, request->mechanism);
	smtp_session_set_state(session, SMTP_STATE_AUTH);
	if (bytes_equal_text(request->initial, "="))
		smtp_auth_response(session, bytes_of(NULL, 0)); /* an empty initial response, RFC 4954 §4 */
	else if (request->initial.len > 0)
		smtp_auth_response(session, request->initial);
	else if (session->auth.step == SMTP_AUTH_PLAIN)
		smtp_session_reply(session, SMTP_REPLY_SEND_CREDENTIALS);
	else
		smtp_session_reply(session, SMTP_REPLY_SEND_USER);
}

void smtp_auth_abandon(struct smtp_session *session)
{
	if (session->state != SMTP_STATE_AUTH)
		return;
	smtp_auth_clear(&session->auth);
	smtp_session_set_state(session, SMTP_STATE_READY);
}
