/*
 * The one place where recipients' rows are made: the rendering of each is the decision's, and a signed one exists only
 * together with its signature.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "appliance/base/log.h"
#include "appliance/relay/queue/fault.h"
#include "appliance/relay/signing/received.h"
#include "appliance/relay/signing/submission_private.h"

#define FIELD_LOGGED_MAX_BYTES 998 /* of a Message-ID or Subject, in the rows of the log */

static void on_committed(enum queue_commit_result result, const struct err *err, void *arg)
{
	struct submission *submission = arg;

	if (result == QUEUE_STORED) {
		(void)fault_point("message.stored");
		submission_stored(submission);
		return;
	}
	if (err != NULL)
		log_error("message.commit-failed", LOG_ERR(err));
	if (result == QUEUE_COMMIT_FULL)
		submission_set_failure(submission, 452, "4.3.1", "Insufficient system storage");
	else
		submission_set_failure(submission, 451, "4.3.0", "The message could not be stored");
	submission_end(submission);
}

/* Copies are further recipients with an envelope of their own: plain, silent about their fate. */
static void add_copies(struct submission *submission)
{
	const struct decision *decision = &submission->decision;
	size_t count = submission->n_recipients + decision->n_copies;

	submission->recipients = mem_resize(submission->recipients, count, sizeof *submission->recipients);
	for (size_t i = 0; i < decision->n_copies; i++)
		submission->recipients[submission->n_recipients + i] =
		    (struct queue_recipient){.address = mem_string(decision->copies[i].address),
					     .rendering = QUEUE_PLAIN,
					     .rule = decision->copies[i].rule,
					     .sender = decision->copies[i].sender,
					     .notify = decision->copies[i].sender[0] == '\0' ? QUEUE_NOTIFY_NEVER : 0};
	submission->n_recipients = count;
}

static void apply_decision(struct submission *submission)
{
	for (size_t i = 0; i < submission->n_recipients; i++) {
		const struct decision_recipient *decided = &submission->decision.recipients[i];

		submission->recipients[i].rendering = decided->sign ? QUEUE_SIGNED : QUEUE_PLAIN;
		submission->recipients[i].rule = decided->rule;
	}
}

void submission_trace(const struct submission *submission, struct buf *out)
{
	const struct received_facts *facts;
	char id[24];

	snprintf(id, sizeof id, "%" PRIx64, submission->id);
	facts = &(struct received_facts){
	    .mode = submission->server->received,
	    .client = submission->client,
	    .by = submission->config->host_name,
	    .protocol = submission->protocol,
	    .id = id,
	    .recipient = submission->n_recipients == 1 ? submission->recipients[0].address : NULL,
	    .time = submission->received,
	};
	received_field(out, facts);
}

static char *field_text(const struct submission *submission, const char *name)
{
	const struct mime_field *field = mime_header_find(mime_scan_header(submission->scan), name, NULL);
	struct buf value = {0};
	char *text;

	if (field == NULL)
		return mem_string("");
	decision_field_value(&value, field);
	if (value.len > FIELD_LOGGED_MAX_BYTES)
		value.len = FIELD_LOGGED_MAX_BYTES;
	text = mem_string(buf_text(&value));
	buf_clear(&value);
	return text;
}

/* A body that nothing was encoded into is not stored. */
static struct queue_body *encoded_body(struct submission *submission)
{
	if (submission->encoded != NULL && queue_body_size(submission->encoded) == 0) {
		queue_body_discard(submission->encoded);
		submission->encoded = NULL;
	}
	return submission->encoded;
}

/* What the octets are, whatever the client has declared. */
static enum queue_body_type needed_body_type(const struct submission *submission)
{
	if (submission->body_type == QUEUE_BINARYMIME)
		return QUEUE_BINARYMIME;
	return mime_scan_has_8bit(submission->scan) ? QUEUE_8BITMIME : QUEUE_7BIT;
}

void submission_commit(struct submission *submission)
{
	struct buf prefix = {0}, addition = {0};
	struct queue_message message;
	struct queue_body *original = submission->original, *encoded = encoded_body(submission);
	char *id_field = field_text(submission, "Message-ID"), *subject = field_text(submission, "Subject");
	char *api_data = field_text(submission, "X-Api-Data");

	submission_trace(submission, &prefix);
	apply_decision(submission);
	if (submission->decision.n_copies > 0)
		add_copies(submission);
	if (submission->decision.n_signed > 0)
		rendering_encode(&addition, &submission->message);
	message = (struct queue_message){
	    .id = submission->id,
	    .server = submission->server->name,
	    .sender = submission->sender,
	    .envelope_id = submission->envelope_id,
	    .ret = submission->ret,
	    .smtputf8 = submission->smtputf8,
	    .body_type = needed_body_type(submission),
	    .received = submission->received,
	    .expires = submission->received + submission->server->queue_lifetime_ms / 1000,
	    .prefix = buf_bytes(&prefix),
	    .addition = buf_bytes(&addition),
	    .plain_size = prefix.len + queue_body_size(original),
	    .signed_size = submission->decision.n_signed > 0 ? prefix.len + submission->message.size : 0,
	    .message_id = id_field,
	    .header_from = submission->from_address,
	    .subject = subject,
	    .sender_ip = submission->client_ip,
	    .api_data = api_data != NULL && *api_data != '\0' ? api_data : NULL,
	};
	submission->state = SUBMISSION_COMMITTING;
	(void)fault_point("message.before-commit");
	submission->original = submission->encoded = NULL; /* the queue has them now */
	queue_commit(submission->context.queue, &message, submission->recipients, submission->n_recipients, original, encoded,
		     on_committed, submission);
	buf_clear(&prefix);
	buf_clear(&addition);
	free(id_field);
	free(subject);
	free(api_data);
}
