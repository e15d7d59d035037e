/*
 * Whether a certificate can sign mail of an address so that readers show it as valid (smime.md §8): rfc822Name, validity,
 * extended and plain key usage, kind of key, signature algorithms, chain. Or, with KEY_PURPOSE_TLS, whether it can serve TLS
 * under a host name (RFC 9525): dNSName, serverAuth. Pure; one thread. Texts are for the operator;
 * the code is ERR_INVALID.
 */
#ifndef INKAN_HSM_IMPORT_CERTIFICATE_CHECK_H
#define INKAN_HSM_IMPORT_CERTIFICATE_CHECK_H

#include <openssl/x509.h>

#include "hsm/import/warnings.h"
#include "hsm/protocol/provision.h"

#define CHAIN_MAX_CERTIFICATES 10
#define CHAIN_WARN_BYTES 12288 /* DER; every mail carries the chain */

/*
 * `others` holds the certificates that came along, in any order, the leaf perhaps among them. `now` is seconds since
 * 1970. Fills *facts (certificate_facts_clear releases it) and adds to *warnings, also on failure.
 */
bool certificate_check(X509 *leaf, STACK_OF(X509) * others, const char *address, enum key_purpose purpose, int64_t now,
		       struct certificate_facts *facts, struct warnings *warnings, struct err *err) MUST_USE;

/*
 * Whether one of the certificate's rfc822Names is that address: local part exactly, domain in any case; or, of a name without
 * '@', whether a dNSName covers it.
 */
bool certificate_names_address(X509 *certificate, const char *address);

#endif
