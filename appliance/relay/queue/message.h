/* Messages on their way into the database: copies of what callers hand over. */
#ifndef INKAN_QUEUE_MESSAGE_H
#define INKAN_QUEUE_MESSAGE_H

#include "appliance/relay/queue/digest.h"
#include "appliance/relay/queue/queue.h"

struct message_copy {
	struct queue_message message;
	struct queue_recipient *recipients;
	uint64_t *recipient_ids;
	size_t n_recipients;
	int64_t due; /* wall ms */
	uint8_t *text; /* what the pointers above point into */
};

/* Copies; numbers the recipients. Loop's thread. */
void message_copy_init(struct message_copy *copy, struct queue *queue, const struct queue_message *message,
		       const struct queue_recipient *recipients, size_t n_recipients);
void message_copy_clear(struct message_copy *copy); /* zeroed is fine */

/* Where a body is: the numbers are those of recipient and message too, from queue_new_id. */
struct stored_part {
	uint64_t number; /* 0: the message has no such part */
	bool file;
	uint64_t size;
	uint8_t digest[DIGEST_BYTES];
	struct bytes data; /* when it is no file */
};

#endif
