/*
 * A key pair that is born on the token: SENSITIVE, not EXTRACTABLE, for signing alone; and the request for its
 * certificate (PKCS#10, RFC 2986), which the key itself signs.
 */
#ifndef INKAN_HSM_IMPORT_GENERATE_H
#define INKAN_HSM_IMPORT_GENERATE_H

#include <openssl/evp.h>

#include "hsm/protocol/provision.h"
#include "hsm/token/module.h"

struct generated_key {
	unsigned long key;
	EVP_PKEY *public_key; /* owned: EVP_PKEY_free */
	char *type; /* "RSA-2048", "EC-P256", …; owned: free */
	struct key_attributes attributes;
};

/*
 * `type` as struct request_task has it; `label` is CKA_LABEL. On failure nothing is left on the token: ERR_INVALID an unknown
 * type, or one that the token does not make; ERR_UNAVAILABLE a key that the token does not protect. Not every token says
 * CKA_LOCAL.
 */
bool key_generate(const struct session *session, const char *type, struct bytes key_id, const char *label,
		  struct generated_key *key, struct err *err) MUST_USE;

/* The public key object of that CKA_ID, of a kind that key_generate makes. NULL with *err; EVP_PKEY_free. */
EVP_PKEY *key_public_read(const struct session *session, struct bytes key_id, struct err *err);
void generated_key_clear(struct generated_key *key);

/*
 * The request, DER, appended to *der: subject CN = the task's name (left out when it is longer than the 64 characters that a CN
 * can have), and the extensions subjectAltName (with the further host names), keyUsage and extendedKeyUsage that the purpose
 * needs.
 */
bool csr_make(const struct session *session, const struct generated_key *key, const struct request_task *task, struct buf *der,
	      struct err *err) MUST_USE;

#endif
