/* SHA-256 of a stored body, whole or in pieces. One thread at a time. */
#ifndef INKAN_QUEUE_DIGEST_H
#define INKAN_QUEUE_DIGEST_H

#include "appliance/base/bytes.h"

#define DIGEST_BYTES 32

struct digest;

struct digest *digest_new(void) __attribute__((returns_nonnull));
void digest_add(struct digest *digest, struct bytes octets);
void digest_end(struct digest *digest, uint8_t out[static DIGEST_BYTES]); /* once */
void digest_free(struct digest *digest); /* NULL is fine */

void digest_of(struct bytes octets, uint8_t out[static DIGEST_BYTES]);

#endif
