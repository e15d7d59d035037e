/*
 * What a TLS server signs in a handshake, by its form: so that whoever holds a TLS key can refuse to sign anything else.
 * Pure.
 *
 * TLS 1.3 (RFC 8446 §4.4.3): 64 blanks, "TLS 1.3, server CertificateVerify", a zero octet and the transcript hash of the cipher
 * suite, 32 or 48 octets whatever the signature's digest.
 * TLS 1.2 (RFC 8422 §5.4): the two randoms, then ServerECDHParams: named_curve of X25519, P-256 or P-384, and the point,
 * with nothing behind. This has no label: it is a check of shape, weaker than that of 1.3.
 */
#ifndef INKAN_HSM_PROTOCOL_TLS_TEXT_H
#define INKAN_HSM_PROTOCOL_TLS_TEXT_H

#include "appliance/base/bytes.h"

#define TLS_TEXT_13_HASH_AT 98 /* where the transcript hash begins */

bool tls_text_is_server_signature(struct bytes text);

/* A text as TLS 1.3 has it, of a handshake that never was: to try a key. */
#define TLS_TEXT_EXAMPLE_BYTES (TLS_TEXT_13_HASH_AT + 32)
void tls_text_example(uint8_t text[static TLS_TEXT_EXAMPLE_BYTES], const uint8_t hash[static 32]);

#endif
