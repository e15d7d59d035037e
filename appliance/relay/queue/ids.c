#include "appliance/relay/queue/ids.h"

#define EPOCH_MS INT64_C(1577836800000) /* 2020-01-01T00:00:00Z */
#define TIME_SHIFT 22
#define NODE_SHIFT 12
#define COUNTER_MASK UINT64_C(0xfff)

uint64_t ids_next(struct ids *ids, int64_t wall_ms)
{
	uint64_t now = wall_ms > EPOCH_MS ? (uint64_t)(wall_ms - EPOCH_MS) : 0;
	uint64_t time = ids->last >> TIME_SHIFT;
	uint64_t counter = ids->last & COUNTER_MASK;

	if (now > time) {
		time = now;
		counter = 0;
	} else if (counter == COUNTER_MASK) {
		time++;
		counter = 0;
	} else {
		counter++;
	}
	ids->last = time << TIME_SHIFT | (uint64_t)ids->node << NODE_SHIFT | counter;
	return ids->last;
}

void ids_raise(struct ids *ids, uint64_t over)
{
	if (ids->last < over)
		ids->last = over | COUNTER_MASK; /* the next one takes a new millisecond: `over` may be another node's */
}

uint64_t ids_at(int64_t wall_ms)
{
	return wall_ms > EPOCH_MS ? (uint64_t)(wall_ms - EPOCH_MS) << TIME_SHIFT : 0;
}

int64_t ids_time(uint64_t id)
{
	return EPOCH_MS + (int64_t)(id >> TIME_SHIFT);
}
