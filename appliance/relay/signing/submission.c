#include "appliance/relay/signing/submission.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/queue/fault.h"
#include "appliance/relay/signing/submission_private.h"
#include "appliance/relay/signing/tally.h"

void submission_set_failure(struct submission *submission, int code, const char *enhanced, const char *format, ...)
{
	va_list args;

	if (submission->failure.code != 0)
		return; /* the first one is the cause */
	submission->failure.code = code;
	submission->failure.enhanced = enhanced;
	va_start(args, format);
	vsnprintf(submission->failure.text, sizeof submission->failure.text, format, args);
	va_end(args);
}

static char *copy_text(const char *text)
{
	return text == NULL ? NULL : mem_string(text);
}

static void copy_envelope(struct submission *submission, const struct submission_envelope *envelope)
{
	submission->config = config_ref(envelope->config);
	submission->server = envelope->server;
	submission->sender = mem_string(envelope->sender);
	submission->envelope_id = copy_text(envelope->envelope_id);
	submission->client = mem_string(envelope->client);
	submission->client_ip = copy_text(envelope->client_ip);
	submission->protocol = mem_string(envelope->protocol);
	submission->user = copy_text(envelope->user);
	submission->ret = envelope->ret;
	submission->smtputf8 = envelope->smtputf8;
	submission->body_type = envelope->body_type;
	submission->n_recipients = envelope->n_recipients;
	submission->recipients = mem_new_array(envelope->n_recipients, sizeof *submission->recipients);
	for (size_t i = 0; i < envelope->n_recipients; i++) {
		submission->recipients[i] = envelope->recipients[i];
		submission->recipients[i].address = mem_string(envelope->recipients[i].address);
		submission->recipients[i].original = copy_text(envelope->recipients[i].original);
	}
}

struct submission *submission_begin(const struct submission_context *context, const struct submission_envelope *envelope)
{
	struct submission *submission = mem_new(sizeof *submission);

	submission->context = *context;
	copy_envelope(submission, envelope);
	submission->received = clock_wall_seconds();
	submission->id = queue_new_id(context->queue);
	submission->original = queue_body_begin(context->queue, envelope->expected_size);
	submission->scan = mime_scan_new();
	return submission;
}

static void body_failed(struct submission *submission)
{
	const struct err *err = queue_body_error(submission->original);

	if (err->code == ERR_LIMIT)
		submission_set_failure(submission, 452, "4.3.1", "Insufficient system storage");
	else
		submission_set_failure(submission, 451, "4.3.0", "The message could not be stored");
	log_error("message.body-failed", LOG_ERR(err));
}

bool submission_append(struct submission *submission, struct bytes octets)
{
	uint64_t before = mime_scan_size(submission->scan);
	enum queue_append appended;

	if (submission->failure.code != 0)
		return true; /* swallowed; the reply comes at the end of the data */
	if (before + octets.len > submission->server->limits.message_bytes) {
		submission_set_failure(submission, 552, "5.3.4", "Message is larger than %" PRIu64 " bytes",
				       submission->server->limits.message_bytes);
		return true;
	}
	mime_scan_feed(submission->scan, octets);
	submission_digest_octets(submission, octets, before);
	appended = queue_body_append(submission->original, octets);
	if (appended == QUEUE_APPEND_FAILED)
		body_failed(submission);
	return appended != QUEUE_APPEND_WAIT;
}

void submission_on_resume(struct submission *submission, void (*resume)(void *arg), void *arg)
{
	queue_body_on_resume(submission->original, resume, arg);
}

static void on_sealed(const struct err *err, void *arg)
{
	struct submission *submission = arg;

	if (err != NULL) {
		log_error("message.body-failed", LOG_ERR(err));
		submission_set_failure(submission, 451, "4.3.0", "The message could not be stored");
		submission_end(submission);
		return;
	}
	submission_decide(submission);
}

void submission_finish(struct submission *submission, void (*done)(const struct submission_reply *reply, void *arg), void *arg)
{
	submission->done = done;
	submission->done_arg = arg;
	submission->state = SUBMISSION_SEALING;
	(void)fault_point("message.received");
	if (submission->failure.code == 0)
		mime_scan_finish(submission->scan);
	queue_body_seal(submission->original, on_sealed, submission);
}

static void log_refusal(const struct submission *submission, const char *id)
{
	log_info("message.refused", LOG_TEXT("id", id), LOG_TEXT("server", submission->server->name),
		 LOG_TEXT("from", submission->from_address == NULL ? "" : submission->from_address),
		 LOG_TEXT("sender", submission->sender), LOG_TEXT("client", submission->client),
		 LOG_NUMBER("recipients", submission->n_recipients), LOG_NUMBER("size", mime_scan_size(submission->scan)),
		 LOG_NUMBER("code", submission->failure.code), LOG_TEXT("reply", submission->failure.text));
}

static enum tally_interface interface_of(const struct submission *submission)
{
	return strncmp(submission->protocol, "HTTP", 4) == 0 ? TALLY_API : TALLY_SMTP;
}

static void count_refused(const struct submission *submission)
{
	const struct submission_reply *failure = &submission->failure;
	struct submission_tally *tally = submission->context.tally;

	if (tally != NULL)
		tally->refused[interface_of(submission)][tally_reason_of(failure->code, failure->enhanced, failure->text)]++;
}

static void count_stored(const struct submission *submission)
{
	struct submission_tally *tally = submission->context.tally;
	size_t n_signed = submission->decision.n_signed;

	if (tally == NULL)
		return;
	(n_signed > 0 ? tally->signed_messages : tally->plain_messages)[interface_of(submission)]++;
	tally->octets += mime_scan_size(submission->scan);
	tally->signed_recipients += n_signed;
	tally->plain_recipients += submission->n_recipients - n_signed;
}

void submission_end(struct submission *submission)
{
	char id[24];

	snprintf(id, sizeof id, "%" PRIx64, submission->id);
	log_refusal(submission, id);
	count_refused(submission);
	if (!submission->aborted)
		submission->done(&submission->failure, submission->done_arg);
	submission_free(submission);
}

static void log_stored(const struct submission *submission, const char *id)
{
	const struct decision *decision = &submission->decision;

	log_info("message.accepted", LOG_TEXT("id", id), LOG_TEXT("server", submission->server->name),
		 LOG_TEXT("from", submission->from_address == NULL ? "" : submission->from_address),
		 LOG_TEXT("sender", submission->sender), LOG_TEXT("client", submission->client),
		 LOG_TEXT("user", submission->user == NULL ? "" : submission->user),
		 LOG_NUMBER("size", mime_scan_size(submission->scan)), LOG_NUMBER("recipients", submission->n_recipients),
		 LOG_NUMBER("signed", decision->n_signed), LOG_NUMBER("copies", decision->n_copies),
		 LOG_TEXT("certificate", decision->certificate == NULL ? "" : decision->certificate->address),
		 LOG_NUMBER("reencoded", mime_scan_verdict(submission->scan) == MIME_REENCODE && decision->n_signed > 0),
		 LOG_TEXT("note", decision->note));
}

void submission_stored(struct submission *submission)
{
	struct submission_reply reply = {.code = 250, .enhanced = "2.0.0", .id = submission->id};
	char id[24];

	snprintf(id, sizeof id, "%" PRIx64, submission->id);
	snprintf(reply.text, sizeof reply.text, "Ok: queued as %s", id);
	log_stored(submission, id);
	count_stored(submission);
	if (!submission->aborted)
		submission->done(&reply, submission->done_arg);
	submission_free(submission);
}

void submission_free(struct submission *submission)
{
	for (size_t i = 0; i < submission->n_recipients; i++) {
		free((void *)(uintptr_t)submission->recipients[i].address);
		free((void *)(uintptr_t)submission->recipients[i].original);
	}
	free(submission->recipients);
	free(submission->sender);
	free(submission->envelope_id);
	free(submission->client);
	free(submission->client_ip);
	free(submission->protocol);
	free(submission->user);
	free(submission->from_address);
	queue_body_discard(submission->original);
	queue_body_discard(submission->encoded);
	mime_scan_free(submission->scan);
	EVP_MD_CTX_free(submission->digest);
	decision_clear(&submission->decision);
	rendering_clear(&submission->part);
	rendering_clear(&submission->message);
	config_unref(submission->config);
	free(submission);
}

void submission_abort(struct submission *submission)
{
	submission->aborted = true;
	switch (submission->state) {
	case SUBMISSION_ENCODING: /* a pool thread uses it: freed at its end */
	case SUBMISSION_CHECKING:
	case SUBMISSION_COMMITTING: /* too late: it may be stored already */
		return;
	case SUBMISSION_SIGNING:
		signer_cancel(submission->context.signer, submission->sign_id);
		break;
	default:
		break;
	}
	submission_free(submission);
}
