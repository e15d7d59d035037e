/*
 * The decision (design §3.3): a pure function of server configuration, envelope, header facts, certificate facts and the time.
 * For each recipient it says signed or plain and which rule said so, or it refuses the message with a reply.
 */
#ifndef INKAN_RELAY_POLICY_DECISION_H
#define INKAN_RELAY_POLICY_DECISION_H

#include "appliance/relay/mime/address.h"
#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/policy/config.h"

#define RECEIVED_FIELDS_MAX 100 /* more is a loop (RFC 5321 §6.3): 554 5.4.6 */

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

/* A copy by Intelligent BCC: always plain, in an envelope of its own; its failure is not the mail's. */
struct decision_copy {
	const char *address, *sender; /* of the configuration */
	char *rule; /* "intelligent-bcc NAME" */
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
	struct decision_copy *copies; /* none when the message is refused */
	size_t n_copies;
	char note[ERR_TEXT_MAX]; /* for the log: "" or what an operator should know */
};

/* The certificate for a From address: exact local part first, else one that differs only in case (noted). Or NULL. */
const struct certificate *decision_certificate(const struct config_server *server, const char *from_address, bool *inexact);

/* What header settings match against: unfolded, encoded words decoded to UTF-8. Appends. */
void decision_field_value(struct buf *out, const struct mime_field *field);

/*
 * The header and what the scan found must suit before anything is decided: the limits of the server, NUL, a loop. Then
 * decision_make. The scan is finished; from and from_address are its mime_header_from.
 */
void decision_judge(struct decision_facts *facts, const struct mime_scan *scan, struct decision *decision);

void decision_make(const struct decision_facts *facts, struct decision *decision);
void decision_clear(struct decision *decision);

#endif
