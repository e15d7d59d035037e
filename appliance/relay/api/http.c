#include "appliance/relay/api/http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <http_parser.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/base/clock.h"
#include "appliance/relay/api/api_errors.h"
#include "appliance/relay/api/http_chunks.h"

#define READ_STEP_BYTES (64u << 10)

enum http_at {
	AT_WAITING, /* for a request's first octet */
	AT_HEAD,
	AT_BODY,
	AT_SERVING, /* the body is complete, the reply is not there */
	AT_REPLYING, /* the reply leaves */
	AT_LINGERING /* the reply has left, the client may still be sending */
};

enum http_field {
	FIELD_CONTENT_TYPE,
	FIELD_ACCEPT_LANGUAGE,
	FIELD_AUTHORIZATION,
	FIELD_HOST,
	FIELD_EXPECT,
	FIELD_CONTENT_LENGTH,
	FIELD_TRANSFER_ENCODING,
	FIELD_CONTENT_ENCODING,
	FIELDS
};

static const struct {
	const char *name;
	const char *twice; /* what is wrong with a second one; NULL: the last one counts */
} field_rows[FIELDS] = {
    [FIELD_CONTENT_TYPE] = {"Content-Type", "two Content-Type fields"},
    [FIELD_ACCEPT_LANGUAGE] = {"Accept-Language", NULL},
    [FIELD_AUTHORIZATION] = {"Authorization", "two Authorization fields"},
    [FIELD_HOST] = {"Host", "two Host fields"},
    [FIELD_EXPECT] = {"Expect", NULL},
    [FIELD_CONTENT_LENGTH] = {"Content-Length", "two Content-Length fields"},
    [FIELD_TRANSFER_ENCODING] = {"Transfer-Encoding", "two Transfer-Encoding fields"},
    [FIELD_CONTENT_ENCODING] = {"Content-Encoding", "two Content-Encoding fields"},
};

struct http_connection {
	struct event_base *base;
	struct bufferevent *stream;
	struct event *timer;
	char *client;
	struct http_handler handler;
	http_parser parser;
	enum http_at at;
	void *request; /* of the handler */
	bool replied; /* of the request that is being read or served */
	bool paused; /* the handler takes no more until http_connection_resume */
	bool keep_alive, close_after, retired;
	bool running; /* within run: no recursion, no freeing under its feet */
	bool doomed; /* free it when run returns */
	int64_t body_deadline;
	const char *fault; /* the request cannot be served: why */
	bool chunked; /* the body */
	struct http_chunks chunks;

	/* the head */
	size_t head_bytes;
	unsigned n_headers;
	bool in_value; /* the parser is in a field's value */
	struct buf url, name, value;
	char *fields[FIELDS];
};

/* ---- Timers ---- */

static void set_deadline(struct http_connection *connection, int64_t ms)
{
	struct timeval wait = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (ms < 0)
		evtimer_del(connection->timer);
	else
		evtimer_add(connection->timer, &wait);
}

static void set_body_deadline(struct http_connection *connection)
{
	int64_t left = connection->body_deadline - clock_monotonic_ms();

	set_deadline(connection, left < 0 ? 0 : left < HTTP_BODY_GAP_MS ? left : HTTP_BODY_GAP_MS);
}

/* ---- The end ---- */

static void abandon(struct http_connection *connection)
{
	void *request = connection->request;

	connection->request = NULL;
	if (request != NULL)
		connection->handler.abandon(request);
}

static void forget_head(struct http_connection *connection)
{
	buf_wipe_clear(&connection->url);
	buf_clear(&connection->name);
	buf_wipe_clear(&connection->value);
	for (size_t i = 0; i < FIELDS; i++) {
		free(connection->fields[i]);
		connection->fields[i] = NULL;
	}
	connection->head_bytes = 0;
	connection->n_headers = 0;
	connection->in_value = false;
}

void http_connection_free(struct http_connection *connection)
{
	if (connection->running) {
		connection->doomed = true;
		return;
	}
	abandon(connection);
	if (connection->handler.closed != NULL)
		connection->handler.closed(connection, connection->handler.arg);
	forget_head(connection);
	event_free(connection->timer);
	bufferevent_free(connection->stream);
	free(connection->client);
	free(connection);
}

/* ---- Replies ---- */

static const char *reason_of(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
	    {200, "OK"},
	    {204, "No Content"},
	    {400, "Bad Request"},
	    {401, "Unauthorized"},
	    {403, "Forbidden"},
	    {404, "Not Found"},
	    {405, "Method Not Allowed"},
	    {408, "Request Timeout"},
	    {413, "Content Too Large"},
	    {415, "Unsupported Media Type"},
	    {429, "Too Many Requests"},
	    {431, "Request Header Fields Too Large"},
	    {500, "Internal Server Error"},
	    {503, "Service Unavailable"},
	};

	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Unknown";
}

static void reply_left(struct http_connection *connection);

void http_connection_reply(struct http_connection *connection, int status, const char *type, const char *headers,
			   struct bytes body)
{
	struct evbuffer *out = bufferevent_get_output(connection->stream);
	bool early = connection->at != AT_SERVING;

	connection->request = NULL;
	connection->replied = true;
	connection->close_after = early || !connection->keep_alive || connection->retired;
	evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
	if (status != 204)
		evbuffer_add_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, body.len);
	evbuffer_add_printf(out, "%sCache-Control: no-store\r\nConnection: %s\r\n\r\n", headers,
			    connection->close_after ? "close" : "keep-alive");
	if (status != 204 && connection->parser.method != HTTP_HEAD)
		evbuffer_add(out, body.data, body.len);
	connection->at = AT_REPLYING;
	connection->paused = early;
	set_deadline(connection, HTTP_WRITE_MS);
}

void http_connection_reply_errors(struct http_connection *connection, struct api_errors *errors, bool japanese)
{
	struct buf body = {0};
	int status = api_errors_status(errors);

	api_errors_write(&body, errors, japanese);
	http_connection_reply(connection, status, "application/json; charset=UTF-8", status == 503 ? "Retry-After: 30\r\n" : "",
			      buf_bytes(&body));
	buf_clear(&body);
}

static void refuse(struct http_connection *connection, enum api_fault fault, const char *detail)
{
	struct api_errors errors = {0};

	abandon(connection);
	api_errors_add(&errors, fault, "", detail);
	http_connection_reply_errors(connection, &errors, api_language_is_japanese(connection->fields[FIELD_ACCEPT_LANGUAGE]));
	api_errors_clear(&errors);
}

/* ---- The parser's callbacks ---- */

static int fault(struct http_connection *connection, const char *why)
{
	connection->fault = why;
	return 1;
}

static bool is_token(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] <= ' ' || text.data[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", text.data[i]) != NULL)
			return false;
	}
	return text.len > 0;
}

static int end_field(struct http_connection *connection)
{
	struct bytes name = buf_bytes(&connection->name);

	connection->in_value = false;
	if (name.len == 0)
		return 0;
	if (!is_token(name))
		return fault(connection, "a header field has no proper name");
	if (++connection->n_headers > HTTP_HEADERS_MAX)
		return fault(connection, "too many header fields");
	for (size_t i = 0; i < FIELDS; i++) {
		if (!bytes_equal_nocase(name, field_rows[i].name))
			continue;
		if (connection->fields[i] != NULL && field_rows[i].twice != NULL)
			return fault(connection, field_rows[i].twice);
		free(connection->fields[i]);
		connection->fields[i] = bytes_string(bytes_trim(buf_bytes(&connection->value)));
	}
	buf_reset(&connection->name);
	buf_reset(&connection->value);
	return 0;
}

static int on_url(http_parser *parser, const char *at, size_t len)
{
	struct http_connection *connection = parser->data;

	buf_put(&connection->url, at, len);
	return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t len)
{
	struct http_connection *connection = parser->data;

	if (connection->at != AT_HEAD)
		return 0; /* a trailer is not looked at */
	if (connection->in_value && end_field(connection) != 0)
		return 1;
	buf_put(&connection->name, at, len);
	return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t len)
{
	struct http_connection *connection = parser->data;

	if (connection->at != AT_HEAD)
		return 0;
	connection->in_value = true;
	buf_put(&connection->value, at, len);
	return 0;
}

static void begin_request(struct http_connection *connection)
{
	const http_parser *parser = &connection->parser;
	char *url = bytes_string(buf_bytes(&connection->url)), *query = strchr(url, '?');
	bool chunked = (parser->flags & F_CHUNKED) != 0;
	struct http_head head = {
	    .method = http_method_str(parser->method),
	    .path = url,
	    .query = query == NULL ? NULL : query + 1,
	    .content_type = connection->fields[FIELD_CONTENT_TYPE],
	    .accept_language = connection->fields[FIELD_ACCEPT_LANGUAGE],
	    .authorization = connection->fields[FIELD_AUTHORIZATION],
	    .has_body = chunked || (parser->content_length != 0 && parser->content_length != UINT64_MAX),
	    .content_length = parser->content_length,
	};

	if (query != NULL)
		*query = '\0';
	connection->request = connection->handler.begin(connection, &head, connection->handler.arg);
	mem_wipe(url, strlen(url));
	free(url);
}

static const char *head_fault(struct http_connection *connection, bool current)
{
	const char *coding = connection->fields[FIELD_TRANSFER_ENCODING];

	if (connection->parser.http_major != 1 || connection->parser.http_minor > 1)
		return "not HTTP/1.0 or HTTP/1.1";
	if (current && connection->fields[FIELD_HOST] == NULL)
		return "no Host field";
	if (coding != NULL && (!current || strcasecmp(coding, "chunked") != 0))
		return "a Transfer-Encoding other than chunked";
	if (coding != NULL && connection->fields[FIELD_CONTENT_LENGTH] != NULL)
		return "Content-Length beside Transfer-Encoding";
	return NULL;
}

static int on_headers_complete(http_parser *parser)
{
	struct http_connection *connection = parser->data;
	bool current = parser->http_major == 1 && parser->http_minor == 1;
	const char *expect, *coding;

	if (end_field(connection) != 0)
		return -1;
	connection->fault = head_fault(connection, current);
	if (connection->fault != NULL)
		return -1;
	expect = connection->fields[FIELD_EXPECT];
	connection->at = AT_BODY;
	connection->chunked = (parser->flags & F_CHUNKED) != 0;
	connection->chunks = (struct http_chunks){0};
	/* What another reader could take for a further request, behind a body whose end it sees elsewhere, is not read. */
	connection->keep_alive = http_should_keep_alive(parser) != 0 && !connection->chunked;
	connection->body_deadline = clock_monotonic_ms() + HTTP_REQUEST_MS;
	coding = connection->fields[FIELD_CONTENT_ENCODING];
	if (coding != NULL && strcasecmp(coding, "identity") != 0)
		refuse(connection, API_FAULT_CODING, "");
	else
		begin_request(connection);
	if (!connection->replied) {
		set_body_deadline(connection);
		if (current && expect != NULL && strcasecmp(expect, "100-continue") == 0)
			evbuffer_add_printf(bufferevent_get_output(connection->stream), "HTTP/1.1 100 Continue\r\n\r\n");
	} else {
		http_parser_pause(parser, 1);
	}
	return 0;
}

static int on_body(http_parser *parser, const char *at, size_t len)
{
	struct http_connection *connection = parser->data;

	if (connection->replied) {
		http_parser_pause(parser, 1);
		return 0;
	}
	set_body_deadline(connection);
	if (!connection->handler.body(connection->request, bytes_of(at, len)) && !connection->replied)
		connection->paused = true;
	if (connection->paused || connection->replied)
		http_parser_pause(parser, 1);
	return 0;
}

static int on_message_complete(http_parser *parser)
{
	struct http_connection *connection = parser->data;

	if (!connection->replied) {
		connection->at = AT_SERVING;
		set_deadline(connection, -1);
		connection->handler.complete(connection->request);
	}
	http_parser_pause(parser, 1);
	return 0;
}

static const http_parser_settings callbacks = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* ---- Reading ---- */

static void begin_waiting(struct http_connection *connection)
{
	http_parser_init(&connection->parser, HTTP_REQUEST);
	connection->parser.data = connection;
	forget_head(connection);
	connection->at = AT_WAITING;
	connection->replied = false;
	connection->paused = false;
	connection->fault = NULL;
	set_deadline(connection, HTTP_IDLE_MS);
}

/*
 * How much of `in` the parser may be given next: in the head one line, which must end in CRLF and must not continue the line
 * before. 0: the line is not complete yet.
 */
static size_t next_step(struct http_connection *connection, struct bytes in)
{
	const uint8_t *end;
	size_t len;

	if (connection->at > AT_HEAD)
		return in.len;
	end = memchr(in.data, '\n', in.len);
	len = end == NULL ? in.len : (size_t)(end - in.data) + 1;
	if (connection->head_bytes > 0 && (*in.data == ' ' || *in.data == '\t'))
		connection->fault = "a header field is folded";
	else if (connection->head_bytes + len > HTTP_HEAD_MAX_BYTES)
		connection->fault = "its head is too long";
	else if (end != NULL && (len < 2 || end[-1] != '\r'))
		connection->fault = "a line ends in LF alone";
	return end == NULL ? 0 : len;
}

static bool is_reading(const struct http_connection *connection)
{
	return connection->at <= AT_BODY && !connection->paused && connection->fault == NULL && !connection->doomed;
}

/*
 * Gives the parser `in`, of a chunked body no more than is well framed: what is behind a fault must not look like the body's end.
 */
static size_t execute(struct http_connection *connection, struct bytes in)
{
	bool framed = connection->at == AT_BODY && connection->chunked;
	struct http_chunks ahead = connection->chunks;
	size_t good = framed ? http_chunks_take(&ahead, in) : in.len, used;

	used = good == 0 ? 0 : http_parser_execute(&connection->parser, &callbacks, (const char *)in.data, good);
	if (framed && used == good)
		connection->chunks = ahead;
	else if (framed) /* the parser was paused before its end */
		http_chunks_take(&connection->chunks, bytes_of(in.data, used));
	if (framed && connection->chunks.fault != NULL)
		connection->fault = connection->chunks.fault;
	return used;
}

static size_t feed(struct http_connection *connection, struct bytes in)
{
	size_t step = next_step(connection, in), used;
	bool head = connection->at <= AT_HEAD;

	if (connection->fault != NULL || step == 0)
		return 0;
	if (connection->at == AT_WAITING && step == 2)
		return step; /* RFC 9112 §2.2: an empty line before a request */
	if (connection->at == AT_WAITING)
		connection->at = AT_HEAD;
	used = execute(connection, bytes_of(in.data, step));
	if (head)
		connection->head_bytes += used;
	if (HTTP_PARSER_ERRNO(&connection->parser) == HPE_PAUSED)
		http_parser_pause(&connection->parser, 0);
	else if (HTTP_PARSER_ERRNO(&connection->parser) != HPE_OK && connection->fault == NULL)
		connection->fault = http_errno_description(HTTP_PARSER_ERRNO(&connection->parser));
	return used;
}

static void run_input(struct http_connection *connection)
{
	struct evbuffer *in = bufferevent_get_input(connection->stream);

	while (is_reading(connection) && evbuffer_get_length(in) > 0) {
		size_t have = evbuffer_get_length(in), len = have < READ_STEP_BYTES ? have : READ_STEP_BYTES;
		size_t used = feed(connection, bytes_of(evbuffer_pullup(in, (ssize_t)len), len));

		evbuffer_drain(in, used);
		if (connection->at == AT_HEAD && connection->head_bytes == used && used > 0)
			set_deadline(connection, HTTP_HEAD_MS);
		if (used == 0)
			break;
	}
	if (connection->fault != NULL && !connection->replied)
		refuse(connection, API_FAULT_HTTP, connection->fault);
}

/* Back-pressure: nothing is read from the network while nobody takes it. */
static void set_reading(struct http_connection *connection)
{
	bool wanted = connection->at == AT_LINGERING || is_reading(connection) ||
		      (connection->at == AT_REPLYING && connection->close_after);

	if (wanted)
		bufferevent_enable(connection->stream, EV_READ);
	else
		bufferevent_disable(connection->stream, EV_READ);
}

static void run(struct http_connection *connection)
{
	if (connection->running)
		return;
	connection->running = true;
	for (;;) {
		bool was_replying;

		run_input(connection);
		was_replying = connection->at == AT_REPLYING;
		if (was_replying && evbuffer_get_length(bufferevent_get_output(connection->stream)) == 0)
			reply_left(connection);
		if (!was_replying || connection->at == AT_REPLYING || connection->at == AT_LINGERING || connection->doomed)
			break;
	}
	connection->running = false;
	if (connection->doomed)
		http_connection_free(connection);
	else
		set_reading(connection);
}

static void reply_left(struct http_connection *connection)
{
	if (!connection->close_after) {
		begin_waiting(connection);
	} else {
		connection->at = AT_LINGERING;
		set_deadline(connection, HTTP_LINGER_MS);
	}
}

void http_connection_resume(struct http_connection *connection)
{
	if (connection->at == AT_BODY) {
		connection->paused = false;
		set_body_deadline(connection);
	}
	run(connection);
}

/* ---- Events ---- */

static void on_read(struct bufferevent *stream, void *arg)
{
	struct http_connection *connection = arg;

	if (connection->close_after && connection->at >= AT_REPLYING)
		evbuffer_drain(bufferevent_get_input(stream), evbuffer_get_length(bufferevent_get_input(stream)));
	else
		run(connection);
}

static void on_write(struct bufferevent *stream, void *arg)
{
	(void)stream;
	run(arg);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
	(void)stream;
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) != 0)
		http_connection_free(arg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_connection *connection = arg;

	(void)fd;
	(void)what;
	if (connection->at == AT_HEAD || connection->at == AT_BODY) {
		refuse(connection, API_FAULT_TIMEOUT, "");
		run(connection);
	} else {
		http_connection_free(connection);
	}
}

struct http_connection *http_connection_new(struct event_base *base, struct bufferevent *stream, const char *client,
					    const struct http_handler *handler)
{
	struct http_connection *connection = mem_new(sizeof *connection);

	connection->base = base;
	connection->stream = stream;
	connection->client = mem_string(client);
	connection->handler = *handler;
	connection->timer = evtimer_new(base, on_timer, connection);
	if (connection->timer == NULL)
		abort();
	begin_waiting(connection);
	bufferevent_setcb(stream, on_read, on_write, on_event, connection);
	bufferevent_setwatermark(stream, EV_READ, 0, 2 * READ_STEP_BYTES);
	bufferevent_enable(stream, EV_READ | EV_WRITE);
	return connection;
}

void http_connection_retire(struct http_connection *connection)
{
	connection->retired = true;
	if (connection->at == AT_WAITING || connection->at == AT_LINGERING)
		http_connection_free(connection);
}

const char *http_connection_client(const struct http_connection *connection)
{
	return connection->client;
}
