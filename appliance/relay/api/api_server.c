#include "appliance/relay/api/api_server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <jansson.h>
#include <malloc.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/api/api_errors.h"
#include "appliance/relay/api/api_events.h"
#include "appliance/relay/api/api_send.h"

#define LISTEN_BACKLOG 1024

struct api_listener {
	struct api_server *server;
	char *address;
	char *name; /* of the configured server; NULL: no configuration names the address */
	struct evconnlistener *listener;
	struct event *retry;
	struct api_listener *next;
};

/* A client's connection. */
struct api_peer {
	struct api_server *server;
	char *name; /* of the configured server that it came to */
	bool encrypted;
	struct http_connection *connection;
	const struct handler *handler; /* of the request that is being served */
	void *request;
	struct api_peer *next, **at;
};

struct api_server {
	struct submission_context context;
	struct api_send_context send;
	struct api_events_context events;
	api_open_stream *open;
	void *open_arg;
	struct config *config;
	struct api_listener *listeners;
	struct api_peer *peers;
	struct api_server_state state;
	struct event *stop_timer;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* ---- Requests ---- */

/* What serves the requests of some paths; `peer->request` is what its begin returned. */
struct handler {
	void *(*begin)(struct api_peer *peer, int kind, const struct config_server *settings, const struct http_head *head);
	bool (*body)(void *request, struct bytes octets);
	void (*complete)(void *request);
	void (*abandon)(void *request);
};

static void *send_begin(struct api_peer *peer, int kind, const struct config_server *settings, const struct http_head *head)
{
	struct api_server *server = peer->server;

	(void)kind;
	return api_send_begin(&server->send, server->config, settings, peer->connection, head, peer->encrypted);
}

static bool send_body(void *request, struct bytes octets)
{
	return api_send_body(request, octets);
}

static void send_complete(void *request)
{
	api_send_complete(request);
}

static void send_abandon(void *request)
{
	api_send_abandon(request);
}

static const struct handler sending = {send_begin, send_body, send_complete, send_abandon};

static void *events_begin(struct api_peer *peer, int kind, const struct config_server *settings, const struct http_head *head)
{
	struct api_server *server = peer->server;

	return api_events_begin(&server->events, (enum api_event_kind)kind, server->config, settings, peer->connection, head);
}

static bool events_body(void *request, struct bytes octets)
{
	return api_events_body(request, octets);
}

static void events_complete(void *request)
{
	api_events_complete(request);
}

static void events_abandon(void *request)
{
	api_events_abandon(request);
}

static const struct handler events = {events_begin, events_body, events_complete, events_abandon};

static const struct route {
	const char *method, *path;
	const struct handler *handler;
	int kind; /* which of several things that a handler does */
} routes[] = {
    {"POST", "/api/v2/emails/send.json", &sending, 0},
    {"POST", "/api/v1/emails/send.json", &sending, 0},
    {"POST", "/transaction/v2/deliveries/list.json", &events, API_DELIVERIES},
    {"POST", "/transaction/v2/bounces/list.json", &events, API_BOUNCES},
    {"POST", "/transaction/v2/statistics/list.json", &events, API_STATISTICS},
    {"POST", "/api/v2/deliveries/list.json", &events, API_DELIVERIES},
    {"POST", "/api/v2/bounces/list.json", &events, API_BOUNCES},
    {"POST", "/api/v2/statistics/list.json", &events, API_STATISTICS},
    {"POST", "/api/v1/deliveries/list.json", &events, API_DELIVERIES},
    {"POST", "/api/v1/bounces/list.json", &events, API_BOUNCES},
    {"POST", "/api/v1/statistics/list.json", &events, API_STATISTICS},
    {"POST", "/transaction/v2/blocks/list.json", &events, API_BLOCKS},
    {"POST", "/api/v2/blocks/list.json", &events, API_BLOCKS},
    {"POST", "/api/v1/blocks/list.json", &events, API_BLOCKS},
    {"POST", "/transaction/v2/auditlogs/list.json", &events, API_AUDITLOGS},
    {"POST", "/transaction/v2/auditlogs/download.json", &events, API_AUDITLOGS},
};

static const struct route *find_route(const char *path)
{
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		if (strcmp(path, routes[i].path) == 0)
			return &routes[i];
	}
	return NULL;
}

static void reply_fault(struct http_connection *connection, const struct http_head *head, enum api_fault fault,
			const char *detail)
{
	struct api_errors errors = {0};

	api_errors_add(&errors, fault, "", detail);
	http_connection_reply_errors(connection, &errors, api_language_is_japanese(head->accept_language));
	api_errors_clear(&errors);
}

static void *begin(struct http_connection *connection, const struct http_head *head, void *arg)
{
	struct api_peer *peer = arg;
	struct api_server *server = peer->server;
	const struct config_server *settings = config_find_server(server->config, peer->name);
	const struct route *route = find_route(head->path);

	peer->connection = connection;
	if (settings == NULL || server->stop_timer != NULL)
		reply_fault(connection, head, API_FAULT_BUSY, "The server is being stopped");
	else if (route == NULL)
		reply_fault(connection, head, API_FAULT_PATH, "");
	else if (strcmp(head->method, route->method) != 0)
		reply_fault(connection, head, API_FAULT_METHOD, route->method);
	else {
		peer->handler = route->handler;
		peer->request = route->handler->begin(peer, route->kind, settings, head);
		return peer->request == NULL ? NULL : peer;
	}
	return NULL;
}

/* Requests of a connection come one after the other: what http.h calls the request is the peer. */
static bool body(void *request, struct bytes octets)
{
	struct api_peer *peer = request;

	return peer->handler->body(peer->request, octets);
}

static void complete(void *request)
{
	struct api_peer *peer = request;

	peer->handler->complete(peer->request);
}

static void abandon(void *request)
{
	struct api_peer *peer = request;

	peer->handler->abandon(peer->request);
}

static void stop_if_over(struct api_server *server)
{
	if (server->stop_timer != NULL && server->peers == NULL)
		event_active(server->stop_timer, EV_TIMEOUT, 0);
}

static void closed(struct http_connection *connection, void *arg)
{
	struct api_peer *peer = arg;
	struct api_server *server = peer->server;

	(void)connection;
	*peer->at = peer->next;
	if (peer->next != NULL)
		peer->next->at = peer->at;
	server->state.connections--;
	free(peer->name);
	free(peer);
	stop_if_over(server);
}

/* ---- Connections ---- */

static void peer_new(struct api_listener *listener, struct bufferevent *stream, bool encrypted, const char *client)
{
	struct api_server *server = listener->server;
	struct api_peer *peer = mem_new(sizeof *peer);
	struct http_handler handler = {
	    .begin = begin, .body = body, .complete = complete, .abandon = abandon, .closed = closed, .arg = peer};

	*peer = (struct api_peer){.server = server,
				  .name = mem_string(listener->name),
				  .encrypted = encrypted,
				  .next = server->peers,
				  .at = &server->peers};
	if (server->peers != NULL)
		server->peers->at = &peer->next;
	server->peers = peer;
	server->state.connections++;
	peer->connection = http_connection_new(server->context.base, stream, client, &handler);
}

static void client_text(const struct sockaddr *from, char text[static INET6_ADDRSTRLEN])
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;

	text[0] = '\0';
	if (from->sa_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
	else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
}

static const struct config_api_listen *find_listen(const struct api_listener *listener, const struct config_server **settings)
{
	*settings = config_find_server(listener->server->config, listener->name);
	for (size_t i = 0; *settings != NULL && i < (*settings)->n_api_listens; i++) {
		if (strcmp((*settings)->api_listens[i].address, listener->address) == 0)
			return &(*settings)->api_listens[i];
	}
	return NULL;
}

static unsigned connections_of(const struct api_server *server, const char *client)
{
	unsigned count = 0;

	for (const struct api_peer *peer = server->peers; peer != NULL; peer = peer->next)
		count += strcmp(http_connection_client(peer->connection), client) == 0;
	return count;
}

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *from, int from_len, void *arg)
{
	struct api_listener *listener = arg;
	struct api_server *server = listener->server;
	const struct config_server *settings;
	const struct config_api_listen *listen = find_listen(listener, &settings);
	char client[INET6_ADDRSTRLEN];
	struct bufferevent *stream;
	int yes = 1;

	(void)socket;
	(void)from_len;
	server->state.connections_total++;
	client_text(from, client);
	if (listen == NULL || server->state.connections >= settings->api_connections ||
	    connections_of(server, client) >= settings->api_connections_per_client) {
		server->state.refused_connections_total++;
		close(fd);
		return;
	}
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0)
		log_debug("api.no-nodelay", LOG_NUMBER("fd", fd));
	stream = server->open(listen, fd, server->open_arg);
	if (stream != NULL)
		peer_new(listener, stream, listen->tls, client);
}

static void on_accept_failed(struct evconnlistener *socket, void *arg)
{
	struct api_listener *listener = arg;
	struct timeval pause = {.tv_usec = API_ACCEPT_PAUSE_MS * 1000};
	struct err err;

	err_errno(&err, "accept on %s", listener->address);
	log_warning("api.accept-failed", LOG_ERR(&err));
	evconnlistener_disable(socket); /* or the loop would spin until a descriptor is free */
	evtimer_add(listener->retry, &pause);
}

static void on_retry_accept(evutil_socket_t fd, short what, void *arg)
{
	struct api_listener *listener = arg;

	(void)fd;
	(void)what;
	if (listener->name != NULL && listener->server->stop_timer == NULL)
		evconnlistener_enable(listener->listener);
}

/* ---- Listeners and configuration ---- */

static struct api_listener *find_listener(const struct api_server *server, const char *address)
{
	struct api_listener *listener = server->listeners;

	while (listener != NULL && strcmp(listener->address, address) != 0)
		listener = listener->next;
	return listener;
}

static void listener_close(struct api_server *server, struct api_listener *listener)
{
	struct api_listener **at = &server->listeners;

	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
	evconnlistener_free(listener->listener);
	event_free(listener->retry);
	free(listener->address);
	free(listener->name);
	free(listener);
}

void api_server_add_socket(struct api_server *server, const char *address, int fd)
{
	struct api_listener *before = find_listener(server, address), *listener = mem_new(sizeof *listener);

	*listener = (struct api_listener){.server = server,
					  .address = mem_string(address),
					  .name = before == NULL || before->name == NULL ? NULL : mem_string(before->name)};
	if (before != NULL)
		listener_close(server, before);
	evutil_make_socket_nonblocking(fd);
	listener->listener =
	    evconnlistener_new(server->context.base, on_accept, listener,
			       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, LISTEN_BACKLOG, fd);
	listener->retry = evtimer_new(server->context.base, on_retry_accept, listener);
	if (listener->listener == NULL || listener->retry == NULL)
		abort();
	evconnlistener_set_error_cb(listener->listener, on_accept_failed);
	listener->next = server->listeners;
	server->listeners = listener;
	if (listener->name != NULL && server->stop_timer == NULL)
		evconnlistener_enable(listener->listener);
}

static bool check_listens(const struct api_server *server, const struct config *config, struct err *err)
{
	for (size_t s = 0; s < config->n_servers; s++) {
		for (size_t l = 0; l < config->servers[s].n_api_listens; l++) {
			const char *address = config->servers[s].api_listens[l].address;

			if (find_listener(server, address) == NULL)
				return err_set(err, ERR_NOT_FOUND, "server %s api listen %s: there is no socket",
					       config->servers[s].name, address);
		}
	}
	return true;
}

static void name_listeners(struct api_server *server, const struct config_server *settings)
{
	for (size_t i = 0; i < settings->n_api_listens; i++) {
		struct api_listener *listener = find_listener(server, settings->api_listens[i].address);

		listener->name = mem_string(settings->name);
		if (server->stop_timer == NULL)
			evconnlistener_enable(listener->listener);
	}
}

bool api_server_configure(struct api_server *server, struct config *config, bool check_only, struct err *err)
{
	if (check_only)
		return true;
	if (!check_listens(server, config, err))
		return false;
	config_unref(server->config);
	server->config = config_ref(config);
	for (struct api_listener *listener = server->listeners; listener != NULL; listener = listener->next) {
		free(listener->name);
		listener->name = NULL;
	}
	for (size_t i = 0; i < config->n_servers; i++)
		name_listeners(server, &config->servers[i]);
	for (struct api_listener *next, *listener = server->listeners; listener != NULL; listener = next) {
		next = listener->next;
		if (listener->name == NULL)
			listener_close(server, listener);
	}
	return true;
}

/* ---- Life ---- */

/* api_key passes through jansson's memory, which has to be wiped as all that held it. */
static void *json_new(size_t size)
{
	return mem_new(size);
}

static void json_wipe(void *memory)
{
	if (memory != NULL)
		mem_wipe(memory, malloc_usable_size(memory));
	free(memory);
}

struct api_server *api_server_new(const struct submission_context *context, api_open_stream *open, void *arg)
{
	struct api_server *server = mem_new(sizeof *server);

	json_set_alloc_funcs(json_new, json_wipe);
	server->context = *context;
	server->open = open;
	server->open_arg = arg;
	server->send = (struct api_send_context){
	    .submission = &server->context, .login = login_new(context->base, context->pool), .users = api_users_new()};
	server->events =
	    (struct api_events_context){.queue = context->queue, .login = server->send.login, .users = server->send.users};
	return server;
}

static void drop_peers(struct api_server *server)
{
	while (server->peers != NULL)
		http_connection_free(server->peers->connection);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct api_server *server = arg;

	(void)fd;
	(void)what;
	drop_peers(server);
	server->stopped(server->stopped_arg);
}

void api_server_stop(struct api_server *server, int64_t deadline_ms, void (*stopped)(void *arg), void *arg)
{
	int64_t left = deadline_ms - clock_monotonic_ms();
	struct timeval wait = {.tv_sec = left > 0 ? left / 1000 : 0, .tv_usec = left > 0 ? left % 1000 * 1000 : 0};

	server->stopped = stopped;
	server->stopped_arg = arg;
	server->stop_timer = evtimer_new(server->context.base, on_stop, server);
	if (server->stop_timer == NULL)
		abort();
	evtimer_add(server->stop_timer, &wait);
	for (struct api_listener *listener = server->listeners; listener != NULL; listener = listener->next)
		evconnlistener_disable(listener->listener);
	for (struct api_peer *next, *peer = server->peers; peer != NULL; peer = next) {
		next = peer->next;
		http_connection_retire(peer->connection);
	}
	stop_if_over(server);
}

void api_server_free(struct api_server *server)
{
	if (server == NULL)
		return;
	drop_peers(server);
	while (server->listeners != NULL)
		listener_close(server, server->listeners);
	if (server->stop_timer != NULL)
		event_free(server->stop_timer);
	login_free(server->send.login);
	api_users_free(server->send.users);
	config_unref(server->config);
	free(server);
}

struct api_server_state api_server_state(const struct api_server *server)
{
	struct api_server_state state = server->state;

	state.accepted_total = server->send.accepted_total;
	state.refused_total = server->send.refused_total;
	state.lists_total = server->events.answered_total;
	state.lists_refused_total = server->events.refused_total;
	return state;
}
