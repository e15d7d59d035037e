#include "appliance/supervisor/backoff.h"

#define DOUBLINGS_TO_LONGEST 10 /* 100 ms * 2^10 passes a minute */

int64_t backoff_next(struct backoff *backoff, int64_t ran_ms)
{
	int64_t wait_ms;

	if (ran_ms >= BACKOFF_HEALTHY_MS)
		backoff->failures = 0;
	wait_ms = backoff->failures < DOUBLINGS_TO_LONGEST ? (int64_t)BACKOFF_FIRST_MS << backoff->failures : BACKOFF_LONGEST_MS;
	backoff->failures++;
	return wait_ms < BACKOFF_LONGEST_MS ? wait_ms : BACKOFF_LONGEST_MS;
}
