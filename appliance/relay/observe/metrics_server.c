#include "appliance/relay/observe/metrics_server.h"

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/api/http.h"

#define LISTEN_BACKLOG 64
#define ACCEPT_PAUSE_MS 100
#define LISTEN_PATH "system metrics listen"

struct metrics_listener {
	struct metrics_server *server;
	char *address;
	struct evconnlistener *listener;
	struct event *retry; /* after accept has failed */
	struct metrics_listener *next;
};

struct scraper {
	struct metrics_server *server;
	struct http_connection *connection;
	const struct page *page; /* that is asked for */
	struct scraper *next, **at;
};

struct metrics_server {
	struct event_base *base;
	metrics_read *read;
	void *arg;
	struct metrics_listener *listeners;
	struct scraper *scrapers;
	unsigned n_scrapers;
	bool stopped;
};

/* ---- pages ---- */

static void serve_metrics(struct http_connection *connection, const struct metrics *metrics)
{
	struct buf out = {0};

	metrics_write(&out, metrics);
	http_connection_reply(connection, 200, METRICS_TYPE, "", buf_bytes(&out));
	buf_clear(&out);
}

static void serve_health(struct http_connection *connection, const struct metrics *metrics)
{
	struct buf out = {0};
	bool good = metrics_health_write(&out, metrics);

	http_connection_reply(connection, good ? 200 : 503, "application/json; charset=UTF-8", "", buf_bytes(&out));
	buf_clear(&out);
}

static const struct page {
	const char *path;
	void (*serve)(struct http_connection *connection, const struct metrics *metrics);
} pages[] = {{"/metrics", serve_metrics}, {"/healthz", serve_health}};

static void refuse(struct http_connection *connection, int status, const char *headers, const char *text)
{
	http_connection_reply(connection, status, "text/plain; charset=utf-8", headers, bytes_text(text));
}

static void *begin(struct http_connection *connection, const struct http_head *head, void *arg)
{
	struct scraper *scraper = arg;

	scraper->page = NULL;
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
		if (strcmp(head->path, pages[i].path) == 0)
			scraper->page = &pages[i];
	if (scraper->page == NULL)
		refuse(connection, 404, "", "There are /metrics and /healthz.\n");
	else if (strcmp(head->method, "GET") != 0)
		refuse(connection, 405, "Allow: GET\r\n", "Use GET.\n");
	else
		return scraper;
	return NULL;
}

static bool body(void *request, struct bytes octets)
{
	(void)request;
	(void)octets;
	return true;
}

static void complete(void *request)
{
	const struct scraper *scraper = request;
	struct metrics metrics = {0};

	scraper->server->read(&metrics, scraper->server->arg);
	scraper->page->serve(scraper->connection, &metrics);
}

static void abandon(void *request)
{
	(void)request;
}

static void closed(struct http_connection *connection, void *arg)
{
	struct scraper *scraper = arg;

	(void)connection;
	*scraper->at = scraper->next;
	if (scraper->next != NULL)
		scraper->next->at = scraper->at;
	scraper->server->n_scrapers--;
	free(scraper);
}

/* ---- listeners ---- */

static void on_accept(struct evconnlistener *socket, evutil_socket_t fd, struct sockaddr *from, int from_len, void *arg)
{
	struct metrics_listener *listener = arg;
	struct metrics_server *server = listener->server;
	struct bufferevent *stream;
	struct scraper *scraper;

	(void)socket;
	(void)from;
	(void)from_len;
	if (server->n_scrapers >= METRICS_CONNECTIONS_MAX) {
		close(fd);
		return;
	}
	stream = bufferevent_socket_new(server->base, fd, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
	if (stream == NULL)
		abort();
	scraper = mem_new(sizeof *scraper);
	*scraper = (struct scraper){.server = server, .next = server->scrapers, .at = &server->scrapers};
	if (server->scrapers != NULL)
		server->scrapers->at = &scraper->next;
	server->scrapers = scraper;
	server->n_scrapers++;
	scraper->connection = http_connection_new(
	    server->base, stream, "metrics",
	    &(struct http_handler){
		.begin = begin, .body = body, .complete = complete, .abandon = abandon, .closed = closed, .arg = scraper});
}

static void on_accept_failed(struct evconnlistener *socket, void *arg)
{
	struct metrics_listener *listener = arg;
	struct err err;

	err_errno(&err, "accept on %s", listener->address);
	log_warning("metrics.accept-failed", LOG_ERR(&err));
	evconnlistener_disable(socket);
	evtimer_add(listener->retry, &(struct timeval){.tv_usec = ACCEPT_PAUSE_MS * 1000});
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct metrics_listener *listener = arg;

	(void)fd;
	(void)what;
	evconnlistener_enable(listener->listener);
}

static void listener_free(struct metrics_listener *listener)
{
	evconnlistener_free(listener->listener);
	event_free(listener->retry);
	free(listener->address);
	free(listener);
}

static void close_listeners(struct metrics_server *server, bool (*wanted)(const struct config *config, const char *address),
			    const struct config *config)
{
	struct metrics_listener **at = &server->listeners, *listener;

	while ((listener = *at) != NULL) {
		if (wanted != NULL && wanted(config, listener->address)) {
			at = &listener->next;
			continue;
		}
		*at = listener->next;
		listener_free(listener);
	}
}

static bool is_named(const struct config *config, const char *address)
{
	const struct settings *settings = &config->snapshot->settings;

	for (size_t i = 0; i < settings->count; i++)
		if (strcmp(settings->items[i].path, LISTEN_PATH) == 0 && strcmp(settings->items[i].value, address) == 0)
			return true;
	return false;
}

static void close_other(struct metrics_server *server, const char *address)
{
	struct metrics_listener **at = &server->listeners, *listener;

	while ((listener = *at) != NULL && strcmp(listener->address, address) != 0)
		at = &listener->next;
	if (listener == NULL)
		return;
	*at = listener->next;
	listener_free(listener);
}

/* Served at once: while no configuration runs yet, /healthz says so. */
void metrics_server_add_socket(struct metrics_server *server, const char *address, int fd)
{
	struct metrics_listener *listener;

	if (server->stopped) {
		close(fd);
		return;
	}
	close_other(server, address);
	evutil_make_socket_nonblocking(fd);
	listener = mem_new(sizeof *listener);
	*listener = (struct metrics_listener){.server = server, .address = mem_string(address), .next = server->listeners};
	listener->listener = evconnlistener_new(server->base, on_accept, listener, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
						LISTEN_BACKLOG, fd);
	listener->retry = evtimer_new(server->base, on_retry, listener);
	if (listener->listener == NULL || listener->retry == NULL)
		abort();
	evconnlistener_set_error_cb(listener->listener, on_accept_failed);
	server->listeners = listener;
}

void metrics_server_configure(struct metrics_server *server, const struct config *config)
{
	close_listeners(server, is_named, config);
}

struct metrics_server *metrics_server_new(struct event_base *base, metrics_read *read, void *arg)
{
	struct metrics_server *server = mem_new(sizeof *server);

	*server = (struct metrics_server){.base = base, .read = read, .arg = arg};
	return server;
}

void metrics_server_stop(struct metrics_server *server)
{
	server->stopped = true;
	close_listeners(server, NULL, NULL);
	while (server->scrapers != NULL)
		http_connection_free(server->scrapers->connection);
}
