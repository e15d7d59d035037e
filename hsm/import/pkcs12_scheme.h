/* What encrypts a PKCS#12 bag: for pkcs12.c alone. Pure. */
#ifndef INKAN_HSM_IMPORT_PKCS12_SCHEME_H
#define INKAN_HSM_IMPORT_PKCS12_SCHEME_H

#include "hsm/import/pkcs12.h"

/*
 * Reads an AlgorithmIdentifier (RFC 7292 appendix C, RFC 8018 §6.2); one that no token can undo is CIPHER_OTHER. ERR_LIMIT
 * over PKCS12_MAX_ITERATIONS.
 */
bool pkcs12_read_scheme(const X509_ALGOR *algorithm, struct pkcs12_scheme *scheme, struct err *err) MUST_USE;

/* Whether the algorithm derives its key by the PKCS#12 KDF (a BMPString password) rather than from the octets. */
bool pkcs12_uses_own_kdf(const X509_ALGOR *algorithm);

/* RC2, RC4 and single DES are in OpenSSL's legacy provider: loads it when `algorithm` needs it. */
bool pkcs12_prepare_algorithm(const X509_ALGOR *algorithm, struct err *err) MUST_USE;

#endif
