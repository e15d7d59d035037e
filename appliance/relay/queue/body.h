/* A body that is being received, as commit sees it. */
#ifndef INKAN_QUEUE_BODY_H
#define INKAN_QUEUE_BODY_H

#include "appliance/relay/queue/message.h"

bool body_is_file(const struct queue_body *body);
bool body_is_sealed(const struct queue_body *body);
uint64_t body_number(const struct queue_body *body);

/* Gives the file its name and syncs it. *store_failed: what failed is shared with other messages. May block; any thread. */
bool body_store(struct queue_body *body, bool *store_failed, struct err *err) MUST_USE;

/* Where it is, with its digest. The data stay the body's. Any thread. */
void body_describe(const struct queue_body *body, struct stored_part *part);

/* The octets of one that is no file, before its end. Loop's thread. */
void body_take_data(struct queue_body *body, struct buf *data);

/* The end of a body that was handed to queue_commit. A file that was stored is unlinked unless `keep`. Loop's thread. */
void body_end(struct queue_body *body, bool keep);

#endif
