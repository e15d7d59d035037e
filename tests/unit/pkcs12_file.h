/* PKCS#12 files for tests, made by the openssl command as people make them. */
#ifndef INKAN_TESTS_PKCS12_FILE_H
#define INKAN_TESTS_PKCS12_FILE_H

#include <openssl/x509.h>

#include "appliance/base/bytes.h"

struct pkcs12_recipe {
	EVP_PKEY *key;
	X509 *certificate;
	X509 *issuers[3]; /* included as well; NULL ends */
	const char *password; /* UTF-8 */
	const char *options; /* of `openssl pkcs12 -export`; NULL: none */
};

/* Appended to *out; ends the program when openssl does not make it. */
void pkcs12_make(struct buf *out, const struct pkcs12_recipe *recipe);

/* The same octets with every constructed element, and every OCTET STRING in two pieces, of indefinite length (BER). */
void pkcs12_make_ber(struct buf *out, struct bytes der);

#endif
