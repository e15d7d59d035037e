/*
 * What a worker does beside its requests: it loads the keys that were not loaded at the start and those of a new list of
 * certificates, so that no message has to wait for a search on the token; and while nobody asks for signatures it asks the token
 * whether it is still there, and makes a canary signature, of a random digest, which goes nowhere, so that a dead HSM is noticed
 * before a customer's mail is. On the event loop's thread; the token is used on the pool.
 */
#ifndef INKAN_HSM_SIGN_UPKEEP_H
#define INKAN_HSM_SIGN_UPKEEP_H

#include "hsm/sign/jobs.h"

#define UPKEEP_CHECK_MS 10000 /* of quiet, between two questions */
#define UPKEEP_CANARY_AGAIN_MS 10000 /* after a canary that failed */
#define UPKEEP_LOAD_STUCK_MS 60000 /* a search for keys on a full token is slow */
#define UPKEEP_STUCK_MS 20000 /* a question or canary that takes longer is stuck in the module */
#define UPKEEP_LOAD_MS 2000 /* of loading the keys of a new list, before it is said to be in use */
#define UPKEEP_REST 1 /* after a load the loader rests so many times as long as it took */

struct upkeep;

/* A canary signature was made, in so many milliseconds, or could not be. */
typedef void upkeep_report(bool good, int64_t ms, const char *text, void *arg);

struct upkeep_place {
	struct event_base *base;
	struct pool *pool;
	struct token *token;
	struct keyring *keyring;
	struct jobs *jobs;
	uint32_t canary_ms; /* without a signature, before one is made; 0: never */
	upkeep_report *report;
	void *arg;
};

struct upkeep *upkeep_new(const struct upkeep_place *place);
void upkeep_load_keys(struct upkeep *upkeep); /* whatever is not loaded, in the background */

/* The same at full speed; calls back once, when all are loaded, one fails, or after UPKEEP_LOAD_MS. */
typedef void upkeep_loaded(void *arg);
void upkeep_load_now(struct upkeep *upkeep, upkeep_loaded *loaded, void *arg);

#endif
