/* Building the chain that goes into each signature: for certificate_check.c and leaf.c alone. */
#ifndef INKAN_HSM_IMPORT_CERTIFICATE_CHAIN_H
#define INKAN_HSM_IMPORT_CERTIFICATE_CHAIN_H

#include <openssl/x509.h>

#include "hsm/import/certificate_check.h"

struct chain {
	X509 *certificates[CHAIN_MAX_CERTIFICATES]; /* leaf first, no root; views */
	size_t count;
	bool reached_root; /* the file held the root, which was left out */
};

/* From the leaf up through `others`; every issuer must be a CA that may sign certificates and is valid now. */
bool chain_build(X509 *leaf, STACK_OF(X509) * others, int64_t now, struct chain *chain, struct err *err) MUST_USE;

int64_t certificate_seconds(const ASN1_TIME *time); /* since 1970; INT64_MIN when malformed */

/* RFC 4514 text, as UTF-8; free() it. */
char *certificate_name_text(const X509_NAME *name);

#endif
