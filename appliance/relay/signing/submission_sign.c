#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/relay/queue/fault.h"
#include "appliance/relay/signing/submission_private.h"
#include "appliance/relay/signing/tally.h"

#define SIGNING_TIME_NEAR_SECONDS (50 * 60) /* of the Date field: Thunderbird shows a mismatch beyond an hour (design §11) */

static const EVP_MD *message_digest(enum sign_digest digest)
{
	if (digest == SIGN_SHA384)
		return EVP_sha384();
	return digest == SIGN_SHA512 ? EVP_sha512() : EVP_sha256();
}

static void digest_begin(struct submission *submission, const struct certificate *certificate)
{
	submission->digest_certificate = certificate;
	EVP_MD_CTX_free(submission->digest);
	submission->digest = EVP_MD_CTX_new();
	EVP_DigestInit_ex(submission->digest, message_digest(config_certificate_digest(certificate)), NULL);
}

/* The header is complete: who signs, if anybody, decides which digest is taken of the octets that follow. */
static void header_complete(struct submission *submission)
{
	const struct certificate *certificate;
	struct buf head = {0};
	bool inexact;

	submission->header_seen = true;
	submission->from = mime_header_from(mime_scan_header(submission->scan), &submission->from_address);
	if (submission->from != MIME_FROM_ONE || !submission->server->smime_enabled)
		return;
	certificate = decision_certificate(submission->server, submission->from_address, &inexact);
	if (certificate == NULL)
		return;
	digest_begin(submission, certificate);
	mime_scan_signed_head(submission->scan, &head);
	EVP_DigestUpdate(submission->digest, head.data, head.len);
	buf_clear(&head);
}

void submission_digest_octets(struct submission *submission, struct bytes octets, uint64_t offset)
{
	uint64_t from = offset, to = offset + octets.len, body, end;

	if (!mime_scan_header_complete(submission->scan))
		return;
	if (!submission->header_seen)
		header_complete(submission);
	if (submission->digest == NULL)
		return;
	body = mime_scan_header(submission->scan)->body_offset;
	end = mime_scan_signed_end(submission->scan);
	if (from < body)
		from = body;
	if (to > end)
		to = end;
	if (from < to)
		EVP_DigestUpdate(submission->digest, octets.data + (from - offset), (size_t)(to - from));
}

static void on_signed(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg);

/* Absent where a reader would find it far from the Date field, or finds no Date; never a false time (design §11). */
static int64_t signing_time(const struct submission *submission)
{
	int64_t now = clock_wall_seconds(), date;

	if (!mime_header_date(mime_scan_header(submission->scan), &date))
		return 0;
	return now - date <= SIGNING_TIME_NEAR_SECONDS && date - now <= SIGNING_TIME_NEAR_SECONDS ? now : 0;
}

bool submission_pss(const struct submission *submission)
{
	return submission->server->pss && strncmp(submission->decision.certificate->key_type, "RSA", 3) == 0;
}

static void request_signature(struct submission *submission)
{
	const struct certificate *certificate = submission->decision.certificate;
	struct sign_request request = {.certificate = certificate->id,
				       .algorithm = config_certificate_digest(certificate),
				       .signing_time = signing_time(submission),
				       .pss = submission_pss(submission)};
	int64_t deadline = clock_monotonic_ms() + submission->config->signing_deadline_ms;

	EVP_DigestFinal_ex(submission->digest, request.digest, NULL);
	submission->state = SUBMISSION_SIGNING;
	submission->sign_asked_ms = clock_monotonic_ms();
	submission->sign_id = signer_request(submission->context.signer, &request, deadline, on_signed, submission);
}

static bool build_message(struct submission *submission, struct bytes cms, struct err *err)
{
	char boundary[RENDERING_BOUNDARY_BYTES];
	const char *micalg = sign_digest_micalg(config_certificate_digest(submission->decision.certificate));

	if (!rendering_new_boundary(boundary, err))
		return false;
	rendering_signed_message(submission->scan, &submission->part, micalg, boundary, cms, &submission->message);
	return true;
}

static void on_signed(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg)
{
	static const char *const replies[] = {
	    [SIGNER_LOCKED] = "Signing is locked",
	    [SIGNER_UNAVAILABLE] = "Signing is not available: the token is absent",
	    [SIGNER_DEADLINE] = "Signing did not finish in time",
	    [SIGNER_FAILED] = "Signing failed",
	    [SIGNER_SUSPENDED] = "Signing is suspended: the HSM does not sign",
	};
	struct submission *submission = arg;
	struct err err;

	(void)fault_point("message.signed");
	if (outcome == SIGNER_SIGNED && submission->context.tally != NULL)
		tally_latency_add(&submission->context.tally->signing, clock_monotonic_ms() - submission->sign_asked_ms);
	if (outcome == SIGNER_SIGNED && build_message(submission, cms, &err)) {
		submission_check(submission);
		return;
	}
	if (outcome == SIGNER_SIGNED)
		text = err.text;
	log_warning("message.not-signed", LOG_TEXT("certificate", submission->decision.certificate->address),
		    LOG_TEXT("why", text));
	submission_set_failure(submission, 451, "4.3.0", "%s", outcome == SIGNER_SIGNED ? "Signing failed" : replies[outcome]);
	submission_end(submission);
}

/* ---- Messages that need edits: encoded on a pool thread ---- */

static ssize_t read_original(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	const struct submission *submission = arg;

	return queue_body_pread(submission->original, data, len, offset, err);
}

static bool write_encoded(void *arg, struct bytes octets, struct err *err)
{
	struct submission *submission = arg;

	return queue_body_append_blocking(submission->encoded, octets, err);
}

static void digest_signed(void *arg, struct bytes octets)
{
	struct submission *submission = arg;

	EVP_DigestUpdate(submission->digest, octets.data, octets.len);
}

static void encode_work(void *arg)
{
	struct submission *submission = arg;
	const struct rendering_io io = {
	    .read = read_original, .write_encoded = write_encoded, .signed_octets = digest_signed, .arg = submission};

	if (rendering_signed_part(submission->scan, &io, &submission->part, &submission->encode_error))
		submission->encode_error.code = ERR_NONE;
}

static void encode_failed(struct submission *submission, const struct err *err)
{
	log_error("message.encode-failed", LOG_ERR(err));
	submission_set_failure(submission, 451, "4.3.0", "The message could not be prepared for signing");
	submission_end(submission);
}

static void on_encoded_sealed(const struct err *err, void *arg)
{
	struct submission *submission = arg;

	if (err != NULL) {
		encode_failed(submission, err);
		return;
	}
	request_signature(submission);
}

static void encode_done(void *arg)
{
	struct submission *submission = arg;

	if (submission->aborted) {
		submission_free(submission);
		return;
	}
	if (submission->encode_error.code != ERR_NONE) {
		encode_failed(submission, &submission->encode_error);
		return;
	}
	submission->state = SUBMISSION_SEALING_ENCODED;
	queue_body_seal(submission->encoded, on_encoded_sealed, submission);
}

static void encode(struct submission *submission)
{
	digest_begin(submission, submission->decision.certificate);
	submission->encoded = queue_body_begin(submission->context.queue, 0);
	submission->state = SUBMISSION_ENCODING;
	pool_submit(submission->context.pool, encode_work, encode_done, submission);
}

static void sign(struct submission *submission)
{
	struct err err;

	if (mime_scan_verdict(submission->scan) == MIME_REENCODE) {
		encode(submission);
		return;
	}
	/* The digest was taken of the octets as they came, for the certificate that the From field names. */
	if (submission->digest == NULL || submission->digest_certificate != submission->decision.certificate) {
		err_set(&err, ERR_INTERNAL, "the digest was taken for another certificate");
		encode_failed(submission, &err);
		return;
	}
	if (!rendering_signed_part(submission->scan, NULL, &submission->part, &err)) {
		encode_failed(submission, &err);
		return;
	}
	request_signature(submission);
}

/* ---- The decision ---- */

static void make_decision(struct submission *submission)
{
	const char **addresses = mem_new_array(submission->n_recipients, sizeof *addresses);
	struct decision_facts facts = {.server = submission->server,
				       .user = submission->user == NULL ? NULL
									: config_find_user(submission->server, submission->user),
				       .recipients = addresses,
				       .n_recipients = submission->n_recipients,
				       .from = submission->from,
				       .from_address = submission->from_address,
				       .now = clock_wall_seconds()};

	for (size_t i = 0; i < submission->n_recipients; i++)
		addresses[i] = submission->recipients[i].address;
	decision_judge(&facts, submission->scan, &submission->decision);
	free(addresses);
	if (submission->decision.refuse_code != 0)
		submission_set_failure(submission, submission->decision.refuse_code, submission->decision.refuse_enhanced, "%s",
				       submission->decision.refuse_text);
}

void submission_decide(struct submission *submission)
{
	if (submission->failure.code == 0 && !submission->header_seen)
		header_complete(submission); /* a message that ends within its header */
	if (submission->failure.code == 0)
		make_decision(submission);
	if (submission->failure.code != 0)
		submission_end(submission);
	else if (submission->decision.n_signed > 0)
		sign(submission);
	else
		submission_commit(submission);
}
