/*
 * A back end of token.h, for hsm/token alone. `state` is what open made. open is given what a look at
 * the token has shown; whether the PIN may be tried has been decided. load and free are never called at once, sign and check by
 * many threads.
 */
#ifndef INKAN_HSM_TOKEN_BACKEND_H
#define INKAN_HSM_TOKEN_BACKEND_H

#include "hsm/token/token.h"

/* What is to be signed. `octets`, whose digest it is, are for a token that hashes itself; empty: there is the digest alone. */
struct sign_text {
	enum sign_digest algorithm;
	bool pss;
	struct bytes digest;
	struct bytes octets;
};

struct token_backend {
	const char *name;
	unsigned max_threads;
	void *(*open)(const struct token_place *place, unsigned long slot, const struct token_info *info,
		      const struct secret *pin, enum token_fault *fault, struct err *err);
	void (*close)(void *state);
	void *(*load)(void *state, struct bytes key_id, EVP_PKEY *public_key, enum token_fault *fault, struct err *err);
	void (*free)(void *state, void *key);
	bool (*sign)(void *state, void *key, const struct sign_text *text, struct buf *signature, enum token_fault *fault,
		     struct err *err);
	bool (*check)(void *state, enum token_fault *fault, struct err *err);
};

const EVP_MD *token_digest(enum sign_digest algorithm);

extern const struct token_backend token_backend_cryptoki;
#ifndef OPENSSL_NO_ENGINE
extern const struct token_backend token_backend_engine;
#endif

/* The fault that a CK_RV is, when nothing can be mended on the spot; *err says "CALL: CKR_NAME". Returns false. */
bool token_fail(enum token_fault *fault, struct err *err, unsigned long rv, const char *call);

/* Sets both. Returns false. */
bool token_fault_set(enum token_fault *fault, enum token_fault value, struct err *err, enum err_code code, const char *format,
		     ...) PRINTF_LIKE(5, 6);

#endif
