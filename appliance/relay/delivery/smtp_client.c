#include "appliance/relay/delivery/smtp_client_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"

#define INPUT_HIGH_BYTES 16384

#define SECONDS(n) ((n)*INT64_C(1000))
#define MINUTES(n) ((n)*SECONDS(60))

const struct smtp_timeouts smtp_timeouts_default = {
    .connect = SECONDS(30),
    .greeting = MINUTES(5),
    .hello = MINUTES(5),
    .envelope = MINUTES(5),
    .data = MINUTES(2),
    .block = MINUTES(3),
    .final = MINUTES(10),
    .reset = MINUTES(5),
    .prepare = MINUTES(1),
    .quit = SECONDS(10),
    .idle = SECONDS(5),
};

static void close_connection(struct smtp_client *client);
static void connect_next(struct smtp_client *client);

/* ---- States ---- */

typedef bool reply_handler(struct smtp_client *client, const struct smtp_reply *reply);

static reply_handler on_idle_reply, on_quit_reply;

/* What each state waits for, how long, and who takes the reply. */
struct state {
	const char *waiting_for;
	size_t timeout; /* offset in struct smtp_timeouts */
	reply_handler *reply;
};

#define STATE(text, member, handler)                                                                                             \
	{                                                                                                                        \
		text, offsetof(struct smtp_timeouts, member), handler                                                            \
	}

static const struct state states[] = {
    [CLIENT_CONNECTING] = STATE("a connection", connect, NULL),
    [CLIENT_GREETING] = STATE("the greeting", greeting, smtp_hello_greeting),
    [CLIENT_EHLO] = STATE("the reply to EHLO", hello, smtp_hello_ehlo),
    [CLIENT_STARTTLS] = STATE("the reply to STARTTLS", hello, smtp_hello_starttls),
    [CLIENT_TLS] = STATE("the TLS handshake", connect, NULL),
    [CLIENT_HELO] = STATE("the reply to HELO", hello, smtp_hello_helo),
    [CLIENT_AUTH] = STATE("the reply to AUTH", hello, smtp_hello_auth),
    [CLIENT_AUTH_USER] = STATE("the reply to AUTH", hello, smtp_hello_auth_user),
    [CLIENT_AUTH_PASSWORD] = STATE("the reply to AUTH", hello, smtp_hello_auth_password),
    [CLIENT_IDLE] = STATE("more mail", idle, on_idle_reply),
    [CLIENT_PREPARING] = STATE("our own message store", prepare, on_idle_reply),
    [CLIENT_ENVELOPE] = STATE("the reply to MAIL or RCPT", envelope, smtp_transaction_envelope_reply),
    [CLIENT_DATA] = STATE("the reply to DATA", data, smtp_transaction_data_reply),
    [CLIENT_CONTENT] = STATE("the server to take the message", block, smtp_transaction_content_reply),
    [CLIENT_FINAL] = STATE("the reply to the message", final, smtp_transaction_final_reply),
    [CLIENT_RESET] = STATE("the reply to RSET", reset, smtp_transaction_reset_reply),
    [CLIENT_QUIT] = STATE("the reply to QUIT", quit, on_quit_reply),
};

static void arm(struct event *event, int64_t ms)
{
	const struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	event_add(event, &wait);
}

void smtp_client_enter(struct smtp_client *client, enum smtp_client_state state)
{
	client->state = state;
	if (state == CLIENT_CLOSED)
		event_del(client->deadline);
	else
		arm(client->deadline, *(const int64_t *)((const char *)client->timeouts + states[state].timeout));
}

/* ---- The end of a connection ---- */

static bool is_between_messages(const struct smtp_client *client)
{
	return client->state == CLIENT_IDLE || client->state == CLIENT_QUIT;
}

/*
 * A server may close a connection that we reuse at the moment at which we send: then it has seen nothing of this group. Such a
 * connection has carried a message before, so groups that come back cannot go round in circles.
 */
static bool is_untouched(const struct smtp_client *client)
{
	const struct smtp_transaction *transaction = &client->transaction;

	if (transaction->group == NULL || client->messages == 0)
		return false;
	return client->state == CLIENT_PREPARING || (client->state == CLIENT_ENVELOPE && transaction->answered == 0);
}

static void give_up(struct smtp_client *client)
{
	bool untouched = is_untouched(client);

	client->closed.polite = is_between_messages(client);
	smtp_client_enter(client, CLIENT_CLOSED);
	resolver_cancel(client->resolution);
	client->resolution = NULL;
	close_connection(client);
	if (untouched) {
		client->closed.unsent = client->transaction.group;
		client->transaction.group = NULL;
		smtp_transaction_clear(client);
	}
	event_active(client->closing, 0, 0);
}

bool smtp_client_fail(struct smtp_client *client, enum err_code code, const char *format, ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;

	if (client->state == CLIENT_CLOSED)
		return false;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	err_set(&client->closed.why, code, "%s: %s", client->label, text);
	if (client->state < CLIENT_IDLE && code != ERR_CANCELLED && client->next_address < client->n_addresses) {
		client->plain = false;
		connect_next(client);
	} else {
		give_up(client);
	}
	return false;
}

bool smtp_client_fail_security(struct smtp_client *client, const char *status, const struct err *why)
{
	snprintf(client->closed.status, sizeof client->closed.status, "%s", status);
	return smtp_client_fail(client, why->code, "%s", why->text);
}

bool smtp_client_fail_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	char line[SMTP_REPLY_TEXT_MAX_BYTES];

	smtp_reply_one_line(reply, line);
	return smtp_client_fail(client, ERR_UNAVAILABLE, "%s", line);
}

static void on_closing(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_client *client = arg;
	bool answered = client->transaction.verdict;
	struct group *group = smtp_transaction_lost(client, client->closed.why.text);

	(void)fd;
	(void)what;
	if (group != NULL)
		client->events->finished(group, answered, client->arg);
	client->events->closed(&client->closed, client->arg);
}

/* ---- Writing ---- */

void smtp_client_write(struct smtp_client *client, struct buf *out)
{
	struct evbuffer *output = bufferevent_get_output(client->connection);
	ssize_t sent = 0;

	if (client->direct && evbuffer_get_length(output) == 0) /* spares the loop two system calls and a round */
		sent = send(bufferevent_getfd(client->connection), out->data, out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		sent = 0; /* the connection will find out why */
	if ((size_t)sent < out->len)
		evbuffer_add(output, out->data + sent, out->len - (size_t)sent);
	buf_reset(out);
}

void smtp_client_command(struct smtp_client *client, const char *format, ...)
{
	struct buf line = {0};
	va_list args;

	va_start(args, format);
	buf_vprintf(&line, format, args);
	va_end(args);
	smtp_client_write(client, &line);
	buf_clear(&line);
}

static void send_quit(struct smtp_client *client)
{
	smtp_client_command(client, "QUIT\r\n");
	smtp_client_enter(client, CLIENT_QUIT);
}

void smtp_client_become_idle(struct smtp_client *client)
{
	if (client->quit_wanted || client->messages >= SMTP_CLIENT_MESSAGES_MAX) {
		send_quit(client);
		return;
	}
	smtp_client_enter(client, CLIENT_IDLE);
	client->events->idle(client->arg);
}

/* ---- Replies outside of transactions ---- */

static bool on_idle_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	return smtp_client_fail_reply(client, reply);
}

static bool on_quit_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	(void)reply;
	return smtp_client_fail(client, ERR_NONE, "closed");
}

/* ---- Events ---- */

static bool take_replies(struct smtp_client *client, struct bytes in)
{
	while (in.len > 0) {
		enum smtp_reply_progress progress = smtp_reply_feed(&client->parser, &in);

		if (progress == SMTP_REPLY_MALFORMED)
			return smtp_client_fail(client, ERR_INVALID, "malformed reply while waiting for %s",
						states[client->state].waiting_for);
		client->unread = in.len + evbuffer_get_length(bufferevent_get_input(client->connection));
		if (progress == SMTP_REPLY_COMPLETE && !states[client->state].reply(client, &client->parser.reply))
			return false;
	}
	return true;
}

static void on_readable(struct bufferevent *connection, void *arg)
{
	struct smtp_client *client = arg;
	uint8_t octets[4096];
	size_t got;

	while ((got = bufferevent_read(connection, octets, sizeof octets)) > 0) {
		if (!take_replies(client, bytes_of(octets, got)))
			return;
	}
}

static void on_drained(struct bufferevent *connection, void *arg)
{
	struct smtp_client *client = arg;

	(void)connection;
	if (client->state == CLIENT_CONTENT)
		smtp_transaction_drained(client);
}

static void on_connected(struct smtp_client *client)
{
	int on = 1;

	if (client->state == CLIENT_TLS) {
		smtp_hello_encrypted(client);
		return;
	}
	setsockopt(bufferevent_getfd(client->connection), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	client->direct = true;
	smtp_hello_connected(client);
}

static void on_event(struct bufferevent *connection, short what, void *arg)
{
	struct smtp_client *client = arg;
	int error = EVUTIL_SOCKET_ERROR();

	(void)connection;
	if (what & BEV_EVENT_CONNECTED) {
		on_connected(client);
	} else if (client->state == CLIENT_CONNECTING) {
		smtp_client_fail(client, ERR_UNAVAILABLE, "%s", strerror(error));
	} else if (client->state == CLIENT_TLS) {
		smtp_hello_tls_failed(client, what & BEV_EVENT_EOF ? 0 : error);
	} else if (what & BEV_EVENT_EOF) {
		smtp_client_fail(client, ERR_UNAVAILABLE, "the server closed the connection while we waited for %s",
				 states[client->state].waiting_for);
	} else {
		smtp_client_fail(client, ERR_UNAVAILABLE, "connection lost while we waited for %s: %s",
				 states[client->state].waiting_for, strerror(error));
	}
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_client *client = arg;

	(void)fd;
	(void)what;
	if (client->state == CLIENT_IDLE) {
		send_quit(client);
		return;
	}
	smtp_client_fail(client, ERR_TIMEOUT, "no answer in time while we waited for %s", states[client->state].waiting_for);
}

/* ---- Connecting ---- */

static void close_connection(struct smtp_client *client)
{
	if (client->connection == NULL)
		return;
	bufferevent_free(client->connection);
	client->connection = NULL;
}

void smtp_client_take_connection(struct smtp_client *client, struct bufferevent *connection)
{
	client->connection = connection;
	client->direct = false;
	bufferevent_setcb(connection, on_readable, on_drained, on_event, client);
	bufferevent_setwatermark(connection, EV_READ, 0, INPUT_HIGH_BYTES);
	bufferevent_setwatermark(connection, EV_WRITE, SMTP_OUTPUT_LOW_BYTES, 0);
	bufferevent_enable(connection, EV_READ | EV_WRITE);
}

/* The host as configured, and where it is. */
static void set_label(struct smtp_client *client, const struct sockaddr *address)
{
	const struct config_next_hop *hop = client->hop;
	char text[INET6_ADDRSTRLEN] = "";

	if (address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, text, sizeof text);
	else
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text, sizeof text);
	free(client->label);
	if (strcmp(text, hop->host) != 0)
		client->label = mem_format("%s[%s]:%u", hop->host, text, hop->port);
	else
		client->label = mem_format(address->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", hop->host, hop->port);
}

/* Callbacks are deferred, so that a connect that fails at once is told from the loop like any other. */
static bool connect_to(struct smtp_client *client, const struct resolver_address *address)
{
	struct bufferevent *connection =
	    bufferevent_socket_new(client->base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);

	close_connection(client);
	set_label(client, (const struct sockaddr *)&address->sockaddr);
	smtp_reply_parser_clear(&client->parser);
	client->capabilities = (struct smtp_capabilities){0};
	client->encrypted = false;
	snprintf(client->closed.status, sizeof client->closed.status, "4.4.1");
	smtp_client_enter(client, CLIENT_CONNECTING);
	if (connection == NULL)
		return false;
	smtp_client_take_connection(client, connection);
	return bufferevent_socket_connect(connection, (const struct sockaddr *)&address->sockaddr, (int)address->len) == 0;
}

/* With no address left the error of the last one stands. */
static void connect_next(struct smtp_client *client)
{
	while (client->next_address < client->n_addresses) {
		if (connect_to(client, &client->addresses[client->next_address++]))
			return;
		err_set(&client->closed.why, ERR_UNAVAILABLE, "%s: %s", client->label, strerror(errno));
	}
	give_up(client);
}

void smtp_client_reconnect_plain(struct smtp_client *client)
{
	client->plain = true;
	client->next_address--;
	connect_next(client);
}

static void on_resolved(const struct resolver_address *addresses, size_t count, const struct err *err, void *arg)
{
	struct smtp_client *client = arg;

	client->resolution = NULL;
	if (err != NULL) {
		smtp_client_fail(client, err->code, "%s", err->text);
		return;
	}
	memcpy(client->addresses, addresses, count * sizeof *addresses);
	client->n_addresses = count;
	connect_next(client);
}

/* ---- The public calls ---- */

struct smtp_client *smtp_client_new(const struct smtp_client_settings *settings)
{
	struct smtp_client *client = mem_new(sizeof *client);

	client->base = settings->base;
	client->resolver = settings->resolver;
	client->queue = settings->queue;
	client->pool = settings->pool;
	client->timeouts = settings->timeouts;
	client->events = settings->events;
	client->arg = settings->arg;
	client->hop = settings->hop;
	client->tls = settings->tls;
	client->passwords = settings->passwords;
	client->helo = mem_string(settings->helo);
	client->label = mem_format("%s:%u", settings->hop->host, settings->hop->port);
	snprintf(client->closed.status, sizeof client->closed.status, "4.4.1");
	client->opened_ms = clock_monotonic_ms();
	client->deadline = event_new(client->base, -1, 0, on_deadline, client);
	client->closing = event_new(client->base, -1, 0, on_closing, client);
	smtp_client_enter(client, CLIENT_CONNECTING);
	client->resolution = resolver_lookup(client->resolver, client->hop->host, client->hop->port, on_resolved, client);
	return client;
}

bool smtp_client_is_idle(const struct smtp_client *client)
{
	return client->state == CLIENT_IDLE;
}

void smtp_client_send(struct smtp_client *client, struct group *group)
{
	group_set_hop(group, client->label);
	group->sent_ms = clock_monotonic_ms();
	group->opened_ms = client->messages == 0 ? client->opened_ms : 0;
	smtp_transaction_begin(client, group);
}

void smtp_client_quit(struct smtp_client *client)
{
	client->quit_wanted = true;
	if (client->state == CLIENT_IDLE)
		send_quit(client);
	else if (client->state < CLIENT_IDLE)
		smtp_client_fail(client, ERR_CANCELLED, "given up before it was used");
}

void smtp_client_free(struct smtp_client *client)
{
	if (client == NULL)
		return;
	resolver_cancel(client->resolution);
	close_connection(client);
	group_free(client->transaction.group);
	smtp_transaction_clear(client);
	event_free(client->deadline);
	event_free(client->closing);
	smtp_reply_parser_clear(&client->parser);
	free(client->helo);
	free(client->label);
	free(client);
}
