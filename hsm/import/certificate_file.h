/*
 * The certificates that a CA sends back: PEM (one or several, text between them is skipped), DER, or PKCS#7 (.p7b, .p7c) in
 * either. Pure; bounded by PROVISION_PKCS12_MAX_BYTES of its caller.
 */
#ifndef INKAN_HSM_IMPORT_CERTIFICATE_FILE_H
#define INKAN_HSM_IMPORT_CERTIFICATE_FILE_H

#include <openssl/x509.h>

#include "appliance/base/bytes.h"

#define CERTIFICATE_FILE_MAX_CERTIFICATES 64

/* At least one; the caller frees them with sk_X509_pop_free(…, X509_free). NULL: ERR_INVALID, ERR_LIMIT. */
STACK_OF(X509) * certificate_file_read(struct bytes file, struct err *err);

/* The one of that public key, or NULL: a view. */
X509 *certificate_file_find(STACK_OF(X509) * certificates, EVP_PKEY *public_key);

#endif
