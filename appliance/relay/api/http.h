/*
 * HTTP/1.1 server connections (RFC 9112) on libevent bufferevents, parsed by http-parser, Debian's push parser. libevent's own
 * evhttp keeps whole bodies in memory and takes a bare LF for a line end; here bodies are streamed with back-pressure, and what
 * two readers could take for two different requests is refused: a bare LF or a folded line in the head, a second
 * Content-Length or Host, Content-Length beside Transfer-Encoding, any coding but chunked, chunks that are not framed by CRLF
 * (http_chunks.h). Trailers are not looked at, and no request follows a chunked one on its connection.
 *
 * Requests of one connection are served one after the other (pipelined ones wait in the input buffer). Loop's thread.
 */
#ifndef INKAN_RELAY_API_HTTP_H
#define INKAN_RELAY_API_HTTP_H

#include "appliance/base/bytes.h"

#define HTTP_HEAD_MAX_BYTES (16u << 10)
#define HTTP_HEADERS_MAX 100
#define HTTP_HEAD_MS 15000 /* from a request's first octet to the end of its head */
#define HTTP_IDLE_MS 60000 /* between requests */
#define HTTP_BODY_GAP_MS 30000 /* without a further octet of a body */
#define HTTP_REQUEST_MS 600000 /* for a whole body */
#define HTTP_WRITE_MS 60000 /* for a reply to leave */
#define HTTP_LINGER_MS 2000 /* for the client to read a reply that came before its body was read */

struct bufferevent;
struct event_base;
struct http_connection;

struct http_head {
	const char *method; /* "POST" */
	const char *path; /* without the query, as sent */
	const char *query; /* behind the `?`, or NULL */
	const char *content_type, *accept_language, *authorization; /* NULL: none */
	bool has_body;
	uint64_t content_length; /* UINT64_MAX: unknown */
};

/* What a server does with requests. `request` is what begin returned. */
struct http_handler {
	/* The head is there; it is valid until return. NULL: the reply was given already. */
	void *(*begin)(struct http_connection *connection, const struct http_head *head, void *arg);
	/* Further octets of the body. False: no more until http_connection_resume. */
	bool (*body)(void *request, struct bytes octets);
	/* The body is complete; a reply must follow, at once or later. */
	void (*complete)(void *request);
	/* The client is gone, or the reply was given before the body was complete: the request is to be freed. No reply may
	 * follow. */
	void (*abandon)(void *request);
	/* The connection is closed and freed. */
	void (*closed)(struct http_connection *connection, void *arg);
	void *arg;
};

/* Takes the bufferevent (plain or TLS). `client` is copied: the peer's address as text. */
struct http_connection *http_connection_new(struct event_base *base, struct bufferevent *stream, const char *client,
					    const struct http_handler *handler);
void http_connection_free(struct http_connection *connection); /* at once; abandons what runs, calls `closed` */

/* After this request the connection is closed; at once when none is being served. */
void http_connection_retire(struct http_connection *connection);

/*
 * Answers the request that is being served; `headers` is "" or whole lines with CRLF. Given before the body was read, the
 * connection is closed behind it; a request without a body is best answered in `complete`. The handler frees the request.
 */
void http_connection_reply(struct http_connection *connection, int status, const char *type, const char *headers,
			   struct bytes body);
void http_connection_resume(struct http_connection *connection);

const char *http_connection_client(const struct http_connection *connection);

/* The same with the JSON of `errors` and the status of the first of them. */
struct api_errors;
void http_connection_reply_errors(struct http_connection *connection, struct api_errors *errors, bool japanese);

#endif
