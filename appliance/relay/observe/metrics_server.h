/*
 * HTTP listeners of `system metrics listen`: GET /metrics and /healthz, without login: to be bound where only the monitoring
 * reaches it. Loop's thread.
 */
#ifndef INKAN_RELAY_OBSERVE_METRICS_SERVER_H
#define INKAN_RELAY_OBSERVE_METRICS_SERVER_H

#include "appliance/relay/observe/metrics.h"

#define METRICS_CONNECTIONS_MAX 32

struct metrics_server;

/* `read` fills in what there is to be shown. */
typedef void metrics_read(struct metrics *metrics, void *arg);
struct metrics_server *metrics_server_new(struct event_base *base, metrics_read *read, void *arg);

void metrics_server_add_socket(struct metrics_server *server, const char *address, int fd); /* as smtp_server_add_socket */
void metrics_server_configure(struct metrics_server *server, const struct config *config); /* closes what it does not name */
void metrics_server_stop(struct metrics_server *server); /* hangs up; serves nothing more */

#endif
