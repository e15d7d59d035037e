#include "tests/unit/delivery_sink.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>

#define SLOW_READ_BYTES 4096
#define SLOW_STEP_MS 1

struct sink_session {
	struct sink_session *next;
	struct sink *sink;
	struct bufferevent *connection;
	struct event *step; /* of slow answers and slow reading */
	struct buf slow; /* answers not yet written */
	struct sink_message message;
	size_t recipients;
	size_t messages;
	bool in_content;
	bool closing; /* when all is written */
};

static const char usual_ehlo[] =
    "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n";

static void message_clear(struct sink_message *message)
{
	free(message->mail);
	buf_clear(&message->rcpt);
	buf_clear(&message->content);
	*message = (struct sink_message){0};
}

static void session_free(struct sink_session *session)
{
	struct sink_session **link = &session->sink->sessions;

	while (*link != session)
		link = &(*link)->next;
	*link = session->next;
	session->sink->connections_now--;
	session->sink->torn += session->in_content;
	bufferevent_free(session->connection);
	event_free(session->step);
	buf_clear(&session->slow);
	message_clear(&session->message);
	free(session);
}

static void arm_step(struct sink_session *session)
{
	const struct timeval wait = {.tv_usec = SLOW_STEP_MS * 1000};

	event_add(session->step, &wait);
}

/* False: the connection is closed. */
static bool answer(struct sink_session *session, const char *text, const char *usual)
{
	if (text != NULL && session->sink->script.once)
		session->sink->script = (struct sink_script){0};
	if (text == NULL)
		text = usual;
	if (strcmp(text, SINK_DROP) == 0) {
		session_free(session);
		return false;
	}
	if (strcmp(text, SINK_SILENT) == 0)
		return true;
	if (session->sink->script.answer_slowly) {
		buf_put_text(&session->slow, text);
		arm_step(session);
	} else {
		bufferevent_write(session->connection, text, strlen(text));
	}
	return true;
}

static bool is_success(const char *text)
{
	return text == NULL || *text == '2';
}

static bool close_politely(struct sink_session *session)
{
	if (evbuffer_get_length(bufferevent_get_output(session->connection)) == 0 && session->slow.len == 0) {
		session_free(session);
		return false;
	}
	session->closing = true;
	return true;
}

/* ---- Commands ---- */

static bool on_rcpt(struct sink_session *session, const char *line)
{
	const struct sink_script *script = &session->sink->script;
	const char *text = script->rcpt;
	char *address = mem_string(line + strlen("RCPT TO:<"));

	address[strcspn(address, ">")] = '\0';
	for (const struct sink_recipient *r = script->recipients; r != NULL && r->address != NULL; r++) {
		if (strcmp(r->address, address) == 0)
			text = r->answer;
	}
	if (script->recipients_max > 0 && session->recipients >= script->recipients_max)
		text = "452 4.5.3 too many recipients\r\n";
	if (is_success(text)) {
		session->recipients++;
		buf_printf(&session->message.rcpt, "%s\n", address);
	}
	free(address);
	return answer(session, text, "250 2.1.5 Ok\r\n");
}

static bool on_mail(struct sink_session *session, const char *line)
{
	message_clear(&session->message);
	session->recipients = 0;
	session->message.mail = mem_string(line);
	return answer(session, session->sink->script.mail, "250 2.1.0 Ok\r\n");
}

static bool on_data(struct sink_session *session)
{
	const char *text = session->sink->script.data;

	session->in_content = text == NULL || *text == '3';
	return answer(session, text, "354 Go on\r\n");
}

static bool on_line(struct sink_session *session, const char *line)
{
	struct sink *sink = session->sink;

	if (strncmp(line, "EHLO ", 5) == 0)
		return answer(session, sink->script.ehlo, usual_ehlo);
	if (strncmp(line, "HELO ", 5) == 0)
		return answer(session, sink->script.helo, "250 sink.example\r\n");
	if (strncmp(line, "MAIL FROM:<", 11) == 0)
		return on_mail(session, line);
	if (strncmp(line, "RCPT TO:<", 9) == 0)
		return on_rcpt(session, line);
	if (strcmp(line, "DATA") == 0)
		return on_data(session);
	if (strcmp(line, "RSET") == 0) {
		sink->resets++;
		return answer(session, sink->script.rset, "250 2.0.0 Ok\r\n");
	}
	if (strcmp(line, "QUIT") == 0) {
		sink->quits++;
		return answer(session, sink->script.quit, "221 2.0.0 Bye\r\n") && close_politely(session);
	}
	return answer(session, NULL, "500 5.5.2 what?\r\n");
}

/* ---- Content ---- */

static void keep_message(struct sink_session *session)
{
	struct sink *sink = session->sink;

	if (sink->count_only) {
		sink->n_messages++;
		return;
	}
	sink->messages = mem_resize(sink->messages, sink->n_messages + 1, sizeof *sink->messages);
	sink->messages[sink->n_messages++] = session->message;
	session->message = (struct sink_message){0};
}

static bool end_content(struct sink_session *session)
{
	const struct sink_script *script = &session->sink->script;

	session->in_content = false;
	if (is_success(script->final))
		keep_message(session);
	if (!answer(session, script->final, "250 2.0.0 taken\r\n"))
		return false;
	return script->messages_max == 0 || ++session->messages < script->messages_max || close_politely(session);
}

/* One line with its CRLF. */
static bool on_content_line(struct sink_session *session, struct bytes line)
{
	const struct sink_script *script = &session->sink->script;

	if (bytes_equal_text(line, ".\r\n"))
		return end_content(session);
	buf_put_bytes(&session->message.content, line.len > 0 && line.data[0] == '.' ? bytes_slice(line, 1, line.len) : line);
	if (script->content_max > 0 && session->message.content.len > script->content_max) {
		session->in_content = false;
		return answer(session, script->content, SINK_DROP) && close_politely(session);
	}
	return true;
}

/* ---- Events ---- */

static bool take_line(struct sink_session *session, bool first)
{
	size_t len;
	char *line = evbuffer_readln(bufferevent_get_input(session->connection), &len, EVBUFFER_EOL_CRLF_STRICT);
	bool alive;

	if (session->in_content) {
		struct buf whole = {0};

		buf_put(&whole, line, len);
		buf_put_text(&whole, "\r\n");
		alive = on_content_line(session, buf_bytes(&whole));
		buf_clear(&whole);
	} else {
		session->sink->batched += !first;
		alive = on_line(session, line);
	}
	free(line);
	return alive;
}

static bool has_line(struct sink_session *session)
{
	return evbuffer_search_eol(bufferevent_get_input(session->connection), NULL, NULL, EVBUFFER_EOL_CRLF_STRICT).pos >= 0;
}

static void on_readable(struct bufferevent *connection, void *arg)
{
	struct sink_session *session = arg;
	bool content = session->in_content, first = true;

	(void)connection;
	if (session->in_content && session->sink->script.read_slowly) {
		bufferevent_disable(session->connection, EV_READ);
		arm_step(session);
	}
	while (!session->closing && has_line(session)) {
		bool was_content = session->in_content;

		if (!take_line(session, first || content))
			return;
		content = was_content;
		first = false;
	}
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	struct sink_session *session = arg;

	(void)fd;
	(void)what;
	if (session->slow.len > 0) {
		bufferevent_write(session->connection, session->slow.data, 1);
		buf_consume(&session->slow, 1);
		arm_step(session);
	}
	bufferevent_enable(session->connection, EV_READ);
}

static void on_written(struct bufferevent *connection, void *arg)
{
	struct sink_session *session = arg;

	(void)connection;
	if (session->closing && session->slow.len == 0)
		session_free(session);
}

static void on_event(struct bufferevent *connection, short what, void *arg)
{
	(void)connection;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		session_free(arg);
}

static void greet(struct sink_session *session)
{
	const struct sink *sink = session->sink;

	if (sink->script.connections_max > 0 && sink->connections_now > sink->script.connections_max) {
		if (answer(session, "421 4.7.0 too many connections\r\n", NULL))
			close_politely(session);
		return;
	}
	answer(session, sink->script.greeting, "220 sink.example ESMTP\r\n");
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len, void *arg)
{
	struct sink *sink = arg;
	struct sink_session *session = mem_new(sizeof *session);

	(void)listener;
	(void)address;
	(void)len;
	session->sink = sink;
	session->next = sink->sessions;
	sink->sessions = session;
	sink->connections++;
	if (++sink->connections_now > sink->connections_most)
		sink->connections_most = sink->connections_now;
	session->step = event_new(sink->base, -1, 0, on_step, session);
	session->connection = bufferevent_socket_new(sink->base, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(session->connection, on_readable, on_written, on_event, session);
	if (sink->script.read_slowly)
		bufferevent_setwatermark(session->connection, EV_READ, 0, SLOW_READ_BYTES);
	bufferevent_enable(session->connection, EV_READ | EV_WRITE);
	greet(session);
}

/* ---- The sink ---- */

static bool listen_on(struct sink *sink)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(sink->port)};
	socklen_t len = sizeof address;

	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	sink->listener = evconnlistener_new_bind(sink->base, on_accept, sink, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, 128,
						 (struct sockaddr *)&address, sizeof address);
	if (sink->listener == NULL || getsockname(evconnlistener_get_fd(sink->listener), (struct sockaddr *)&address, &len) != 0)
		return false;
	sink->port = ntohs(address.sin_port);
	return true;
}

struct sink *sink_new(struct event_base *base)
{
	struct sink *sink = mem_new(sizeof *sink);

	sink->base = base;
	if (!listen_on(sink))
		abort();
	return sink;
}

void sink_down(struct sink *sink)
{
	if (sink->listener != NULL)
		evconnlistener_free(sink->listener);
	sink->listener = NULL;
	while (sink->sessions != NULL)
		session_free(sink->sessions);
}

bool sink_up(struct sink *sink)
{
	return sink->listener != NULL || listen_on(sink);
}

void sink_free(struct sink *sink)
{
	if (sink == NULL)
		return;
	sink_down(sink);
	for (size_t i = 0; !sink->count_only && i < sink->n_messages; i++)
		message_clear(&sink->messages[i]);
	free(sink->messages);
	free(sink);
}
