/* The sending API of each server (`server NAME api listen`). Loop's thread; nothing blocks. */
#ifndef INKAN_RELAY_API_SERVER_H
#define INKAN_RELAY_API_SERVER_H

#include "appliance/relay/signing/submission.h"

#define API_ACCEPT_PAUSE_MS 100 /* after accept failed */

struct api_server;
struct bufferevent;

/* A stream over an accepted descriptor, which it takes: plain, or TLS with the listener's certificate. NULL: the descriptor is
 * closed. */
typedef struct bufferevent *api_open_stream(const struct config_api_listen *listen, int fd, void *arg);

struct api_server *api_server_new(const struct submission_context *context, api_open_stream *open, void *arg);

void api_server_add_socket(struct api_server *server, const char *address, int fd); /* as smtp_server_add_socket */

/* As smtp_server_configure. Requests that run finish on the configuration they began with. */
bool api_server_configure(struct api_server *server, struct config *config, bool check_only, struct err *err) MUST_USE;

/* No new connections and requests; those that run may finish until the deadline; then `stopped`, never from within this call. */
void api_server_stop(struct api_server *server, int64_t deadline_ms, void (*stopped)(void *arg), void *arg);
void api_server_free(struct api_server *server); /* NULL is fine */

struct api_server_state {
	unsigned connections;
	uint64_t connections_total, refused_connections_total;
	uint64_t accepted_total, refused_total; /* sending requests */
	uint64_t lists_total, lists_refused_total; /* requests for events */
};
struct api_server_state api_server_state(const struct api_server *server);

#endif
