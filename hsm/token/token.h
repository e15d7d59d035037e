/*
 * The token as signing sees it: open and log in, find a key, sign a digest. Two back ends behind it, never both on one
 * module in one process: "engine" (OpenSSL's ENGINE through libp11) and "cryptoki" (direct, a session per thread).
 *
 * One token is open in a process at a time, after exec and never before a fork. Logging in happens once, in token_open:
 * a PIN is never tried twice. token_sign and token_check may be called from `threads` threads at once, the rest is
 * serialised here. Leave the process by _exit with a token open: closing it is for tests and one-task programs.
 */
#ifndef INKAN_HSM_TOKEN_TOKEN_H
#define INKAN_HSM_TOKEN_TOKEN_H

#include <openssl/evp.h>

#include "appliance/base/secret.h"
#include "hsm/protocol/sign.h"
#include "hsm/token/module.h"

struct token;
struct token_key;

/* What is wrong, for whoever must act; the text in *err names the call and the token's own code. */
enum token_fault {
	TOKEN_FAULT_NONE = 0,
	TOKEN_FAULT_RETRY, /* this operation failed; the next one, or another process, may succeed */
	TOKEN_FAULT_MODULE, /* the module or the token is lost for this process: end it and start afresh */
	TOKEN_FAULT_ABSENT, /* no token of that label */
	TOKEN_FAULT_PIN, /* rejected, missing, or trying it could lock the token: until an operator acts */
	TOKEN_FAULT_KEY, /* the token holds no such key */
	TOKEN_FAULT_MECHANISM /* the token does not do that operation with that key */
};

struct token_place {
	const char *backend; /* "engine" or "cryptoki" */
	const char *module; /* path */
	const char *label;
	unsigned threads; /* that shall sign at once, from 1 */
	unsigned processes; /* that share the token's sessions; 0 is 1 */
	bool final_try; /* try the PIN although one more wrong one locks the token */
};

/* The most threads that a back end can serve; 0 for a name that this build does not know. */
unsigned token_backend_threads(const char *backend);

/* `pin` NULL: only where the token has a protected authentication path. Not kept by us; libp11 keeps a copy of its own. */
struct token *token_open(const struct token_place *place, const struct secret *pin, enum token_fault *fault, struct err *err);
void token_close(struct token *token); /* no thread may be inside; NULL is fine */

/* Threads that may sign at once: fewer than the place asks for when the token's session limit, less one session for console
 * tasks, does not give every process so many. */
unsigned token_threads(const struct token *token);

const struct token_info *token_describe(const struct token *token);

/* The private key of that CKA_ID, which must be the other half of `public_key` (a reference is taken). */
struct token_key *token_load_key(struct token *token, struct bytes key_id, EVP_PKEY *public_key, enum token_fault *fault,
				 struct err *err);
void token_key_free(struct token_key *key); /* no thread may be signing with it; NULL is fine */

/*
 * Signs a digest and appends the signature: RSASSA-PKCS1-v1_5 with DigestInfo, RSASSA-PSS with MGF1 of the same digest and
 * a salt of its length (`pss`), or ECDSA as DER ECDSA-Sig-Value. `digest` has sign_digest_bytes(algorithm) octets.
 */
bool token_sign(struct token_key *key, enum sign_digest algorithm, bool pss, struct bytes digest, struct buf *signature,
		enum token_fault *fault, struct err *err) MUST_USE;

/* The same of the digest of `octets`, which also a token that takes no digest can sign (cryptoki). */
bool token_sign_text(struct token_key *key, enum sign_digest algorithm, bool pss, struct bytes octets, struct buf *signature,
		     enum token_fault *fault, struct err *err) MUST_USE;

/* Asks the token whether it is still there. May take as long as the module takes. */
bool token_check(struct token *token, enum token_fault *fault, struct err *err) MUST_USE;

#endif
