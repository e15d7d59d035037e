/* MAIL (RFC 5321 §4.1.1.2, SIZE of RFC 1870, BODY of RFC 6152, SMTPUTF8 of RFC 6531, RET and ENVID of RFC 3461, AUTH of RFC 4954
 * §5). */
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_dsn.h"
#include "appliance/relay/smtp/smtp_session.h"

static enum smtp_reply check_size(struct smtp_request *request, struct bytes value)
{
	return smtp_parse_number(value, &request->size) ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_SIZE;
}

static enum smtp_reply check_body(struct smtp_request *request, struct bytes value)
{
	if (bytes_equal_nocase(value, "8BITMIME"))
		request->body_type = QUEUE_8BITMIME;
	else if (!bytes_equal_nocase(value, "7BIT"))
		return SMTP_REPLY_PARAM_BODY;
	return SMTP_REPLY_NONE;
}

/* Who submitted it in the first place, says the client; we pass nothing on, as if it had been AUTH=<>. */
static enum smtp_reply check_auth(struct smtp_request *request, struct bytes value)
{
	(void)request;
	return value.len > 0 ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_SYNTAX;
}

static enum smtp_reply check_utf8(struct smtp_request *request, struct bytes value)
{
	request->smtputf8 = true;
	return value.len == 0 ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_UTF8;
}

static enum smtp_reply check_return(struct smtp_request *request, struct bytes value)
{
	return smtp_parse_return(value, &request->ret) ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_RET;
}

static enum smtp_reply check_envelope_id(struct smtp_request *request, struct bytes value)
{
	request->envelope_id = value;
	return smtp_is_envelope_id(value) ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_ENVID;
}

static const struct {
	const char *keyword;
	enum smtp_reply (*check)(struct smtp_request *request, struct bytes value);
} params[] = {{"SIZE", check_size}, {"BODY", check_body},  {"SMTPUTF8", check_utf8},
	      {"AUTH", check_auth}, {"RET", check_return}, {"ENVID", check_envelope_id}};

static enum smtp_reply check_param(struct smtp_request *request, const struct smtp_param *param)
{
	for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
		if (bytes_equal_nocase(param->keyword, params[i].keyword))
			return params[i].check(request, param->value);
	}
	return SMTP_REPLY_PARAM_UNKNOWN;
}

/* The parameter stands behind the address that needs it. */
static bool lacks_utf8(const struct smtp_request *request)
{
	const char *c = request->path.address;

	while (*c != '\0' && (unsigned char)*c < 0x80)
		c++;
	return *c != '\0' && !request->smtputf8;
}

static enum smtp_reply check_syntax(struct smtp_request *request)
{
	static const enum smtp_reply address_faults[] = {
	    [SMTP_PATH_SYNTAX] = SMTP_REPLY_SENDER_SYNTAX,
	    [SMTP_PATH_NO_DOMAIN] = SMTP_REPLY_SENDER_NO_DOMAIN,
	    [SMTP_PATH_TOO_LONG] = SMTP_REPLY_SENDER_TOO_LONG,
	};
	enum smtp_path_result why = SMTP_PATH_OK;
	enum smtp_reply fault = SMTP_REPLY_NONE;

	switch (smtp_parse_path_command(request->arguments, "FROM:", SMTP_PATH_NULL | SMTP_PATH_UTF8, &request->path, &why)) {
	case SMTP_PATH_COMMAND_FORM:
		return SMTP_REPLY_MAIL_SYNTAX;
	case SMTP_PATH_COMMAND_ADDRESS:
		return address_faults[why];
	case SMTP_PATH_COMMAND_PARAM:
		return SMTP_REPLY_PARAM_SYNTAX;
	case SMTP_PATH_COMMAND_OK:
		break;
	}
	for (size_t i = 0; fault == SMTP_REPLY_NONE && i < request->path.n_params; i++)
		fault = check_param(request, &request->path.params[i]);
	return fault == SMTP_REPLY_NONE && lacks_utf8(request) ? SMTP_REPLY_SENDER_UTF8 : fault;
}

/* What has nothing to do with this command, but with us. */
static enum smtp_reply check_service(const struct smtp_session *session)
{
	const struct config_server *server = smtp_session_settings(session);

	if (!session->service->configured)
		return SMTP_REPLY_STOPPING;
	if (session->messages >= server->limits.messages_per_session)
		return SMTP_REPLY_MESSAGES;
	if (session->server->health != QUEUE_OK)
		return session->server->health == QUEUE_FULL ? SMTP_REPLY_STORE_FULL : SMTP_REPLY_STORE_FAILED;
	if (server->auth == CONFIG_AUTH_REQUIRED && smtp_session_user(session) == NULL)
		return SMTP_REPLY_AUTH_REQUIRED;
	return SMTP_REPLY_NONE;
}

static enum smtp_reply refused(const struct smtp_session *session, struct bytes arguments, enum smtp_reply reply)
{
	char *text = bytes_string(arguments);

	log_info("smtp.sender-refused", SMTP_SESSION_LOG(session), LOG_TEXT("argument", text),
		 LOG_TEXT("reply", smtp_reply_row(reply)->text));
	free(text);
	return reply;
}

enum smtp_reply smtp_check_mail(const struct smtp_session *session, struct smtp_request *request)
{
	enum smtp_reply fault = check_syntax(request);

	if (fault == SMTP_REPLY_NONE)
		fault = check_service(session);
	if (fault == SMTP_REPLY_NONE && request->size > smtp_session_settings(session)->limits.message_bytes)
		fault = SMTP_REPLY_TOO_LARGE;
	return fault == SMTP_REPLY_NONE ? fault : refused(session, request->arguments, fault);
}

void smtp_proceed_mail(struct smtp_session *session, const struct smtp_request *request)
{
	const struct config_limits *limits = &smtp_session_settings(session)->limits;
	int64_t wait_ms;

	if (!smtp_clients_message(session->service->clients, &session->counted, limits->messages_per_minute,
				  limits->receive_interval_ms, clock_monotonic_ms(), &wait_ms)) {
		smtp_session_reply(session, refused(session, request->arguments, SMTP_REPLY_RATE));
		return;
	}
	smtp_session_hold(session, wait_ms);
	session->transaction = smtp_transaction_new(session, request->path.address);
	session->transaction->body_type = request->body_type;
	session->transaction->smtputf8 = request->smtputf8;
	session->transaction->declared_size = request->size;
	session->transaction->ret = request->ret;
	session->transaction->envelope_id = request->envelope_id.len == 0 ? NULL : bytes_string(request->envelope_id);
	smtp_session_set_state(session, SMTP_STATE_MAIL);
	smtp_session_reply(session, SMTP_REPLY_SENDER_OK);
}
