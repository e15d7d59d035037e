#include "appliance/relay/delivery/routes.h"

#include <stdlib.h>

#define SWEEP_LEAST_ROUTES 64

static struct route *add(struct routes *routes, struct destination *destination)
{
	struct route *route = mem_new(sizeof *route);

	route->destination = destination;
	routes->items = mem_resize(routes->items, routes->count + 1, sizeof *routes->items);
	routes->items[routes->count++] = route;
	return route;
}

static void route_free(struct route *route)
{
	destination_free(route->destination);
	free(route);
}

/* Domains come and go: at most half of those that are kept have nothing to do. */
static void sweep(struct routes *routes)
{
	size_t kept = 0;

	for (size_t i = 0; i < routes->count; i++) {
		if (destination_is_forgettable(routes->items[i]->destination))
			route_free(routes->items[i]);
		else
			routes->items[kept++] = routes->items[i];
	}
	routes->count = kept;
	routes->sweep_at = kept * 2 < SWEEP_LEAST_ROUTES ? SWEEP_LEAST_ROUTES : kept * 2;
}

static struct route *find(const struct routes *routes, const struct config_server *server, const char *domain)
{
	for (size_t i = 0; i < routes->count; i++) {
		if (destination_serves(routes->items[i]->destination, server, domain))
			return routes->items[i];
	}
	return NULL;
}

struct route *routes_find(struct routes *routes, const struct config_server *server, const char *domain,
			  const struct destination_context *context)
{
	struct route *route = find(routes, server, domain);

	if (route != NULL || domain == NULL)
		return route;
	if (routes->count >= routes->sweep_at)
		sweep(routes);
	route = add(routes, destination_new(context, server, domain));
	destination_set_limit(route->destination, server->delivery_connections);
	return route;
}

/* The most connections that a server allows for this destination; 0: none means it. */
static unsigned lanes_meant(const struct destination *destination, const struct config *config)
{
	unsigned lanes = 0;

	for (size_t i = 0; i < config->n_servers; i++) {
		const struct config_server *server = &config->servers[i];

		if (destination_serves(destination, server, NULL) && server->delivery_connections > lanes)
			lanes = server->delivery_connections;
	}
	return lanes;
}

static bool has_work(const struct destination *destination)
{
	return destination_waiting(destination) > 0 || destination_busy(destination) > 0;
}

static void adjust(struct routes *routes, const struct config *config)
{
	size_t kept = 0;

	for (size_t i = 0; i < routes->count; i++) {
		struct route *route = routes->items[i];
		unsigned lanes = lanes_meant(route->destination, config);

		if (lanes == 0 && !has_work(route->destination)) {
			route_free(route);
			continue;
		}
		if (lanes > 0)
			destination_set_limit(route->destination, lanes);
		destination_forget_failures(route->destination);
		routes->items[kept++] = route;
	}
	routes->count = kept;
}

void routes_update(struct routes *routes, const struct config *config, const struct destination_context *context)
{
	for (size_t i = 0; i < config->n_servers; i++) {
		const struct config_server *server = &config->servers[i];

		if (server->n_next_hops > 0 && find(routes, server, NULL) == NULL)
			add(routes, destination_new(context, server, NULL));
	}
	adjust(routes, config);
}

void routes_clear(struct routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		route_free(routes->items[i]);
	free(routes->items);
	*routes = (struct routes){0};
}

size_t routes_waiting_limit(const struct routes *routes)
{
	size_t share = ROUTES_WAITING_RECIPIENTS / routes->count;

	if (share < ROUTE_WAITING_MIN_RECIPIENTS)
		return ROUTE_WAITING_MIN_RECIPIENTS;
	return share < ROUTE_WAITING_MAX_RECIPIENTS ? share : ROUTE_WAITING_MAX_RECIPIENTS;
}

bool routes_have_deferred(const struct routes *routes)
{
	bool deferred = false;

	for (size_t i = 0; i < routes->count; i++)
		deferred |= destination_has_deferred(routes->items[i]->destination);
	return deferred;
}

void routes_log_out(struct routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		destination_log_out(routes->items[i]->destination);
}

void routes_forget_failures(struct routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		destination_forget_failures(routes->items[i]->destination);
}

bool routes_are_busy(const struct routes *routes)
{
	bool busy = false;

	for (size_t i = 0; i < routes->count; i++)
		busy |= destination_busy(routes->items[i]->destination) > 0;
	return busy;
}

unsigned routes_lanes(const struct routes *routes)
{
	unsigned lanes = 0;

	for (size_t i = 0; i < routes->count; i++)
		lanes += destination_lanes(routes->items[i]->destination);
	return lanes;
}

void routes_stop(struct routes *routes)
{
	for (size_t i = 0; i < routes->count; i++)
		destination_stop(routes->items[i]->destination);
}
