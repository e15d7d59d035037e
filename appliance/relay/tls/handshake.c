#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/tls/stream.h"

static const char *client_text(const struct tls_stream *stream, char out[static INET6_ADDRSTRLEN])
{
	if (IN6_IS_ADDR_V4MAPPED(&stream->client))
		inet_ntop(AF_INET, stream->client.s6_addr + 12, out, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &stream->client, out, INET6_ADDRSTRLEN);
	return out;
}

/* ---- the end of it, good or bad ---- */

static void finish(struct tls_stream *stream)
{
	event_del(stream->deadline);
	LIST_REMOVE(stream, link);
	stream->tls->state.handshakes--;
	buf_clear(&stream->request.signature);
}

static void fail(struct tls_stream *stream, const char *why)
{
	char client[INET6_ADDRSTRLEN];

	log_info("tls.handshake-failed", LOG_TEXT("client", client_text(stream, client)), LOG_TEXT("why", why));
	stream->tls->state.failed_total += !stream->refused;
	finish(stream);
	stream_fail(stream);
}

static void succeed(struct tls_stream *stream)
{
	char client[INET6_ADDRSTRLEN];
	bool resumed = SSL_session_reused(stream->ssl) == 1;

	log_debug("tls.open", LOG_TEXT("client", client_text(stream, client)), LOG_TEXT("version", SSL_get_version(stream->ssl)),
		  LOG_TEXT("cipher", SSL_get_cipher_name(stream->ssl)), LOG_NUMBER("resumed", resumed));
	stream->open = true;
	SSL_clear_mode(stream->ssl, SSL_MODE_ASYNC);
	stream->tls->state.done_total++;
	stream->tls->state.resumed_total += resumed;
	finish(stream);
	stream_opened(stream);
}

/* ---- one step ---- */

static int run(struct tls_stream *stream)
{
	int result;

	ERR_clear_error();
	stream->tls->requests.running = &stream->request;
	result = SSL_do_handshake(stream->ssl);
	stream->tls->requests.running = NULL;
	return SSL_get_error(stream->ssl, result);
}

static void on_signed(enum signer_outcome outcome, struct bytes signature, const char *text, void *arg)
{
	struct tls_stream *stream = arg;
	char client[INET6_ADDRSTRLEN];

	stream->tls->state.waiting--;
	if (outcome == SIGNER_SIGNED) {
		buf_put_bytes(&stream->request.signature, signature);
		stream->request.state = TLS_REQUEST_SIGNED;
	} else {
		log_warning("tls.not-signed", LOG_TEXT("client", client_text(stream, client)), LOG_TEXT("why", text));
		stream->tls->state.unsigned_total++;
		stream->request.state = TLS_REQUEST_FAILED;
	}
	handshake_step(stream);
}

/* The signature costs the token's time: a client gets so many. Resumption is free. */
static bool may_ask(struct tls_stream *stream)
{
	struct tls *tls = stream->tls;

	if (tls->limits.per_minute == 0 ||
	    tls_rates_take(tls->rates, &stream->client, tls->limits.per_minute, clock_monotonic_ms()))
		return true;
	tls->state.refused_total++;
	return false;
}

static void ask(struct tls_stream *stream)
{
	struct tls *tls = stream->tls;

	if (!may_ask(stream)) {
		stream->refused = true;
		stream->request.state = TLS_REQUEST_FAILED;
		run(stream);
		fail(stream, "too many handshakes of this client in a minute");
		return;
	}
	tls->state.waiting++;
	stream->request.state = TLS_REQUEST_ASKED;
	stream->request.id = signer_request(tls->signer, stream->request.wire, stream->deadline_ms, on_signed, stream);
}

static const char *reason(void)
{
	unsigned long code = ERR_peek_error();
	const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;

	return text != NULL ? text : "the connection broke";
}

/* ---- admission ---- */

static struct in6_addr client_of(evutil_socket_t fd)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof address;
	struct in6_addr client = {0};

	if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
		return client;
	if (address.ss_family == AF_INET6) {
		client = ((struct sockaddr_in6 *)(void *)&address)->sin6_addr;
	} else if (address.ss_family == AF_INET) {
		client = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
		memcpy(client.s6_addr + 12, &((struct sockaddr_in *)(void *)&address)->sin_addr, 4);
	}
	return client;
}

/* An IPv6 client has a /64 at least. */
static bool same_client(const struct in6_addr *a, const struct in6_addr *b)
{
	return memcmp(a, b, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8) == 0;
}

/* Silent connections count as well: they hold a session of the server. */
static bool has_room(const struct tls *tls, const struct in6_addr *client)
{
	const struct tls_stream *other;
	unsigned all = 0, same = 0;

	LIST_FOREACH(other, &tls->unfinished, link)
	{
		if (!other->known || other->refused)
			continue;
		all++;
		same += same_client(&other->client, client);
	}
	return all < tls->limits.handshakes && same < tls->limits.per_client;
}

bool tls_admits(struct tls *tls, evutil_socket_t fd)
{
	struct in6_addr client = client_of(fd);

	if (has_room(tls, &client))
		return true;
	tls->state.refused_total++;
	return false;
}

static bool admit(struct tls_stream *stream)
{
	stream->client = client_of(bufferevent_getfd(stream->socket));
	stream->refused = !has_room(stream->tls, &stream->client);
	stream->known = true;
	if (!stream->refused)
		return true;
	stream->tls->state.refused_total++;
	event_active(stream->deadline, EV_TIMEOUT, 0);
	return false;
}

static bool is_paused(const struct tls_stream *stream)
{
	return stream->request.state == TLS_REQUEST_ASKED;
}

void handshake_step(struct tls_stream *stream)
{
	if (stream->open || stream->dead || stream->refused || is_paused(stream) || (!stream->known && !admit(stream)))
		return;
	switch (run(stream)) {
	case SSL_ERROR_NONE:
		succeed(stream);
		break;
	case SSL_ERROR_WANT_ASYNC:
		ask(stream);
		break;
	case SSL_ERROR_WANT_READ:
		break;
	default:
		fail(stream, reason());
		break;
	}
	ERR_clear_error();
}

/* ---- life ---- */

/* The job is run to its end, which it finds at once; an SSL freed while it is paused would leave it and its stack. */
static void unwind(struct tls_stream *stream)
{
	if (!is_paused(stream))
		return;
	signer_cancel(stream->tls->signer, stream->request.id);
	stream->tls->state.waiting--;
	stream->request.state = TLS_REQUEST_FAILED;
	run(stream);
	ERR_clear_error();
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct tls_stream *stream = arg;

	(void)fd;
	(void)what;
	if (stream->refused) {
		fail(stream, "too many handshakes at once");
		return;
	}
	stream->tls->state.late_total++;
	unwind(stream);
	fail(stream, "not done in time");
}

void handshake_start(struct tls_stream *stream)
{
	int64_t ms = stream->tls->limits.handshake_ms;
	struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	stream->deadline = evtimer_new(stream->tls->base, on_deadline, stream);
	event_add(stream->deadline, &limit);
	stream->deadline_ms = clock_monotonic_ms() + ms;
	LIST_INSERT_HEAD(&stream->tls->unfinished, stream, link);
	stream->tls->state.handshakes++;
	if (bufferevent_getfd(stream->socket) >= 0)
		admit(stream);
}

void handshake_drop(struct tls_stream *stream)
{
	if (!stream->open && !stream->dead) {
		stream->tls->state.cancelled_total += is_paused(stream);
		stream->sink = TLS_TO_NOWHERE;
		unwind(stream);
		finish(stream);
	}
	event_free(stream->deadline);
}
