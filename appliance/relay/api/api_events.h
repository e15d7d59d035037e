/*
 * POST /transaction/v2/deliveries/list.json and its kin: a small body, a login as for sending, a list read on a thread of the
 * store. A user reads the events of the servers that it is a user of. Loop's thread.
 */
#ifndef INKAN_RELAY_API_EVENTS_H
#define INKAN_RELAY_API_EVENTS_H

#include "appliance/relay/api/api_event_query.h"
#include "appliance/relay/api/api_users.h"
#include "appliance/relay/api/http.h"
#include "appliance/relay/api/login.h"

#define API_EVENTS_BODY_MAX_BYTES (64u << 10)

struct api_events_context {
	struct queue *queue;
	struct login *login;
	struct api_users *users; /* requests that run, by user; shared with sending */
	uint64_t answered_total, refused_total;
};

struct api_events;

/* NULL: it was refused, the reply is given. `server` belongs to `config`, which is referenced. */
struct api_events *api_events_begin(struct api_events_context *context, enum api_event_kind kind, struct config *config,
				    const struct config_server *server, struct http_connection *connection,
				    const struct http_head *head);
bool api_events_body(struct api_events *events, struct bytes octets);
void api_events_complete(struct api_events *events);
void api_events_abandon(struct api_events *events);

#endif
