/* Between the parser and the verification of a signed message read back. */
#ifndef INKAN_RELAY_MIME_SIGNED_READER_PRIVATE_H
#define INKAN_RELAY_MIME_SIGNED_READER_PRIVATE_H

#include <openssl/evp.h>

#include "appliance/base/bytes.h"

/* The one SignerInfo of the DER is over this digest and verifies with the certificate. */
bool signed_reader_verify_cms(struct bytes der, const EVP_MD *algorithm, struct bytes digest, struct bytes certificate,
			      struct err *err) MUST_USE;

#endif
