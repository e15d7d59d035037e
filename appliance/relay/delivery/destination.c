#include "appliance/relay/delivery/destination_private.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/relay/delivery/mx.h"

/* ---- The work ---- */

static void fill_idle_lanes(struct destination *destination)
{
	struct lane *lane;

	while (destination->waiting.first != NULL && (lane = destination_idle_lane(destination)) != NULL)
		lane_send(lane, group_list_take(&destination->waiting));
}

static bool wants_lane(const struct destination *destination)
{
	unsigned window = destination->window < destination->limit ? destination->window : destination->limit;

	return destination_lanes(destination) < window &&
	       destination->waiting.groups > destination_count_lanes(destination, LANE_OPENING, NULL) +
						 destination_count_lanes(destination, LANE_IDLE, NULL);
}

void destination_pump(struct destination *destination)
{
	if (destination->stopping || !destination_is_routed(destination))
		return;
	fill_idle_lanes(destination);
	while (wants_lane(destination) && destination_open_lane(destination))
		;
	fill_idle_lanes(destination);
	if ((destination->waiting.first != NULL || destination->has_deferred) && destination_is_down(destination))
		destination_defer_waiting(destination);
}

static void on_probe(evutil_socket_t fd, short what, void *arg)
{
	struct destination *destination = arg;

	(void)fd;
	(void)what;
	if (destination->lanes == NULL && !destination_open_lane(destination))
		destination_arm_probe(destination);
}

/* ---- The public calls ---- */

/* A maildir is the only next hop of its server: delivery_check sees to it. */
static const char *maildir_of(const struct config_server *server)
{
	for (size_t i = 0; i < server->n_next_hops; i++) {
		if (server->next_hops[i].maildir != NULL)
			return server->next_hops[i].maildir;
	}
	return NULL;
}

struct destination *destination_new(const struct destination_context *context, const struct config_server *server,
				    const char *domain)
{
	struct destination *destination = mem_new(sizeof *destination);

	destination->context = context;
	if (maildir_of(server) != NULL)
		destination->maildir = mem_string(maildir_of(server));
	else if (server->n_next_hops > 0)
		hops_init(&destination->hops, server->next_hops, server->n_next_hops);
	else
		destination->domain = mem_string(domain);
	destination->mx_tls = server->mx_tls;
	destination->mx_port = server->mx_port;
	destination->limit = 1;
	destination->window = DESTINATION_WINDOW_FIRST;
	destination->probe = event_new(context->base, -1, 0, on_probe, destination);
	return destination;
}

static bool serves_domain(const struct destination *destination, const struct config_server *server, const char *domain)
{
	return destination->domain != NULL && server->n_next_hops == 0 && destination->mx_tls == server->mx_tls &&
	       destination->mx_port == server->mx_port && (domain == NULL || strcasecmp(destination->domain, domain) == 0);
}

bool destination_is_forgettable(const struct destination *destination)
{
	return destination->domain != NULL && destination->lookup == NULL && destination->lanes == NULL &&
	       destination->waiting.first == NULL && !destination->has_deferred;
}

bool destination_serves(const struct destination *destination, const struct config_server *server, const char *domain)
{
	const char *maildir = maildir_of(server);

	if (destination->domain != NULL || server->n_next_hops == 0)
		return serves_domain(destination, server, domain);
	if (destination->maildir != NULL || maildir != NULL)
		return destination->maildir != NULL && maildir != NULL && strcmp(destination->maildir, maildir) == 0;
	if (destination->hops.count != server->n_next_hops)
		return false;
	for (size_t i = 0; i < server->n_next_hops; i++) {
		if (!config_next_hop_equal(&destination->hops.items[i]->settings, &server->next_hops[i]))
			return false;
	}
	return true;
}

void destination_set_limit(struct destination *destination, unsigned lanes)
{
	destination->limit = lanes > 0 ? lanes : 1;
}

void destination_add(struct destination *destination, struct group *group)
{
	group_list_append(&destination->waiting, group);
	destination_pump(destination);
}

size_t destination_waiting(const struct destination *destination)
{
	return destination->waiting.recipients;
}

unsigned destination_lanes(const struct destination *destination)
{
	unsigned count = 0;

	for (const struct lane *lane = destination->lanes; lane != NULL; lane = lane->next)
		count++;
	return count;
}

unsigned destination_busy(const struct destination *destination)
{
	return destination_count_lanes(destination, LANE_BUSY, NULL);
}

bool destination_has_deferred(const struct destination *destination)
{
	return destination->has_deferred;
}

void destination_forget_failures(struct destination *destination)
{
	hops_forget_failures(&destination->hops);
	destination->lossy = false;
	destination->mx_until = 0;
	destination_arm_probe(destination);
}

void destination_log_out(struct destination *destination)
{
	for (struct lane *lane = destination->lanes; lane != NULL; lane = lane->next) {
		if (lane->client != NULL && lane->hop->settings.user != NULL)
			smtp_client_quit(lane->client);
	}
}

static void free_waiting(struct destination *destination)
{
	struct group *group;

	while ((group = group_list_take(&destination->waiting)) != NULL)
		group_free(group);
}

void destination_stop(struct destination *destination)
{
	destination->stopping = true;
	event_del(destination->probe);
	mx_cancel(destination->lookup);
	destination->lookup = NULL;
	free_waiting(destination);
	for (struct lane *lane = destination->lanes; lane != NULL; lane = lane->next) {
		if (lane->client != NULL)
			smtp_client_quit(lane->client);
	}
}

void destination_free(struct destination *destination)
{
	if (destination == NULL)
		return;
	mx_cancel(destination->lookup);
	free_waiting(destination);
	while (destination->lanes != NULL)
		lane_free(destination->lanes);
	event_free(destination->probe);
	hops_clear(&destination->hops);
	free(destination->maildir);
	free(destination->domain);
	free(destination->down_reason);
	free(destination);
}
