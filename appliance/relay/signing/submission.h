/*
 * A submission: the one way of a message from its first octet to "stored" (design §3), for SMTP and the API alike: body, scan,
 * digest, decision, signature, commit. Loop's thread; nothing blocks. No unsigned rendering can reach a recipient
 * whose decision was signed: the rows of recipients are made from the decision in one place (submission_commit.c).
 */
#ifndef INKAN_RELAY_SIGNING_SUBMISSION_H
#define INKAN_RELAY_SIGNING_SUBMISSION_H

#include "appliance/relay/policy/config.h"
#include "appliance/relay/queue/queue.h"
#include "hsm/client/signer.h"

struct pool;
struct submission_tally;

/* What every submission uses; one per relay process. */
struct submission_context {
	struct event_base *base;
	struct queue *queue;
	struct signer *signer;
	struct pool *pool; /* for re-encoding */
	struct identities *identities; /* for the self-check */
	struct submission_tally *tally; /* counts what becomes of messages; NULL: nobody does */
};

struct submission_envelope {
	struct config *config; /* referenced for the life of the submission */
	const struct config_server *server; /* of that config */
	const char *sender; /* reverse path, "" for null */
	const struct queue_recipient *recipients; /* address, original, notify; rendering and rule are set here. Copied */
	size_t n_recipients;
	const char *envelope_id;
	enum queue_return ret;
	bool smtputf8;
	enum queue_body_type body_type;
	const char *client; /* for Received: "helo.example ([192.0.2.1])" */
	const char *protocol; /* "ESMTP", "HTTP" */
	const char *user; /* authenticated user, or NULL */
	uint64_t expected_size; /* SIZE=, 0 unknown */
	const char *client_ip; /* for the delivery log; NULL: none */
};

struct submission_reply {
	int code; /* 250, 451, 452, 550, 552, 554 */
	const char *enhanced; /* "2.0.0"; "" for none */
	char text[ERR_TEXT_MAX];
	uint64_t id; /* of the stored message; 0 when refused */
};

struct submission;

struct submission *submission_begin(const struct submission_context *context, const struct submission_envelope *envelope);

/*
 * The next octets, dot-unstuffed, CRLF. Returns false when the caller should stop reading until `resume`. A failure (too
 * large, disk) is remembered and told at submission_finish; octets are then discarded.
 */
bool submission_append(struct submission *submission, struct bytes octets);
void submission_on_resume(struct submission *submission, void (*resume)(void *arg), void *arg);

/* All octets are here. `done` gets the reply (valid until return) and the submission is freed after it. */
void submission_finish(struct submission *submission, void (*done)(const struct submission_reply *reply, void *arg), void *arg);

/* The client is gone: nothing is stored unless the commit has been handed over already. No callback follows. */
void submission_abort(struct submission *submission);

#endif
