/*
 * How long a program that ended waits before it is started again: a tenth of a second at first, so that even the fourth death
 * in a row costs less than a second, doubling to a limit, from the start again after it ran for a while. An HSM worker's
 * limit is lower than the relay's: when a token is back, mail that waits must not wait much longer. Pure.
 */
#ifndef INKAN_SUPERVISOR_BACKOFF_H
#define INKAN_SUPERVISOR_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_LONGEST_MS 60000
#define BACKOFF_HEALTHY_MS 60000
#define BACKOFF_WORKER_LONGEST_MS 3000
#define BACKOFF_WORKER_HEALTHY_MS 10000

struct backoff {
	unsigned failures; /* in a row */
};

/* It ended after running for `ran_ms` (0 when it never became ready): the milliseconds to wait now. */
int64_t backoff_next(struct backoff *backoff, int64_t ran_ms);
int64_t backoff_next_of_worker(struct backoff *backoff, int64_t ran_ms);

#endif
