/*
 * Numbers for messages, bodies and recipients: ms since 2020 << 22 | node << 12 | counter. Strictly rising, whatever the
 * clock does: the start raises the generator over the highest number that was ever stored.
 */
#ifndef INKAN_QUEUE_IDS_H
#define INKAN_QUEUE_IDS_H

#include <stdint.h>

#define IDS_NODE_MAX 1023

struct ids {
	uint16_t node;
	uint64_t last;
};

uint64_t ids_next(struct ids *ids, int64_t wall_ms);
void ids_raise(struct ids *ids, uint64_t over); /* later numbers are greater than `over` */

/* The first number of a millisecond, and the millisecond of a number (wall). */
uint64_t ids_at(int64_t wall_ms);
int64_t ids_time(uint64_t id);

#endif
