#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_limits.h"
#include "appliance/relay/smtp/smtp_session.h"

#define LISTEN_BACKLOG 1024

struct smtp_server *smtp_server_new(const struct submission_context *context)
{
	struct smtp_server *server = mem_new(sizeof *server);

	server->context = *context;
	server->auth_checks = smtp_auth_checks_new(context->pool);
	return server;
}

void smtp_server_use_tls(struct smtp_server *server, struct tls *tls)
{
	server->tls = tls;
}

/* ---- Services ---- */

static struct smtp_service *find_service(const struct smtp_server *server, const char *name)
{
	struct smtp_service *service = server->services;

	while (service != NULL && strcmp(service->name, name) != 0)
		service = service->next;
	return service;
}

static void service_configure(struct smtp_server *server, struct config *config, const struct config_server *settings)
{
	struct smtp_service *service = find_service(server, settings->name);

	if (service == NULL) {
		service = mem_new(sizeof *service);
		service->name = mem_string(settings->name);
		service->clients = smtp_clients_new();
		service->next = server->services;
		server->services = service;
	}
	config_ref(config);
	config_unref(service->config);
	service->config = config;
	service->server = settings;
	service->configured = true;
}

static void service_free(struct smtp_service *service)
{
	config_unref(service->config);
	smtp_clients_free(service->clients);
	free(service->name);
	free(service);
}

/* Those that are neither configured nor have a session. */
static void sweep_services(struct smtp_server *server)
{
	for (struct smtp_service **at = &server->services, *service = *at; service != NULL; service = *at) {
		if (service->configured || service->sessions > 0) {
			at = &service->next;
			continue;
		}
		*at = service->next;
		service_free(service);
	}
}

/* ---- Accepting ---- */

/* A client that begins with TLS could not read the reply. */
static void refuse_connection(const struct smtp_listener *listener, int fd, const struct in6_addr *address, enum smtp_reply reply)
{
	const struct smtp_service *service = listener->service;
	char client[INET6_ADDRSTRLEN];
	struct buf text = {0};

	inet_ntop(AF_INET6, address, client, sizeof client);
	log_info("smtp.connection-refused", LOG_TEXT("server", service->name), LOG_TEXT("client", client),
		 LOG_NUMBER("sessions", service->sessions), LOG_TEXT("reply", smtp_reply_row(reply)->text));
	smtp_reply_put(&text, reply);
	if (listener->tls != CONFIG_LISTEN_IMPLICIT && send(fd, text.data, text.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("smtp.refusal-unsent", LOG_TEXT("client", client));
	buf_clear(&text);
	close(fd);
}

/* One more handshake than TLS allows gets no session, nor does it hear why: that would have to be encrypted. */
static bool tls_refuses(const struct smtp_listener *listener, int fd)
{
	return listener->tls == CONFIG_LISTEN_IMPLICIT && !tls_admits(listener->server->tls, fd);
}

static void client_address(const struct sockaddr *from, struct in6_addr *address)
{
	if (from->sa_family == AF_INET6) {
		*address = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
		return;
	}
	*address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
	memcpy(address->s6_addr + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
}

struct in6_addr smtp_server_counted_address(const struct in6_addr *address)
{
	struct in6_addr counted = *address;

	if (!IN6_IS_ADDR_V4MAPPED(address))
		memset(counted.s6_addr + 8, 0, 8);
	return counted;
}

static enum smtp_reply admit(struct smtp_service *service, const struct in6_addr *address)
{
	struct in6_addr counted = smtp_server_counted_address(address);

	if (service->sessions >= service->server->limits.sessions)
		return SMTP_REPLY_SESSIONS;
	if (!smtp_clients_enter(service->clients, &counted, service->server->limits.sessions_per_client, clock_monotonic_ms()))
		return SMTP_REPLY_SESSIONS_OF_CLIENT;
	service->sessions++;
	return SMTP_REPLY_NONE;
}

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *from, int from_len, void *arg)
{
	struct smtp_listener *listener = arg;
	struct smtp_server *server = listener->server;
	enum smtp_reply refusal;
	struct in6_addr address;
	int yes = 1;

	(void)socket;
	(void)from_len;
	server->state.sessions_total++;
	client_address(from, &address);
	if (tls_refuses(listener, fd)) {
		close(fd);
		return;
	}
	refusal = admit(listener->service, &address);
	if (refusal != SMTP_REPLY_NONE) {
		refuse_connection(listener, fd, &address, refusal);
		return;
	}
	server->state.sessions++;
	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0)
		log_debug("smtp.no-nodelay", LOG_NUMBER("fd", fd));
	smtp_session_new(listener, fd, &address);
}

static void on_accept_failed(struct evconnlistener *socket, void *arg)
{
	struct smtp_listener *listener = arg;
	struct timeval pause = {.tv_sec = SMTP_ACCEPT_PAUSE_MS / 1000, .tv_usec = SMTP_ACCEPT_PAUSE_MS % 1000 * 1000};
	struct err err;

	err_errno(&err, "accept on %s", listener->address);
	log_warning("smtp.accept-failed", LOG_ERR(&err));
	evconnlistener_disable(socket); /* or the loop would spin until a descriptor is free */
	evtimer_add(listener->retry, &pause);
}

static void on_retry_accept(int fd, short what, void *arg)
{
	struct smtp_listener *listener = arg;

	(void)fd;
	(void)what;
	if (!listener->server->stopping)
		evconnlistener_enable(listener->listener);
}

void smtp_server_session_ended(struct smtp_server *server, struct smtp_service *service, const struct in6_addr *address)
{
	struct in6_addr counted = smtp_server_counted_address(address);

	smtp_clients_leave(service->clients, &counted, clock_monotonic_ms());
	service->sessions--;
	server->state.sessions--;
	sweep_services(server);
	if (server->stopping && server->sessions == NULL && server->stop_timer != NULL)
		event_active(server->stop_timer, EV_TIMEOUT, 0);
}

/* ---- Listeners ---- */

static struct smtp_listener *find_listener(const struct smtp_server *server, const char *address)
{
	struct smtp_listener *listener = server->listeners;

	while (listener != NULL && strcmp(listener->address, address) != 0)
		listener = listener->next;
	return listener;
}

static void listener_close(struct smtp_server *server, struct smtp_listener *listener)
{
	struct smtp_listener **at = &server->listeners;

	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
	evconnlistener_free(listener->listener);
	event_free(listener->retry);
	tls_context_unref(listener->context);
	tls_context_unref(listener->next_context);
	free(listener->address);
	free(listener);
}

void smtp_server_add_socket(struct smtp_server *server, const char *address, int fd)
{
	struct smtp_listener *listener = find_listener(server, address);
	struct smtp_service *service = listener == NULL ? NULL : listener->service;
	struct tls_context *context = listener == NULL || listener->context == NULL ? NULL : tls_context_ref(listener->context);
	enum config_listen_tls tls = listener == NULL ? CONFIG_LISTEN_PLAIN : listener->tls;

	if (listener != NULL)
		listener_close(server, listener);
	listener = mem_new(sizeof *listener);
	listener->context = context;
	listener->tls = tls;
	listener->server = server;
	listener->address = mem_string(address);
	listener->service = service;
	evutil_make_socket_nonblocking(fd);
	listener->listener =
	    evconnlistener_new(server->context.base, on_accept, listener,
			       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_DISABLED, LISTEN_BACKLOG, fd);
	evconnlistener_set_error_cb(listener->listener, on_accept_failed);
	listener->retry = evtimer_new(server->context.base, on_retry_accept, listener);
	listener->next = server->listeners;
	server->listeners = listener;
	if (service != NULL && !server->stopping)
		evconnlistener_enable(listener->listener);
}

/* ---- Configuration ---- */

static bool check_listens(const struct smtp_server *server, const struct config *config, struct err *err)
{
	for (size_t s = 0; s < config->n_servers; s++) {
		for (size_t l = 0; l < config->servers[s].n_listens; l++) {
			const char *address = config->servers[s].listens[l].address;

			if (find_listener(server, address) == NULL)
				return err_set(err, ERR_NOT_FOUND, "server %s smtp listen %s: there is no socket",
					       config->servers[s].name, address);
		}
	}
	return true;
}

static void forget_contexts(struct smtp_server *server)
{
	for (struct smtp_listener *listener = server->listeners; listener != NULL; listener = listener->next) {
		tls_context_unref(listener->next_context);
		listener->next_context = NULL;
	}
}

/* The TLS of a listener, NULL for none. */
static bool make_context(const struct smtp_server *server, const struct config_listen *listen, struct tls_context **context,
			 struct err *err)
{
	*context = NULL;
	if (listen->tls == CONFIG_LISTEN_PLAIN)
		return true;
	if (server->tls == NULL)
		return err_set(err, ERR_UNAVAILABLE, "%s: there is no TLS", listen->address);
	*context = tls_context_new(server->tls, listen->certificates, listen->n_certificates, err);
	return *context != NULL || err_prefix(err, "smtp listen %s", listen->address);
}

/* Whatever can refuse, before anything changes. With `keep` the contexts are left with the listeners. */
static bool make_contexts(struct smtp_server *server, const struct config *config, bool keep, struct err *err)
{
	for (size_t s = 0; s < config->n_servers; s++) {
		for (size_t l = 0; l < config->servers[s].n_listens; l++) {
			const struct config_listen *listen = &config->servers[s].listens[l];
			struct tls_context *context;

			if (!make_context(server, listen, &context, err))
				return err_prefix(err, "server %s", config->servers[s].name);
			if (keep)
				find_listener(server, listen->address)->next_context = context;
			else
				tls_context_unref(context);
		}
	}
	return true;
}

static void attach_listeners(struct smtp_server *server, const struct config_server *settings)
{
	for (size_t i = 0; i < settings->n_listens; i++) {
		struct smtp_listener *listener = find_listener(server, settings->listens[i].address);

		listener->service = find_service(server, settings->name);
		listener->tls = settings->listens[i].tls;
		tls_context_unref(listener->context);
		listener->context = listener->next_context;
		listener->next_context = NULL;
		if (!server->stopping)
			evconnlistener_enable(listener->listener);
	}
}

static void close_unnamed_listeners(struct smtp_server *server)
{
	for (struct smtp_listener *next, *listener = server->listeners; listener != NULL; listener = next) {
		next = listener->next;
		if (listener->service == NULL)
			listener_close(server, listener);
	}
}

bool smtp_server_configure(struct smtp_server *server, struct config *config, bool check_only, struct err *err)
{
	if (check_only)
		return make_contexts(server, config, false, err);
	if (!check_listens(server, config, err))
		return false;
	if (!make_contexts(server, config, true, err)) {
		forget_contexts(server);
		return false;
	}
	for (struct smtp_service *service = server->services; service != NULL; service = service->next)
		service->configured = false;
	for (struct smtp_listener *listener = server->listeners; listener != NULL; listener = listener->next)
		listener->service = NULL;
	for (size_t i = 0; i < config->n_servers; i++) {
		service_configure(server, config, &config->servers[i]);
		attach_listeners(server, &config->servers[i]);
	}
	close_unnamed_listeners(server);
	sweep_services(server);
	for (struct smtp_session *session = server->sessions; session != NULL; session = session->next)
		smtp_session_reconfigured(session);
	return true;
}

void smtp_server_set_health(struct smtp_server *server, enum queue_health health)
{
	server->health = health;
}

struct smtp_server_state smtp_server_state(const struct smtp_server *server)
{
	return server->state;
}

/* ---- The end ---- */

static void drop_sessions(struct smtp_server *server)
{
	while (server->sessions != NULL)
		smtp_session_free(server->sessions);
}

/* The deadline, or the last session ended. */
static void on_stop(int fd, short what, void *arg)
{
	struct smtp_server *server = arg;

	(void)fd;
	(void)what;
	event_free(server->stop_timer);
	server->stop_timer = NULL;
	drop_sessions(server);
	server->stopped(server->stopped_arg);
}

void smtp_server_stop(struct smtp_server *server, int64_t deadline_ms, void (*stopped)(void *arg), void *arg)
{
	int64_t left = deadline_ms - clock_monotonic_ms();
	struct timeval wait = {0};

	if (left > 0)
		wait = (struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
	server->stopping = true;
	server->stopped = stopped;
	server->stopped_arg = arg;
	server->stop_timer = evtimer_new(server->context.base, on_stop, server);
	evtimer_add(server->stop_timer, &wait);
	for (struct smtp_listener *listener = server->listeners; listener != NULL; listener = listener->next)
		evconnlistener_disable(listener->listener);
	for (struct smtp_session *next, *session = server->sessions; session != NULL; session = next) {
		next = session->next;
		smtp_session_run(session);
	}
	if (server->sessions == NULL)
		event_active(server->stop_timer, EV_TIMEOUT, 0);
}

void smtp_server_free(struct smtp_server *server)
{
	if (server == NULL)
		return;
	drop_sessions(server);
	while (server->listeners != NULL)
		listener_close(server, server->listeners);
	for (struct smtp_service *next, *service = server->services; service != NULL; service = next) {
		next = service->next;
		service_free(service);
	}
	if (server->stop_timer != NULL)
		event_free(server->stop_timer);
	smtp_auth_checks_free(server->auth_checks);
	free(server);
}
