/* The next hops of a destination: which one to use now, which ones are left alone after failures. Pure; the time is the caller's.
 */
#ifndef INKAN_RELAY_DELIVERY_HOPS_H
#define INKAN_RELAY_DELIVERY_HOPS_H

#include "appliance/relay/delivery/tls_client.h"

struct hop {
	struct config_next_hop settings; /* owned */
	struct tls_client *tls; /* made when it is first needed */
	unsigned references; /* the list's, and each connection's */
	unsigned failures; /* in a row */
	int64_t down_until; /* monotonic ms; in the past: usable */
	bool unknown; /* the last failure: its name has no address */
};

struct hops {
	struct hop **items; /* by priority, lower first */
	size_t count;
};

void hops_init(struct hops *hops, const struct config_next_hop *next_hops, size_t count); /* copies */
void hops_clear(struct hops *hops);

/* Others from now on; those that stay the same keep what is known of them. */
void hops_replace(struct hops *hops, const struct config_next_hop *next_hops, size_t count);

/*
 * One that is not down, of the best priority that has any; among equals each by its share of their weights, as `random` (any
 * number) says. NULL: all are down.
 */
struct hop *hops_usable(const struct hops *hops, int64_t now, uint32_t random);
int64_t hops_next_try(const struct hops *hops); /* when the first one may be tried again (monotonic ms) */
void hops_forget_failures(struct hops *hops);

struct hop *hop_ref(struct hop *hop);
void hop_unref(struct hop *hop);
bool hop_wants_tls(const struct hop *hop);
bool hop_prepare_tls(struct hop *hop, struct err *err) MUST_USE; /* hop->tls is there, where it is wanted */

/* It could not be used: down for the back-off of its failures in a row. Does nothing (false) when it is down already. */
bool hop_failed(struct hop *hop, int64_t now);
void hop_reached(struct hop *hop); /* it greeted: usable, but its failures count on */
void hop_answered(struct hop *hop); /* it answered a whole transaction: its failures are forgotten */

#endif
