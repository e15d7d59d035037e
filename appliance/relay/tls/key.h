/*
 * An EVP_PKEY whose private half is on the token: a built-in provider of KEYMGMT and SIGNATURE in a library context of its own,
 * so that nothing else in the process fetches its algorithms. libssl uses the key in any SSL_CTX. Signing calls
 * tls_request_sign within an ASYNC job (request.h); export of anything private is refused.
 */
#ifndef INKAN_RELAY_TLS_KEY_H
#define INKAN_RELAY_TLS_KEY_H

#include <openssl/evp.h>

#include "appliance/base/err.h"

struct tls_keys; /* the provider */
struct tls_requests;

struct tls_keys *tls_keys_new(struct tls_requests *requests, struct err *err);
void tls_keys_free(struct tls_keys *keys); /* after every key of it; NULL is fine */

/* The private half of `public_key` (RSA or EC; a reference is taken), signed by that certificate. NULL: *err. */
EVP_PKEY *tls_key_new(struct tls_keys *keys, EVP_PKEY *public_key, uint64_t certificate, struct err *err);

#endif
