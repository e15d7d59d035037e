/* Keys and certificates for tests: a root, an intermediate, and leaves for e-mail signed by it. */
#ifndef INKAN_TESTS_IDENTITY_H
#define INKAN_TESTS_IDENTITY_H

#include <openssl/x509.h>

#include "appliance/base/bytes.h"

/* "rsa1024" … "rsa4096", "p256", "p384", "p521", "ed25519"; ends the program when it cannot. */
EVP_PKEY *test_key(const char *type);

struct test_ca {
	EVP_PKEY *key;
	X509 *root;
	EVP_PKEY *intermediate_key;
	X509 *intermediate;
};

void test_ca_init(struct test_ca *ca);
void test_ca_clear(struct test_ca *ca);

/* A certificate of `key` for `address`, valid now, issued by the intermediate. */
X509 *test_certificate(const struct test_ca *ca, EVP_PKEY *key, const char *address);

void test_put_der(struct buf *out, X509 *certificate); /* appended */
bool test_write_pem(const char *path, X509 *certificate);
bool test_write_private_pem(const char *path, EVP_PKEY *key); /* PKCS #8, not encrypted */

#endif
