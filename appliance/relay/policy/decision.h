/*
 * The decision (design §3.3): a pure function of server configuration, envelope, header facts, certificate facts and the time.
 * For each recipient it says signed or plain and which rule said so, or it refuses the message with a reply.
 */
#ifndef INKAN_RELAY_POLICY_DECISION_H
#define INKAN_RELAY_POLICY_DECISION_H

#include "appliance/relay/mime/address.h"
#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/policy/config.h"

struct decision_facts {
	const struct config_server *server;
	const struct config_user *user; /* who authenticated, of that server; NULL: nobody */
	const char *const *recipients;
	size_t n_recipients;
	enum mime_from from;
	const char *from_address; /* MIME_FROM_ONE */
	const struct mime_header *header;
	enum mime_presigned presigned;
	enum mime_verdict verdict;
	const char *unsignable_reason;
	int64_t now; /* wall seconds */
};

struct decision_recipient {
	bool sign;
	char *rule; /* the setting that said so: "smime certificate alice@example.com", "smime exclude recipient ^…$" */
};

struct decision {
	/* A refusal: code 0 is none. Text as it goes to the client, without code and enhanced code. */
	int refuse_code;
	const char *refuse_enhanced; /* "5.7.1"; "" where the reply has none (the expiry text of service.md N4) */
	char refuse_text[ERR_TEXT_MAX];
	const struct certificate *certificate; /* the one that signs, NULL when nobody is signed */
	struct decision_recipient *recipients;
	size_t n_recipients;
	size_t n_signed;
	char note[ERR_TEXT_MAX]; /* for the log: "" or what an operator should know */
};

/* The certificate for a From address: exact local part first, else one that differs only in case (noted). Or NULL. */
const struct certificate *decision_certificate(const struct config_server *server, const char *from_address, bool *inexact);

void decision_make(const struct decision_facts *facts, struct decision *decision);
void decision_clear(struct decision *decision);

#endif
