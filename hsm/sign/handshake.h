/* The signature of a TLS server in a handshake, for keyring.c alone. Any thread. */
#ifndef INKAN_HSM_SIGN_HANDSHAKE_H
#define INKAN_HSM_SIGN_HANDSHAKE_H

#include "hsm/token/token.h"

/*
 * Checks that the text is a TLS server's to sign (else ERR_INVALID, TOKEN_FAULT_NONE), hashes it, has the token sign, verifies
 * with the public key (else ERR_INTEGRITY, TOKEN_FAULT_RETRY, and nothing is appended).
 */
bool handshake_sign(struct token_key *key, EVP_PKEY *public_key, const struct sign_request *request, struct buf *signature,
		    enum token_fault *fault, struct err *err) MUST_USE;

/* A request as TLS 1.3 would make it, of a random transcript hash. */
void handshake_example(struct sign_request *request, const uint8_t random[static 32]);

#endif
