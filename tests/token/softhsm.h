/*
 * Isolated SoftHSM tokens for tests. Keys are put on one golden token once a run; each test works on a copy of its own,
 * since a process that is killed while it logs in may destroy a SoftHSM token. Everything ends the program when it fails:
 * a machine without SoftHSM must not pass.
 */
#ifndef INKAN_TESTS_SOFTHSM_H
#define INKAN_TESTS_SOFTHSM_H

#include "tests/unit/identity.h"

#define SOFTHSM_LABEL "inkan test" /* the blank is meant to be there */
#define SOFTHSM_PIN "sesame-7319-open" /* found nowhere else in a process */
#define SOFTHSM_SO_PIN "87654321"

const char *softhsm_module(void); /* $SOFTHSM2_MODULE or Debian's */

struct softhsm_key {
	const char *type; /* of test_key() */
	EVP_PKEY *key; /* the software twin of what is on the token */
	X509 *certificate;
	struct buf der, issuer_der; /* the certificate and its intermediate */
	uint8_t id[4];
};

/* The keys on the golden token, each with a certificate; made at the first call. */
#define SOFTHSM_KEYS 5
struct softhsm_key *softhsm_keys(void); /* rsa2048, rsa3072, rsa4096, p256, p384 */
struct softhsm_key *softhsm_key(const char *type);

/* A fresh copy of the golden token, for this process and those that it starts ($SOFTHSM2_CONF). Returns its directory. */
const char *softhsm_fresh(void);
const char *softhsm_conf(void); /* "SOFTHSM2_CONF=…" of the current one */
const char *softhsm_tokens(void); /* its token directory */

/* Puts a key on the current token by softhsm2-util; the PIN is the token's. */
void softhsm_import(EVP_PKEY *key, const uint8_t *id, size_t id_len);

/* Copies of a key that is on the current token (private and public object), their CKA_ID `prefix` and two octets, 0 first. */
void softhsm_multiply(const struct softhsm_key *key, uint8_t prefix, unsigned count);

/* Destroys a private key on the current token, by OpenSC's pkcs11-tool. */
void softhsm_destroy(const uint8_t *id, size_t id_len);

#endif
