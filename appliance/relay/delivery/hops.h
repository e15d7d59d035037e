/* The next hops of a destination: which one to use now, which ones are left alone after failures. Pure; the time is the caller's.
 */
#ifndef INKAN_RELAY_DELIVERY_HOPS_H
#define INKAN_RELAY_DELIVERY_HOPS_H

#include "appliance/relay/policy/config.h"

struct hop {
	char *host;
	uint16_t port;
	unsigned failures; /* in a row */
	int64_t down_until; /* monotonic ms; in the past: usable */
};

struct hops {
	struct hop *items; /* in the order in which to try them */
	size_t count;
};

void hops_init(struct hops *hops, const struct config_next_hop *next_hops, size_t count); /* copies */
void hops_clear(struct hops *hops);

struct hop *hops_usable(const struct hops *hops, int64_t now); /* the first that is not down, or NULL */
int64_t hops_next_try(const struct hops *hops); /* when the first one may be tried again (monotonic ms) */
void hops_forget_failures(struct hops *hops);

/* It could not be used: down for the back-off of its failures in a row. Does nothing (false) when it is down already. */
bool hop_failed(struct hop *hop, int64_t now);
void hop_reached(struct hop *hop); /* it greeted: usable, but its failures count on */
void hop_answered(struct hop *hop); /* it answered a whole transaction: its failures are forgotten */

#endif
