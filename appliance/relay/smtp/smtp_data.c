/*
 * The octets of a message, from the input buffer into its submission. Once the message is bound to be refused the submission
 * is gone, and what still comes is only read to its end, where the reply belongs.
 */
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_session.h"

static void on_resume(void *arg)
{
	struct smtp_session *session = arg;

	session->paused = false;
	smtp_session_run(session);
}

void smtp_content_begin(struct smtp_session *session, bool dots)
{
	struct smtp_transaction *transaction = session->transaction;
	char *client = smtp_session_client(session);
	struct submission_envelope envelope;

	smtp_transaction_unite(transaction);
	envelope = (struct submission_envelope){
	    .config = transaction->config,
	    .server = transaction->server,
	    .sender = transaction->sender,
	    .recipients = transaction->recipients,
	    .n_recipients = transaction->n_recipients,
	    .body_type = transaction->body_type,
	    .smtputf8 = transaction->smtputf8,
	    .envelope_id = transaction->envelope_id,
	    .ret = transaction->ret,
	    .client = client,
	    .client_ip = session->client,
	    .protocol = smtp_session_protocol(session),
	    .user = transaction->user,
	    .expected_size = transaction->declared_size,
	};

	transaction->body = (struct smtp_body){.dots = dots, .normalise = transaction->server->normalise_line_ends};
	transaction->submission = submission_begin(&session->server->context, &envelope);
	submission_on_resume(transaction->submission, on_resume, session);
	free(client);
}

static void refuse(struct smtp_session *session, enum smtp_reply reply)
{
	struct smtp_transaction *transaction = session->transaction;

	transaction->refusal = reply;
	submission_abort(transaction->submission);
	transaction->submission = NULL;
	session->paused = false;
}

static enum smtp_reply content_fault(const struct smtp_transaction *transaction)
{
	static const enum smtp_reply faults[] = {
	    [SMTP_BODY_GOOD] = SMTP_REPLY_NONE,
	    [SMTP_BODY_BARE_CR] = SMTP_REPLY_BODY_BARE_CR,
	    [SMTP_BODY_BARE_LF] = SMTP_REPLY_BODY_BARE_LF,
	};

	if (transaction->body.fault == SMTP_BODY_GOOD && transaction->size > transaction->server->limits.message_bytes)
		return SMTP_REPLY_TOO_LARGE;
	return faults[transaction->body.fault];
}

static void append(struct smtp_session *session, struct bytes octets)
{
	struct smtp_transaction *transaction = session->transaction;
	enum smtp_reply fault;

	if (transaction->refusal != SMTP_REPLY_NONE)
		return;
	transaction->size += octets.len;
	fault = content_fault(transaction);
	if (fault != SMTP_REPLY_NONE)
		refuse(session, fault);
	else if (octets.len > 0 && !submission_append(transaction->submission, octets))
		session->paused = true;
}

static void on_finished(const struct submission_reply *reply, void *arg)
{
	struct smtp_session *session = arg;

	session->transaction->submission = NULL; /* it frees itself */
	smtp_session_reset(session);
	session->active_ms = clock_monotonic_ms();
	session->messages++;
	if (reply->code == 250) {
		session->bad_commands = 0;
		session->server->state.accepted_total++;
	} else {
		session->server->state.refused_total++;
	}
	smtp_reply_put_text(&session->replies, reply->code, reply->enhanced, reply->text);
	smtp_session_run(session);
}

static void content_refused(struct smtp_session *session)
{
	enum smtp_reply reply = session->transaction->refusal;

	log_info("smtp.message-refused", SMTP_SESSION_LOG(session), LOG_TEXT("sender", session->transaction->sender),
		 LOG_NUMBER("recipients", session->transaction->n_recipients), LOG_NUMBER("octets", session->transaction->size),
		 LOG_TEXT("reply", smtp_reply_row(reply)->text));
	session->messages++;
	session->server->state.refused_total++;
	smtp_session_reset(session);
	smtp_session_reply(session, reply);
}

static void content_end(struct smtp_session *session)
{
	if (session->transaction->refusal != SMTP_REPLY_NONE) {
		content_refused(session);
		return;
	}
	smtp_session_set_state(session, SMTP_STATE_FINISHING);
	submission_finish(session->transaction->submission, on_finished, session);
}

static size_t use(struct smtp_session *session, struct bytes in)
{
	struct smtp_body *body = &session->transaction->body;
	struct buf normal = {0};
	struct bytes octets;
	size_t used;

	session->active_ms = clock_monotonic_ms();
	if (!body->normalise) {
		used = smtp_body_feed(body, in, &octets);
		append(session, octets);
		return used;
	}
	used = smtp_body_normalise(body, in, &normal);
	append(session, buf_bytes(&normal));
	buf_clear(&normal);
	return used;
}

size_t smtp_data_octets(struct smtp_session *session, struct bytes in)
{
	struct smtp_transaction *transaction = session->transaction;
	size_t used = use(session, in);

	if (transaction->body.at == SMTP_BODY_END)
		content_end(session);
	return used;
}

static void chunk_end(struct smtp_session *session)
{
	struct smtp_transaction *transaction = session->transaction;

	if (transaction->chunk_last) {
		if (!smtp_body_finish(&transaction->body))
			append(session,
			       bytes_text("\r\n")); /* a last line without its end gets one: DATA could not carry it else */
		content_end(session);
		return;
	}
	smtp_session_set_state(session, SMTP_STATE_CHUNKED);
	smtp_session_reply(session, transaction->refusal != SMTP_REPLY_NONE ? transaction->refusal : SMTP_REPLY_CHUNK_OK);
}

void smtp_chunk_begin(struct smtp_session *session, uint64_t octets, bool last)
{
	session->transaction->chunk_left = octets;
	session->transaction->chunk_last = last;
	smtp_session_set_state(session, SMTP_STATE_CHUNK);
	if (octets == 0)
		chunk_end(session);
}

size_t smtp_chunk_octets(struct smtp_session *session, struct bytes in)
{
	struct smtp_transaction *transaction = session->transaction;
	size_t used = use(session, bytes_slice(in, 0, transaction->chunk_left));

	transaction->chunk_left -= used;
	if (transaction->chunk_left == 0)
		chunk_end(session);
	return used;
}
