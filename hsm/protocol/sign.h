/*
 * The wire between inkan-relay and an HSM worker: frames (appliance/base/frame.h) on a socket pair that inkand made.
 * The relay sends REQUEST, TLS and CANCEL, the worker answers each of the first two with exactly one RESULT or FAILURE, in
 * any order. For mail the worker is given a digest and the id of a certificate, never the mail, and builds the CMS signedAttrs
 * itself, so that an S/MIME key signs nothing else. For a TLS handshake it is given the whole text to be signed, and signs only
 * what is a TLS server's (tls_text.h). A certificate serves one of the two. Codecs are pure.
 */
#ifndef INKAN_HSM_PROTOCOL_SIGN_H
#define INKAN_HSM_PROTOCOL_SIGN_H

#include "appliance/base/msg.h"

enum sign_frame {
	SIGN_FRAME_REQUEST = 1, /* struct sign_request */
	SIGN_FRAME_CANCEL = 2, /* u64 id; a late RESULT may still come */
	SIGN_FRAME_RESULT = 3, /* struct sign_result */
	SIGN_FRAME_FAILURE = 4, /* struct sign_failure */
	SIGN_FRAME_TLS = 5 /* struct sign_request with tls_len */
};

enum sign_digest { SIGN_SHA256 = 1, SIGN_SHA384 = 2, SIGN_SHA512 = 3 };

#define SIGN_DIGEST_MAX_BYTES 64
#define SIGN_TLS_TEXT_MAX_BYTES 165 /* TLS 1.2 with a P-384 key share */

size_t sign_digest_bytes(enum sign_digest digest); /* 32, 48, 64; 0 for a value that is none of them */
const char *sign_digest_micalg(enum sign_digest digest); /* "sha-256": RFC 8551 §3.5.3.2 */

struct sign_request {
	uint64_t id; /* chosen by the relay, unique on its connection */
	uint64_t certificate; /* id in the applied snapshot */
	enum sign_digest algorithm;
	uint8_t digest[SIGN_DIGEST_MAX_BYTES]; /* of the signed octets; sign_digest_bytes() of them count; not with TLS */
	int64_t signing_time; /* seconds since 1970, 0: leave the attribute out */
	bool pss; /* RSASSA-PSS, salt = digest length */
	uint32_t budget_ms; /* the worker may drop the request after so long */
	size_t tls_len; /* 0: of mail */
	uint8_t tls_text[SIGN_TLS_TEXT_MAX_BYTES]; /* the to-be-signed text of the handshake; `algorithm` is the signature's */
};

struct sign_result {
	uint64_t id;
	/*
	 * DER ContentInfo, detached SignedData; of a TLS request the signature alone, as TLS carries it. Verified with the
	 * certificate. A view into the frame.
	 */
	struct bytes cms;
};

/* What the relay may do about a failure. */
enum sign_failure_class {
	SIGN_FAIL_RETRY = 1, /* this worker could not; another may */
	SIGN_FAIL_CERTIFICATE = 2, /* no such certificate, or its key is not on the token */
	SIGN_FAIL_REQUEST = 3, /* malformed or not allowed: no retry */
	SIGN_FAIL_CANCELLED = 4, /* cancelled, or its budget passed */
	SIGN_FAIL_WRONG = 5 /* the token made a signature that does not verify: it never leaves, another worker may do better */
};

struct sign_failure {
	uint64_t id;
	enum sign_failure_class class;
	char *text; /* one line, for the log; owned by whoever decoded it */
};

void sign_request_encode(struct buf *out, const struct sign_request *request);
bool sign_request_decode(struct msg *msg, struct sign_request *request, struct err *err) MUST_USE;
void sign_tls_encode(struct buf *out, const struct sign_request *request);
bool sign_tls_decode(struct msg *msg, struct sign_request *request, struct err *err) MUST_USE;
void sign_result_encode(struct buf *out, const struct sign_result *result);
bool sign_result_decode(struct msg *msg, struct sign_result *result, struct err *err) MUST_USE;
void sign_failure_encode(struct buf *out, const struct sign_failure *failure);
bool sign_failure_decode(struct msg *msg, struct sign_failure *failure, struct err *err) MUST_USE;

#endif
