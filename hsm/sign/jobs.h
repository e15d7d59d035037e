/*
 * The relay's requests and the threads that serve them. Everything here is called on the event loop's thread; the
 * signing itself runs on a pool. One relay is connected at a time; what an earlier one asked for is dropped.
 */
#ifndef INKAN_HSM_SIGN_JOBS_H
#define INKAN_HSM_SIGN_JOBS_H

#include "hsm/sign/keyring.h"

#define JOBS_MAX 1024 /* open requests; the relay keeps to a small multiple of the threads */
#define JOBS_STUCK_LEAST_MS 5000 /* a signature that takes longer than its whole budget, within these bounds, is stuck */
#define JOBS_STUCK_MOST_MS 30000
#define JOBS_FAULTS_IN_A_ROW 8 /* operations that failed with none between them that worked */

struct jobs;
struct pool;
struct event_base;

/* The token is lost for this process, or a thread of ours is stuck in the module. Must not return. */
typedef void jobs_fatal(enum token_fault fault, const char *text, void *arg);
typedef void jobs_idle(void *arg);

struct jobs *jobs_new(struct event_base *base, struct pool *pool, struct keyring *keyring, jobs_fatal *fatal, void *arg);

void jobs_connect(struct jobs *jobs, int fd); /* takes the descriptor */

/* Starts nothing any more, answers what waits with SIGN_FAIL_RETRY; calls back when all is answered and written. */
void jobs_stop(struct jobs *jobs, jobs_idle *idle, void *arg);

/* Counts an operation of the token, whoever asked for it; `fatal` when it is lost. */
void jobs_judge(struct jobs *jobs, bool good, enum token_fault fault, const struct err *err);

int64_t jobs_unsigned_ms(const struct jobs *jobs); /* since a signature was last made; 0 while a request is open */
void jobs_note_signature(struct jobs *jobs); /* one that no request asked for */
uint64_t jobs_signatures(const struct jobs *jobs); /* since the start */
void jobs_fail(struct jobs *jobs, const char *text); /* the module is lost for this process: `fatal` */
int64_t jobs_quiet_ms(const struct jobs *jobs); /* since the last operation that worked; 0 while a request is open */

#endif
