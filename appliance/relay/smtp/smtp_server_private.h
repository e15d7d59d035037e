/* The server as its sessions see it, for the files of this folder. */
#ifndef INKAN_RELAY_SMTP_SERVER_PRIVATE_H
#define INKAN_RELAY_SMTP_SERVER_PRIVATE_H

#include <event2/listener.h>

#include "appliance/relay/smtp/server.h"
#include "appliance/relay/smtp/smtp_clients.h"
#include "appliance/relay/tls/tls.h"

struct smtp_session;

/* One `server NAME` of the configuration; kept as long as it is configured or has sessions. */
struct smtp_service {
	struct smtp_service *next;
	char *name;
	struct config *config; /* the last one that had it */
	const struct config_server *server; /* of config */
	bool configured; /* the current configuration has it */
	unsigned sessions;
	struct smtp_clients *clients;
};

struct smtp_listener {
	struct smtp_listener *next;
	struct smtp_server *server;
	char *address; /* as configured */
	struct evconnlistener *listener;
	struct event *retry; /* enables it again after accept(2) failed */
	struct smtp_service *service; /* NULL: no configuration named it yet */
	enum config_listen_tls tls;
	struct tls_context *context; /* NULL: no TLS; of the current configuration */
	struct tls_context *next_context; /* while a configuration is being taken */
};

struct smtp_server {
	struct submission_context context;
	struct tls *tls; /* NULL: there is none */
	struct smtp_listener *listeners;
	struct smtp_service *services;
	struct smtp_session *sessions;
	enum queue_health health;
	struct smtp_auth_checks *auth_checks;
	uint64_t last_session;
	struct smtp_server_state state;
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct event *stop_timer;
};

/* The address that limits count by: one client of IPv6 has a /64 at least, and all of it counts as one. */
struct in6_addr smtp_server_counted_address(const struct in6_addr *address);

/* A session is over: counts, and `stopped` when it was the last one. */
void smtp_server_session_ended(struct smtp_server *server, struct smtp_service *service, const struct in6_addr *address);

#endif
