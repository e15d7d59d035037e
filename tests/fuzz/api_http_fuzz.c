/*
 * Any octets as an HTTP connection: however they are cut, the server sees the same requests with the same bodies and gives the
 * same replies; bodies are as long as announced, and nothing is left behind when the connection is freed. The first octet is how
 * large the pieces are.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "appliance/relay/api/http.h"
#include "tests/fuzz/fuzz.h"

#define TURNS 3 /* of the event loop behind each piece */

struct seen {
	struct buf log; /* requests, bodies, replies */
	struct http_connection *connection;
	uint64_t announced, had;
	unsigned open; /* requests that are neither answered nor abandoned */
	bool closed;
};

static void *begin(struct http_connection *connection, const struct http_head *head, void *arg)
{
	struct seen *seen = arg;

	require(head->method != NULL && head->path != NULL);
	buf_printf(&seen->log, "[%s %s]", head->method, head->path);
	if (strcmp(head->path, "/early") == 0) {
		http_connection_reply(connection, 413, "text/plain", "", bytes_text("early"));
		return NULL;
	}
	seen->announced = head->content_length;
	seen->had = 0;
	seen->open++;
	return seen;
}

static bool body(void *request, struct bytes octets)
{
	struct seen *seen = request;

	seen->had += octets.len;
	require(seen->announced == UINT64_MAX || seen->had <= seen->announced);
	buf_put_bytes(&seen->log, octets);
	return true;
}

static void complete(void *request)
{
	struct seen *seen = request;

	require(seen->open == 1 && (seen->announced == UINT64_MAX || seen->announced == 0 || seen->had == seen->announced));
	seen->open--;
	http_connection_reply(seen->connection, 200, "text/plain", "", bytes_text("ok"));
	http_connection_resume(seen->connection);
}

static void abandon(void *request)
{
	((struct seen *)request)->open--;
}

static void closed(struct http_connection *connection, void *arg)
{
	struct seen *seen = arg;

	(void)connection;
	seen->closed = true;
	seen->connection = NULL;
}

static void run(struct bytes in, size_t step, struct buf *log, struct buf *replies)
{
	struct seen seen = {0};
	struct http_handler handler = {begin, body, complete, abandon, closed, &seen};
	struct event_base *base = event_base_new();
	struct bufferevent *pair[2];
	struct evbuffer *out;

	require(bufferevent_pair_new(base, 0, pair) == 0);
	bufferevent_enable(pair[0], EV_READ | EV_WRITE);
	seen.connection = http_connection_new(base, pair[1], "192.0.2.1", &handler);
	for (size_t at = 0; at < in.len && !seen.closed; at += step) {
		struct bytes part = bytes_slice(in, at, at + step);

		bufferevent_write(pair[0], part.data, part.len);
		for (int i = 0; i < TURNS; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	out = bufferevent_get_input(pair[0]);
	buf_put(replies, evbuffer_pullup(out, -1), evbuffer_get_length(out));
	if (!seen.closed)
		http_connection_free(seen.connection);
	require(seen.closed && seen.open == 0);
	bufferevent_free(pair[0]);
	event_base_free(base);
	*log = seen.log;
}

/* The status lines alone: which of two faults is named depends on where the input was cut. */
static void keep_statuses(struct buf *replies)
{
	static const char start[] = "HTTP/1.1 ";
	struct buf kept = {0};

	for (size_t at = 0; at + sizeof start + 2 < replies->len; at++)
		if (memcmp(replies->data + at, start, sizeof start - 1) == 0)
			buf_put(&kept, replies->data + at, sizeof start + 2);
	buf_clear(replies);
	*replies = kept;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, pieces = {0}, replies = {0}, piece_replies = {0};
	struct bytes in = bytes_slice(bytes_of(data, size), 1, size);

	if (in.len == 0)
		return 0;
	run(in, in.len, &whole, &replies);
	run(in, 1 + data[0] % 40, &pieces, &piece_replies);
	keep_statuses(&replies);
	keep_statuses(&piece_replies);
	require(bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)));
	require(bytes_equal(buf_bytes(&replies), buf_bytes(&piece_replies)));
	buf_clear(&whole);
	buf_clear(&pieces);
	buf_clear(&replies);
	buf_clear(&piece_replies);
	return 0;
}
