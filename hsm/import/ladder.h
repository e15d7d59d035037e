/*
 * The import ladder (design §4): a private key goes from a PKCS#12 file onto the token, by the highest rung that works,
 * found by trying:
 *
 *   unwrap-token-kek  the key-encrypting key is derived on the token, which unwraps the file's own ciphertext
 *   unwrap-host-kek   the key-encrypting key is derived here and made a session object; the token unwraps
 *   rewrap            decrypted here in secure memory, wrapped again (AES-KWP, RFC 5649), unwrapped by the token
 *   create            decrypted here and given to the token as it is (C_CreateObject)
 *
 * `minimum` forbids lower ones. After each: SENSITIVE and EXTRACTABLE are read back and mended, the key signs a nonce
 * that is verified with the certificate's public key; a rung that fails any of it leaves no object behind.
 */
#ifndef INKAN_HSM_IMPORT_LADDER_H
#define INKAN_HSM_IMPORT_LADDER_H

#include <openssl/evp.h>

#include "hsm/import/pkcs12.h"
#include "hsm/import/warnings.h"
#include "hsm/protocol/provision.h"
#include "hsm/token/module.h"

enum ladder_minimum { LADDER_UNWRAP, LADDER_REWRAP, LADDER_CREATE };

bool ladder_minimum_parse(const char *text, enum ladder_minimum *minimum, struct err *err) MUST_USE; /* "unwrap", … */

struct ladder_request {
	const struct pkcs12 *file;
	EVP_PKEY *public_key; /* of the certificate: RSA or EC with a named curve */
	struct bytes key_id; /* CKA_ID, unique on the token */
	const char *label; /* CKA_LABEL */
	enum ladder_minimum minimum;
	bool session_only; /* for a trial: the key is a session object, and no public key object is made */
};

struct ladder_result {
	const char *rung; /* static */
	struct key_attributes attributes;
	unsigned long key;
};

/*
 * The session is logged in. A warning tells when the public key object that goes with the key could not be made.
 * ERR_INVALID: the key does not decrypt or belong to the certificate; ERR_DENIED: only a forbidden rung is left;
 * ERR_UNAVAILABLE: every rung failed. The text names what each rung said.
 */
bool ladder_import(const struct session *session, const struct ladder_request *request, struct ladder_result *result,
		   struct warnings *warnings, struct err *err) MUST_USE;

/* The rung that an AES-encrypted PKCS#12 takes on this token, tried with a throw-away key; NULL when none works. Static text. */
const char *ladder_probe(const struct session *session);

/* A public key as an object of the session, for C_Verify. It goes with the session. */
bool ladder_lend_public_key(const struct session *session, EVP_PKEY *public_key, unsigned long *key, struct err *err) MUST_USE;

#endif
