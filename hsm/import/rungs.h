/* The rungs of ladder.h, and what they share: for the ladder*.c and rung_*.c files alone. */
#ifndef INKAN_HSM_IMPORT_RUNGS_H
#define INKAN_HSM_IMPORT_RUNGS_H

#include "hsm/import/ladder.h"
#include "hsm/token/cryptoki.h"

/* The decrypted key, for the rungs that need it. */
struct host_key {
	uint8_t *der; /* PrivateKeyInfo in secure memory */
	size_t der_len;
	EVP_PKEY *pkey;
};

struct attempt {
	const struct session *session;
	const struct ladder_request *request;
	const struct host_key *host; /* rewrap and create alone */
};

/* Each makes the private key, or fails with "CALL: CKR_NAME". Session objects that it made are gone again. */
bool rung_unwrap_token_kek(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err) MUST_USE;
bool rung_unwrap_host_kek(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err) MUST_USE;
bool rung_rewrap(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err) MUST_USE;
bool rung_create(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err) MUST_USE;

/* ---- key_objects.c ---- */

/* What the imported private key is to be; the views are the request's. */
void private_key_template(struct template *template, const struct ladder_request *request);

/* Of a session object that unwraps: SECRET_KEY, SENSITIVE, not EXTRACTABLE. value_len 0: left to the mechanism. */
void kek_template(struct template *template, CK_KEY_TYPE type, size_t value_len);

/* An EC point, uncompressed (SEC 1 §2.3.3). 0 on failure. */
#define EC_POINT_MAX_BYTES 133
size_t ec_point(EVP_PKEY *key, uint8_t out[static EC_POINT_MAX_BYTES]);

/* The DER of the curve's OID (CKA_EC_PARAMS). 0 on failure. */
#define EC_PARAMS_MAX_BYTES 16
size_t ec_params(EVP_PKEY *key, uint8_t out[static EC_PARAMS_MAX_BYTES]);

/* A KEK's octets as a session object. */
bool create_kek(const struct session *session, CK_KEY_TYPE type, struct bytes value, CK_OBJECT_HANDLE *kek,
		struct err *err) MUST_USE;

/* C_UnwrapKey into the private key template; for EC also in the form that NSS wants. */
bool unwrap_private_key(const struct attempt *attempt, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek, struct bytes wrapped,
			CK_OBJECT_HANDLE *key, struct err *err) MUST_USE;

/* C_CreateObject; for EC private keys also in the form that NSS wants. `template` has room for two attributes more. */
bool create_private_key(const struct attempt *attempt, struct template *template, CK_OBJECT_HANDLE *key,
			struct err *err) MUST_USE;

/* The public key object with the same CKA_ID and label: libp11 and other tools look for it. */
bool create_public_key(const struct session *session, const struct ladder_request *request, struct err *err) MUST_USE;

#endif
