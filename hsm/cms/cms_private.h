/* The parts of cms.h: identity.c, algorithms.c, build.c (cms_sign) and verify.c. */
#ifndef INKAN_HSM_CMS_CMS_PRIVATE_H
#define INKAN_HSM_CMS_CMS_PRIVATE_H

#include <openssl/x509.h>

#include "hsm/cms/cms.h"
#include "hsm/cms/der.h"

struct cms_identity {
	X509 *leaf;
	STACK_OF(X509) * intermediates;
	EVP_PKEY *key;
	bool rsa;
	/* As they are in every SignedData of this identity: */
	struct buf issuer_and_serial; /* IssuerAndSerialNumber */
	struct buf certificates; /* the values of the SET OF, in the order of DER */
	struct buf signing_certificate[SIGN_SHA512 + 1]; /* by digest: the attribute signingCertificateV2 */
};

const EVP_MD *cms_digest(enum sign_digest algorithm); /* fetched once; NULL: this OpenSSL has none */

/* AlgorithmIdentifier in DER. */
void cms_put_digest_algorithm(struct buf *out, enum sign_digest algorithm);
void cms_put_signature_algorithm(struct buf *out, const struct cms_identity *identity, const struct cms_content *content);

/* A value of DER: tag and length before octets that are given, or before everything in `out` from `start` on. */
void cms_put_value(struct buf *out, enum der_tag tag, struct bytes contents);
void cms_wrap(struct buf *out, enum der_tag tag, size_t start);

/* For qsort of struct buf: the order of a SET OF in DER (X.690 §11.6). */
int cms_compare_encodings(const void *a, const void *b);

/* Sets ERR_INTERNAL with what OpenSSL says, clears its queue, returns false. */
bool cms_openssl_fail(struct err *err, const char *what);

#endif
