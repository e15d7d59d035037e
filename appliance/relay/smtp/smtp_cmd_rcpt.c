/* RCPT (RFC 5321 §4.1.1.3, NOTIFY and ORCPT of RFC 3461). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_dsn.h"
#include "appliance/relay/smtp/smtp_session.h"

static enum smtp_reply check_param(const struct smtp_transaction *transaction, struct smtp_request *request,
				   const struct smtp_param *param)
{
	if (bytes_equal_nocase(param->keyword, "NOTIFY"))
		return smtp_parse_notify(param->value, &request->notify) ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_NOTIFY;
	if (!bytes_equal_nocase(param->keyword, "ORCPT"))
		return SMTP_REPLY_PARAM_UNKNOWN;
	request->original = param->value;
	return smtp_is_original_recipient(param->value, transaction->smtputf8) ? SMTP_REPLY_NONE : SMTP_REPLY_PARAM_ORCPT;
}

static enum smtp_reply check_syntax(const struct smtp_transaction *transaction, struct smtp_request *request)
{
	static const enum smtp_reply address_faults[] = {
	    [SMTP_PATH_SYNTAX] = SMTP_REPLY_RECIPIENT_SYNTAX,
	    [SMTP_PATH_NO_DOMAIN] = SMTP_REPLY_RECIPIENT_NO_DOMAIN,
	    [SMTP_PATH_TOO_LONG] = SMTP_REPLY_RECIPIENT_TOO_LONG,
	    [SMTP_PATH_NEEDS_UTF8] = SMTP_REPLY_RECIPIENT_UTF8,
	};
	unsigned flags = SMTP_PATH_POSTMASTER | (transaction->smtputf8 ? SMTP_PATH_UTF8 : 0);
	enum smtp_path_result why = SMTP_PATH_OK;
	enum smtp_reply fault = SMTP_REPLY_NONE;

	switch (smtp_parse_path_command(request->arguments, "TO:", flags, &request->path, &why)) {
	case SMTP_PATH_COMMAND_FORM:
		return SMTP_REPLY_RCPT_SYNTAX;
	case SMTP_PATH_COMMAND_ADDRESS:
		return address_faults[why];
	case SMTP_PATH_COMMAND_PARAM:
		return SMTP_REPLY_PARAM_SYNTAX;
	case SMTP_PATH_COMMAND_OK:
		break;
	}
	for (size_t i = 0; fault == SMTP_REPLY_NONE && i < request->path.n_params; i++)
		fault = check_param(transaction, request, &request->path.params[i]);
	return fault;
}

enum smtp_reply smtp_check_rcpt(const struct smtp_session *session, struct smtp_request *request)
{
	const struct smtp_transaction *transaction = session->transaction;
	enum smtp_reply fault = check_syntax(transaction, request);
	char *text;

	if (fault == SMTP_REPLY_NONE && !transaction->may_relay)
		fault = SMTP_REPLY_RELAYING_DENIED;
	if (fault == SMTP_REPLY_NONE && transaction->n_recipients >= transaction->server->limits.recipients)
		fault = SMTP_REPLY_RECIPIENTS;
	if (fault == SMTP_REPLY_NONE)
		return fault;
	text = bytes_string(request->arguments);
	log_info("smtp.recipient-refused", SMTP_SESSION_LOG(session), LOG_TEXT("sender", transaction->sender),
		 LOG_TEXT("argument", text), LOG_TEXT("reply", smtp_reply_row(fault)->text));
	free(text);
	return fault;
}

/* RFC 5321 §4.5.1: the postmaster without a domain is ours. */
static void qualify(const struct smtp_session *session, char *address, size_t size)
{
	if (strchr(address, '@') == NULL) {
		size_t len = strlen(address);

		snprintf(address + len, size - len, "@%s", session->service->config->host_name);
	}
}

void smtp_proceed_rcpt(struct smtp_session *session, const struct smtp_request *request)
{
	char address[SMTP_ADDRESS_MAX_BYTES + 1];

	memcpy(address, request->path.address, sizeof address);
	qualify(session, address, sizeof address);
	smtp_transaction_add(session->transaction, address, request->original, request->notify);
	if (session->state == SMTP_STATE_MAIL)
		smtp_session_set_state(session, SMTP_STATE_RCPT);
	smtp_session_reply(session, SMTP_REPLY_RECIPIENT_OK);
}
