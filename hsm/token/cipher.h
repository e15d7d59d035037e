/*
 * Secret keys that live on the token and the operations that sealing needs. Keys are token objects, SENSITIVE and not
 * EXTRACTABLE; one that is not is never found. One thread a session.
 */
#ifndef INKAN_HSM_TOKEN_CIPHER_H
#define INKAN_HSM_TOKEN_CIPHER_H

#include "hsm/token/module.h"

#define GCM_IV_BYTES 12
#define GCM_TAG_BYTES 16
#define CBC_IV_BYTES 16
#define HMAC_SHA256_BYTES 32

enum secret_key { SECRET_KEY_AES_256, SECRET_KEY_HMAC_SHA256 };

bool secret_key_generate(const struct session *session, enum secret_key kind, const char *label, unsigned long *key,
			 struct err *err) MUST_USE;
void secret_key_destroy(const struct session *session, unsigned long key);

/* Those of that kind and label: up to `most`; *count 0 is no error. */
bool secret_key_find(const struct session *session, enum secret_key kind, const char *label, unsigned long *keys, size_t most,
		     size_t *count, struct err *err) MUST_USE;

/* AES-GCM with a 128-bit tag behind the ciphertext. `iv` is in-out: a token in FIPS mode puts its own there. Output is appended.
 */
bool token_gcm_encrypt(const struct session *session, unsigned long key, uint8_t iv[static GCM_IV_BYTES], struct bytes context,
		       struct bytes plain, struct buf *out, struct err *err) MUST_USE;
bool token_gcm_decrypt(const struct session *session, unsigned long key, const uint8_t iv[static GCM_IV_BYTES],
		       struct bytes context, struct bytes encrypted, struct buf *out, struct err *err) MUST_USE;

/* AES-CBC with PKCS#7 padding. Not authenticated. */
bool token_cbc_encrypt(const struct session *session, unsigned long key, const uint8_t iv[static CBC_IV_BYTES],
		       struct bytes plain, struct buf *out, struct err *err) MUST_USE;
bool token_cbc_decrypt(const struct session *session, unsigned long key, const uint8_t iv[static CBC_IV_BYTES],
		       struct bytes encrypted, struct buf *out, struct err *err) MUST_USE;

bool token_hmac(const struct session *session, unsigned long key, struct bytes data, uint8_t out[static HMAC_SHA256_BYTES],
		struct err *err) MUST_USE;

#endif
