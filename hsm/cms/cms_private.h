/* The parts of cms.h: identity.c, build.c (cms_sign) and verify.c. */
#ifndef INKAN_HSM_CMS_CMS_PRIVATE_H
#define INKAN_HSM_CMS_CMS_PRIVATE_H

#include <openssl/x509.h>

#include "hsm/cms/cms.h"

struct cms_identity {
	X509 *leaf;
	STACK_OF(X509) *intermediates;
	EVP_PKEY *key;
	bool rsa;
};

const EVP_MD *cms_digest(enum sign_digest algorithm);

/* Sets ERR_INTERNAL with what OpenSSL says, clears its queue, returns false. */
bool cms_openssl_fail(struct err *err, const char *what);

/* Is it a SignedData of this content, signed by this identity, and nothing more? ERR_INTEGRITY when not. */
bool cms_verify(const struct cms_identity *identity, const struct cms_content *content, struct bytes der, struct err *err) MUST_USE;

#endif
