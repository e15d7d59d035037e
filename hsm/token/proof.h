/*
 * Proof that a private key on the token belongs to a public key: the token signs a random nonce, OpenSSL verifies. RSA
 * (CKM_RSA_PKCS, else CKM_SHA256_RSA_PKCS) and EC (CKM_ECDSA). The nonce is prefixed with a text, so that what is signed
 * can be nothing else.
 */
#ifndef INKAN_HSM_TOKEN_PROOF_H
#define INKAN_HSM_TOKEN_PROOF_H

#include <openssl/evp.h>

#include "hsm/token/module.h"

/* ERR_INTEGRITY: the signature was made, but is not of that key; else the token's own error. */
bool key_prove(const struct session *session, unsigned long key, EVP_PKEY *public_key, struct err *err) MUST_USE;

/*
 * Signs a text (SHA-256; RSASSA-PKCS1-v1_5, or ECDSA as DER ECDSA-Sig-Value), unprefixed: for what provisioning itself
 * composes, as a certificate request. Nothing is verified.
 */
#define KEY_SIGNATURE_MAX_BYTES 1024
bool key_sign(const struct session *session, unsigned long key, EVP_PKEY *public_key, struct bytes text,
	      uint8_t signature[static KEY_SIGNATURE_MAX_BYTES], size_t *len, struct err *err) MUST_USE;

/*
 * The token verifies a signature of its own with a public key object (C_Verify). ERR_INTEGRITY: it says that the signature is
 * wrong; another error: it cannot, which says nothing about the key.
 */
bool key_prove_on_token(const struct session *session, unsigned long key, unsigned long public_object, EVP_PKEY *public_key,
			struct err *err) MUST_USE;

#endif
