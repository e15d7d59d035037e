/*
 * A pool of threads beside an event loop: work that may block runs on a thread, and its completion is called on the
 * loop's thread. Jobs start in the order of submission; completions come in the order in which jobs end.
 */
#ifndef INKAN_BASE_POOL_H
#define INKAN_BASE_POOL_H

#include "appliance/base/err.h"

struct pool;
struct event_base;

typedef void pool_work(void *arg); /* on a pool thread; shares nothing but `arg` */
typedef void pool_done(void *arg); /* on the loop's thread */

struct pool *pool_new(struct event_base *base, unsigned threads, struct err *err);
void pool_submit(struct pool *pool, pool_work *work, pool_done *done, void *arg); /* loop's thread */

/* Waits for running jobs, calls the completions of all submitted ones, ends the threads. NULL is fine. */
void pool_free(struct pool *pool);

#endif
