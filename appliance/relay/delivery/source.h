/*
 * A source: the octets of one rendering of a stored message, read from the queue chunk by chunk. Loop's thread; memory is
 * bounded by one chunk and the literal octets of the signed rendering.
 *
 * The last chunk is handed out only after the queue has verified the stored digest, so whoever waits for `last` before the
 * final dot never completes a damaged message. A signed rendering whose addition is missing, malformed or of another
 * size than was stored is ERR_INTEGRITY: there is no way from here to the plain rendering.
 */
#ifndef INKAN_RELAY_DELIVERY_SOURCE_H
#define INKAN_RELAY_DELIVERY_SOURCE_H

#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/queue/queue.h"

#define SOURCE_CHUNK_BYTES 65536

struct source;

/*
 * A chunk (SOURCE_CHUNK_BYTES but for the last), valid until source_next or source_close; or err, after which only source_close
 * may follow. Never called from within source_open or source_next. May call both source_next and source_close.
 */
typedef void source_chunk_cb(struct bytes chunk, bool last, const struct err *err, void *arg);

struct source *source_open(struct event_base *base, struct queue *queue, struct queue_stored *message,
			   enum queue_rendering rendering, source_chunk_cb *chunk,
			   void *arg); /* the first chunk comes by itself */
void source_next(struct source *source);
void source_close(struct source *source); /* no callback follows; NULL is fine */

/*
 * The pieces of a rendering, prefix included, checked against the sizes that were stored with the message. *pieces is empty
 * at the call. Errors: ERR_INTEGRITY.
 */
bool source_pieces(const struct queue_stored *message, enum queue_rendering rendering, struct rendering *pieces,
		   struct err *err) MUST_USE;

#endif
