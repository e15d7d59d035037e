/* When a recipient that could not be delivered is tried again, and when the tries end (service.md L2). Pure; any thread. */
#ifndef INKAN_RELAY_DELIVERY_SCHEDULE_H
#define INKAN_RELAY_DELIVERY_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct schedule {
	const int64_t *retry_ms; /* waits between attempts; the last one repeats */
	size_t n_retry; /* 0: schedule_default counts */
};

/* 1 m, 5 m, 15 m, 1 h: also for mail whose server is not configured any more. */
extern const struct schedule schedule_default;

/*
 * After an attempt that failed at `now_ms`: true and the next due time, or false when the lifetime is over. `attempts` is
 * how many were made before this one, `expires_ms` the end of the lifetime; all times are wall milliseconds. The last
 * attempt is made at the end of the lifetime itself, however long the waits are.
 */
bool schedule_next(const struct schedule *schedule, int64_t now_ms, int64_t expires_ms, uint32_t attempts, int64_t *due_ms);

/* How long a next hop that has failed `failures` times in a row (1 or more) is left alone: 2 s, doubling up to a minute. */
#define SCHEDULE_BACKOFF_FIRST_MS 2000
#define SCHEDULE_BACKOFF_MAX_MS 60000
int64_t schedule_backoff_ms(unsigned failures);

#endif
