/* The states of a submission and its steps, for the submission_*.c files alone. */
#ifndef INKAN_RELAY_SIGNING_SUBMISSION_PRIVATE_H
#define INKAN_RELAY_SIGNING_SUBMISSION_PRIVATE_H

#include <openssl/evp.h>

#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/policy/decision.h"
#include "appliance/relay/signing/submission.h"

/*
 *   RECEIVING -finish-> SEALING -> [ENCODING -> SEALING_ENCODED] -> [SIGNING -> CHECKING] -> COMMITTING -> done
 * Each arrow but the first is a callback. The brackets: only when somebody gets the signed rendering; encoding only
 * when the scanner found edits.
 */
enum submission_state {
	SUBMISSION_RECEIVING,
	SUBMISSION_SEALING,
	SUBMISSION_ENCODING,
	SUBMISSION_SEALING_ENCODED,
	SUBMISSION_SIGNING,
	SUBMISSION_CHECKING,
	SUBMISSION_COMMITTING
};

struct submission {
	struct submission_context context;
	enum submission_state state;
	bool aborted; /* the client is gone: no reply, and nothing is stored unless COMMITTING */
	void (*done)(const struct submission_reply *reply, void *arg);
	void *done_arg;

	/* envelope, copied */
	struct config *config;
	const struct config_server *server;
	char *sender, *envelope_id, *client, *client_ip, *protocol, *user;
	enum queue_return ret;
	bool smtputf8;
	enum queue_body_type body_type;
	struct queue_recipient *recipients; /* address and original are owned */
	size_t n_recipients;

	/* what arrives */
	uint64_t id;
	int64_t received; /* wall seconds */
	struct queue_body *original;
	struct mime_scan *scan;
	struct submission_reply failure; /* code 0: none yet */

	/* what is made of it */
	bool header_seen;
	enum mime_from from;
	char *from_address;
	const struct certificate *digest_certificate; /* the one that the digest is taken for, NULL: none */
	EVP_MD_CTX *digest;
	struct decision decision;
	struct rendering part; /* the signed part */
	struct queue_body *encoded; /* its re-encoded leaves, or NULL */
	struct err encode_error; /* set by the pool thread, of CHECKING as well */
	uint64_t sign_id; /* for signer_cancel while SIGNING */
	int64_t sign_asked_ms; /* monotonic */
	struct rendering message; /* the signed rendering */
	struct identity *identity; /* of its certificate while CHECKING */
};

/* submission.c */
void submission_set_failure(struct submission *submission, int code, const char *enhanced, const char *format, ...)
    __attribute__((__format__(__printf__, 4, 5)));
void submission_end(struct submission *submission); /* tells `failure` as the reply, logs, frees */
void submission_stored(struct submission *submission);
void submission_free(struct submission *submission);

/* submission_sign.c */
bool submission_pss(const struct submission *submission); /* the signature is RSASSA-PSS */
void submission_digest_octets(struct submission *submission, struct bytes octets, uint64_t offset); /* after the scan saw them */
void submission_decide(struct submission *submission); /* the body is sealed */

/* submission_check.c: the signed rendering is complete; commits it once it has been read back and verified. */
void submission_check(struct submission *submission);

/* submission_commit.c */
void submission_trace(const struct submission *submission, struct buf *out); /* the Received field */
void submission_commit(struct submission *submission);

#endif
