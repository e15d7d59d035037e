/*
 * What a worker does beside its requests: it loads the keys that were not loaded at the start, slowly, since a search on
 * a token with a thousand keys is long; and while nobody asks for signatures it asks the token whether it is still there,
 * so that a dead HSM is noticed before a customer's mail is. On the event loop's thread; the token is used on the pool.
 */
#ifndef INKAN_HSM_SIGN_UPKEEP_H
#define INKAN_HSM_SIGN_UPKEEP_H

#include "hsm/sign/jobs.h"

#define UPKEEP_CHECK_MS 10000 /* of quiet, between two questions */
#define UPKEEP_REST 4 /* after a load the loader rests so many times as long as it took */

struct upkeep;

struct upkeep *upkeep_new(struct event_base *base, struct pool *pool, struct token *token, struct keyring *keyring,
			  struct jobs *jobs);
void upkeep_load_keys(struct upkeep *upkeep); /* whatever is not loaded, in the background */

#endif
