/* The routes: one destination for each distinct list of next hops in the configuration, and for each domain in use. Loop's
 * thread. */
#ifndef INKAN_RELAY_DELIVERY_ROUTES_H
#define INKAN_RELAY_DELIVERY_ROUTES_H

#include "appliance/relay/delivery/destination.h"

#define ROUTES_WAITING_RECIPIENTS 8192 /* may wait in all destinations together, shared among them, */
#define ROUTE_WAITING_MIN_RECIPIENTS 128 /* but in each at least so many */
#define ROUTE_WAITING_MAX_RECIPIENTS 1024 /* and at most */

struct route {
	struct destination *destination;
	size_t postponed; /* recipients that were given a later time since the destination last had room */
};

/* Zero-initialise. */
struct routes {
	struct route **items;
	size_t count;
	size_t sweep_at; /* when there are so many, those of domains that have nothing to do go */
};

/* Of the server's next hops (domain NULL), or of a domain where it has none: those are made when they are needed. */
struct route *routes_find(struct routes *routes, const struct config_server *server, const char *domain,
			  const struct destination_context *context);

/*
 * Adds what the configuration means, sets limits, lets next hops that are down be tried at once, and removes what nothing means
 * any more and has nothing to do.
 */
void routes_update(struct routes *routes, const struct config *config, const struct destination_context *context);
void routes_clear(struct routes *routes);

size_t
routes_waiting_limit(const struct routes *routes); /* of recipients waiting in one destination; there is at least one route */
bool routes_have_deferred(const struct routes *routes); /* for a next hop that is down */
void routes_log_out(struct routes *routes); /* destination_log_out of all */
void routes_forget_failures(struct routes *routes);
bool routes_are_busy(const struct routes *routes);
unsigned routes_lanes(const struct routes *routes);
void routes_stop(struct routes *routes);

#endif
