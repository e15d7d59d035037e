/*
 * The self-check: what will be sent is read back out of the store's ranges by a reader of its own and verified with the
 * certificate, before 250. A body in memory takes less than the hand-over to a thread would; a file is read on a pool thread.
 */
#include <stdlib.h>

#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/relay/mime/signed_reader.h"
#include "appliance/relay/signing/identities.h"
#include "appliance/relay/signing/submission_private.h"

#define CHECK_CHUNK_BYTES 65536

static bool feed_range(struct signed_reader *reader, const struct queue_body *body, const struct piece *piece, void *room,
		       struct err *err)
{
	uint64_t done = 0;

	while (done < piece->length) {
		uint64_t left = piece->length - done;
		size_t wanted = left < CHECK_CHUNK_BYTES ? (size_t)left : CHECK_CHUNK_BYTES;
		ssize_t got = queue_body_pread(body, room, wanted, piece->offset + done, err);

		if (got < 0)
			return false;
		if (got == 0)
			return err_set(err, ERR_INTEGRITY, "the signed rendering reaches beyond the body");
		signed_reader_feed(reader, bytes_of(room, (size_t)got));
		done += (uint64_t)got;
	}
	return true;
}

static bool feed_memory(struct signed_reader *reader, struct bytes octets, const struct piece *piece, struct err *err)
{
	if (piece->offset > octets.len || piece->length > octets.len - piece->offset)
		return err_set(err, ERR_INTEGRITY, "the signed rendering reaches beyond the body");
	signed_reader_feed(reader, bytes_slice(octets, (size_t)piece->offset, (size_t)(piece->offset + piece->length)));
	return true;
}

static const struct queue_body *body_of(const struct submission *submission, const struct piece *piece)
{
	return piece->source == PIECE_ORIGINAL ? submission->original : submission->encoded;
}

static bool feed_body(struct signed_reader *reader, const struct queue_body *body, const struct piece *piece, void **room,
		      struct err *err)
{
	struct bytes octets = body == NULL ? bytes_of((const uint8_t *)"", 0) : queue_body_memory(body);

	if (octets.data != NULL)
		return feed_memory(reader, octets, piece, err);
	if (*room == NULL)
		*room = mem_new(CHECK_CHUNK_BYTES);
	return feed_range(reader, body, piece, *room, err);
}

static bool feed_rendering(struct signed_reader *reader, const struct submission *submission, struct err *err)
{
	const struct rendering *message = &submission->message;
	void *room = NULL;
	bool fine = true;

	for (size_t i = 0; fine && i < message->count; i++) {
		const struct piece *piece = &message->pieces[i];

		if (piece->source == PIECE_LITERAL)
			signed_reader_feed(
			    reader, bytes_slice(buf_bytes(&message->literal), piece->offset, piece->offset + piece->length));
		else
			fine = feed_body(reader, body_of(submission, piece), piece, &room, err);
	}
	free(room);
	return fine;
}

static bool check(const struct submission *submission, struct err *err)
{
	struct signed_reader *reader = signed_reader_new();
	struct buf trace = {0};
	bool fine;

	submission_trace(submission, &trace);
	signed_reader_feed(reader, buf_bytes(&trace));
	fine = feed_rendering(reader, submission, err) &&
	       signed_reader_verify(reader, identity_cms(submission->identity), submission_pss(submission), err);
	buf_clear(&trace);
	signed_reader_free(reader);
	return fine;
}

static void work_check(void *arg)
{
	struct submission *submission = arg;

	if (check(submission, &submission->encode_error))
		submission->encode_error.code = ERR_NONE;
}

static void done_check(void *arg)
{
	struct submission *submission = arg;
	const struct err *err = &submission->encode_error;

	identity_give_back(submission->identity);
	submission->identity = NULL;
	if (submission->aborted) {
		submission_free(submission);
	} else if (err->code == ERR_NONE) {
		submission_commit(submission);
	} else {
		log_error("message.self-check-failed", LOG_TEXT("certificate", submission->decision.certificate->address),
			  LOG_TEXT("sender", submission->sender), LOG_ERR(err));
		submission_set_failure(submission, 451, "4.3.0", "The signed message did not pass its own check");
		submission_end(submission);
	}
}

static bool in_memory(const struct queue_body *body)
{
	return body == NULL || queue_body_size(body) <= QUEUE_INLINE_BODY_MAX_BYTES;
}

void submission_check(struct submission *submission)
{
	submission->state = SUBMISSION_CHECKING;
	submission->identity =
	    identities_take(submission->context.identities, submission->decision.certificate, &submission->encode_error);
	if (submission->identity == NULL) {
		done_check(submission);
	} else if (in_memory(submission->original) && in_memory(submission->encoded)) {
		work_check(submission);
		done_check(submission);
	} else {
		pool_submit(submission->context.pool, work_check, done_check, submission);
	}
}
