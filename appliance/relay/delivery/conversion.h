/*
 * A plain 8-bit message made 7-bit for a next hop without 8BITMIME (RFC 6152 §3): leaves are re-encoded as for signing, every
 * other octet stays. The message goes in chunk by chunk and comes out chunk by chunk; between them it is in bodies of the queue
 * that are never committed (unnamed files, or memory up to QUEUE_INLINE_BODY_MAX_BYTES). In memory are at any time two chunks,
 * what the body has not written yet (QUEUE_APPEND_OUTSTANDING_BYTES) and what the scanner keeps (scan.h: header and edits).
 * Encoding and reading run on the pool. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_CONVERSION_H
#define INKAN_RELAY_DELIVERY_CONVERSION_H

#include "appliance/base/bytes.h"

#define CONVERSION_CHUNK_BYTES 65536 /* of what comes out, but for the last */

struct conversion;
struct pool;
struct queue;

struct conversion_events {
	void (*more)(void *arg); /* conversion_put may be called again; also from within it */

	/*
	 * A converted chunk, valid until conversion_next or conversion_free; the first one comes by itself. Or err, after which
	 * only conversion_free may follow: ERR_INVALID, it cannot be converted without harm (readers may disagree about its
	 * structure, or it is signed, as a whole or in a part that would have to be edited); ERR_LIMIT, no space; else a fault.
	 * Never from within a call; may call conversion_next and conversion_free.
	 */
	void (*chunk)(struct bytes chunk, bool last, const struct err *err, void *arg);
};

struct conversion *conversion_begin(struct queue *queue, struct pool *pool, const struct conversion_events *events, void *arg);
void conversion_put(struct conversion *conversion, struct bytes chunk, bool last); /* copies */
uint64_t conversion_size(const struct conversion *conversion); /* of what comes out; once the first chunk is there */
void conversion_next(struct conversion *conversion);
void conversion_free(struct conversion *conversion); /* no callback follows; NULL is fine */

#endif
