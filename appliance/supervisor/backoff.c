#include "appliance/supervisor/backoff.h"

#define DOUBLINGS_TO_LONGEST 10 /* 100 ms * 2^10 passes a minute */

static int64_t next(struct backoff *backoff, int64_t ran_ms, int64_t longest_ms, int64_t healthy_ms)
{
	int64_t wait_ms;

	if (ran_ms >= healthy_ms)
		backoff->failures = 0;
	wait_ms = backoff->failures < DOUBLINGS_TO_LONGEST ? (int64_t)BACKOFF_FIRST_MS << backoff->failures : longest_ms;
	backoff->failures++;
	return wait_ms < longest_ms ? wait_ms : longest_ms;
}

int64_t backoff_next(struct backoff *backoff, int64_t ran_ms)
{
	return next(backoff, ran_ms, BACKOFF_LONGEST_MS, BACKOFF_HEALTHY_MS);
}

int64_t backoff_next_of_worker(struct backoff *backoff, int64_t ran_ms)
{
	return next(backoff, ran_ms, BACKOFF_WORKER_LONGEST_MS, BACKOFF_WORKER_HEALTHY_MS);
}
