/*
 * The bodies of the newest messages, as they were stored: a delivery that follows at once needs no thread, no disk and no digest.
 * The oldest make room. Loop's thread.
 */
#ifndef INKAN_QUEUE_RECENT_H
#define INKAN_QUEUE_RECENT_H

#include "appliance/base/bytes.h"

#define RECENT_MESSAGES_MAX 256
#define RECENT_PARTS 2 /* original, encoded */

struct recent_message {
	uint64_t id;
	uint64_t numbers[RECENT_PARTS]; /* of its bodies; 0: none */
	struct buf parts[RECENT_PARTS];
};

struct recent {
	size_t limit; /* octets of all bodies; 0: keep none */
	size_t octets;
	size_t first, count; /* a ring */
	struct recent_message messages[RECENT_MESSAGES_MAX];
};

void recent_keep(struct recent *recent, struct recent_message *message); /* takes the parts, even if there is no room */
const struct recent_message *recent_find(const struct recent *recent,
					 uint64_t id); /* NULL: not here; valid until the next keep */
void recent_clear(struct recent *recent);

#endif
