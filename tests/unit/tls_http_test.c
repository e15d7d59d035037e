/* evhttp over tls_server_new: what HTTP needs of the filter, with the key at a worker. */
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/tls_stage.h"

#define PATIENCE_MS 60000
#define LARGE (50u << 20)

static struct evhttp *http;
static struct tls_context *context;

struct browser {
	const char *requests[4]; /* targets, on one connection; "!" before one asks Connection: close */
	size_t octets; /* of all bodies */
	unsigned replies;
	bool whole; /* each body as long as Content-Length says */
	bool done;
};

static struct bufferevent *make_stream(struct event_base *base, void *arg)
{
	(void)base;
	(void)arg;
	return tls_server_new(context, -1, NULL);
}

static void on_request(struct evhttp_request *request, void *arg)
{
	size_t octets = strtoul(evhttp_request_get_uri(request) + 1, NULL, 10);
	struct evbuffer *body = evbuffer_new();
	uint8_t *space = calloc(1, octets + 1);

	(void)arg;
	memset(space, 'x', octets);
	evbuffer_add(body, space, octets);
	free(space);
	evhttp_send_reply(request, 200, "OK", body);
	evbuffer_free(body);
}

static void start_http(void)
{
	struct evhttp_bound_socket *bound;
	struct sockaddr_in address;
	socklen_t len = sizeof address;

	context = stage_context(1u << TLS_P256);
	http = evhttp_new(stage.base);
	evhttp_set_bevcb(http, make_stream, NULL);
	evhttp_set_gencb(http, on_request, NULL);
	bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", 0);
	getsockname(evhttp_bound_socket_get_fd(bound), (struct sockaddr *)&address, &len);
	stage.port = ntohs(address.sin_port);
}

/* One reply by its Content-Length; the octets of its body, or -1. */
static long read_reply(SSL *ssl)
{
	static uint8_t buffer[65536];
	char head[4096];
	size_t have = 0;
	long length, body;
	char *end, *field;

	do {
		int got = SSL_read(ssl, head + have, (int)(sizeof head - 1 - have));

		if (got <= 0)
			return -1;
		have += (size_t)got;
		head[have] = '\0';
		end = strstr(head, "\r\n\r\n");
	} while (end == NULL);
	field = strcasestr(head, "content-length:");
	length = field != NULL ? strtol(field + 15, NULL, 10) : -1;
	body = (long)(have - (size_t)(end + 4 - head));
	while (body < length) {
		int got = SSL_read(ssl, buffer, sizeof buffer);

		if (got <= 0)
			return -1;
		body += got;
	}
	return body;
}

static void browse(struct browser *browser, SSL *ssl)
{
	browser->whole = true;
	for (size_t i = 0; i < 4 && browser->requests[i] != NULL; i++) {
		bool close = browser->requests[i][0] == '!';
		const char *target = browser->requests[i] + close;
		char text[256];
		long body;

		snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", target,
			 close ? "Connection: close\r\n" : "");
		SSL_write(ssl, text, (int)strlen(text));
		body = read_reply(ssl);
		browser->whole &= body == strtol(target, NULL, 10);
		browser->replies += body >= 0;
		browser->octets += body > 0 ? (size_t)body : 0;
	}
}

static void *browser_thread(void *arg)
{
	struct browser *browser = arg;
	struct sockaddr_in address = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(stage.port)};
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1)
		browse(browser, ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	__atomic_store_n(&browser->done, true, __ATOMIC_RELEASE);
	return NULL;
}

static bool is_done(void *arg)
{
	return __atomic_load_n(&((struct browser *)arg)->done, __ATOMIC_ACQUIRE);
}

static void replies_arrive_whole(void)
{
	static const struct {
		const char *name;
		const char *requests[4];
		unsigned replies;
		size_t octets;
	} cases[] = {
	    {"kept alive", {"10", "2000", "100000"}, 3, 102010},    {"closed at once", {"!1000"}, 1, 1000},
	    {"large and closed", {"!5000000"}, 1, 5000000},	    {"50 MB", {"52428800"}, 1, LARGE},
	    {"50 MB and closed", {"1", "!52428800"}, 2, LARGE + 1}, {"empty", {"0", "!0"}, 2, 0},
	};

	stage_begin(1);
	signer_set_locked(stage.signer, false, "");
	start_http();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct browser browser = {0};
		pthread_t thread;

		test_case("%s", cases[i].name);
		memcpy(browser.requests, cases[i].requests, sizeof browser.requests);
		pthread_create(&thread, NULL, browser_thread, &browser);
		stage_run(is_done, &browser, PATIENCE_MS);
		pthread_join(thread, NULL);
		CHECK_INT(browser.replies, cases[i].replies);
		CHECK_INT(browser.octets, cases[i].octets);
		CHECK(browser.whole);
	}
	evhttp_free(http);
	tls_context_unref(context);
	stage_end();
}

int main(void)
{
	TEST(replies_arrive_whole);
	return test_finish();
}
