/*
 * A gauge of how long the thread of an event loop was kept from its loop: by its own computing, by a lock, by a disk, but
 * not by other processes on a busy machine. A timer is due every LAG_TICK_MS; what it comes late, less the time that the
 * kernel let the thread wait for a processor (schedstat, run_delay), is the lag. A callback that holds the loop up for B
 * ms shows as B - LAG_TICK_MS to B. On the loop's thread.
 */
#ifndef INKAN_BASE_LAG_H
#define INKAN_BASE_LAG_H

#include <stdint.h>

#define LAG_TICK_MS 5

struct lag;
struct event_base;

/* The loop was held up for `ms`; `late_ms` is that with the wait for a processor. */
typedef void lag_cb(unsigned ms, unsigned late_ms, void *arg);

/* Calls back from `alarm_ms` on. Without schedstat in the kernel the wait for a processor counts too. */
struct lag *lag_new(struct event_base *base, unsigned alarm_ms, lag_cb *cb, void *arg);
void lag_free(struct lag *lag); /* NULL is fine */

unsigned lag_take_worst_ms(struct lag *lag); /* since the last call */

#endif
