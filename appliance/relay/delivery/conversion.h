/*
 * A plain 8-bit message made 7-bit for a next hop without 8BITMIME (RFC 6152 §3): leaves are re-encoded as for signing, every
 * other octet stays. In memory, on the pool. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_CONVERSION_H
#define INKAN_RELAY_DELIVERY_CONVERSION_H

#include "appliance/base/bytes.h"

#define CONVERSION_MAX_BYTES (32u << 20) /* a larger message is bounced */

struct conversion;
struct pool;

/*
 * `err`: ERR_INVALID, it cannot be converted without harm (readers may disagree about its structure, or it is signed); else a
 * fault. The octets are valid until conversion_free. Called from the loop; may free the conversion.
 */
typedef void conversion_cb(struct bytes octets, const struct err *err, void *arg);

struct conversion *conversion_begin(struct pool *pool, struct buf *message, conversion_cb *cb, void *arg); /* empties `message` */
void conversion_free(struct conversion *conversion); /* before the callback: it will not come; NULL is fine */

/* The same at once. Pure. */
bool conversion_convert(struct bytes message, struct buf *out, struct err *err) MUST_USE;

#endif
