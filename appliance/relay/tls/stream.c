/*
 * The filter. libevent 2.1 filters have faults that are mended here (they are named in the comments): data that was added
 * while writing was off stays, "output empty" means encrypted and not sent, a filter's error is ignored, and freeing one drops
 * what the socket has not taken.
 */
#include <event2/buffer.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "appliance/base/log.h"
#include "appliance/relay/tls/stream.h"

#define RECORD_MAX_BYTES 16384 /* RFC 8446 §5.1 */
#define INPUT_MAX_BYTES 65536 /* that wait while a handshake is paused or the server does not read */
#define OUTPUT_MAX_BYTES 65536 /* encrypted and not sent: more stays in the filter */
#define LAST_WORDS_PIECES 8 /* of the socket's output, sent when it is freed */

/* ---- the BIO between SSL and the socket's buffers ---- */

static int bio_read(BIO *bio, char *out, size_t room, size_t *len)
{
	struct tls_stream *stream = BIO_get_data(bio);
	int got = evbuffer_remove(bufferevent_get_input(stream->socket), out, room);

	BIO_clear_retry_flags(bio);
	*len = got > 0 ? (size_t)got : 0;
	if (*len == 0)
		BIO_set_retry_read(bio);
	return *len > 0;
}

static int bio_write(BIO *bio, const char *octets, size_t len, size_t *written)
{
	struct tls_stream *stream = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*written = len;
	if (stream->sink == TLS_TO_SOCKET)
		return evbuffer_add(bufferevent_get_output(stream->socket), octets, len) == 0;
	if (stream->sink == TLS_TO_DESCRIPTOR)
		return send(bufferevent_getfd(stream->socket), octets, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
	return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *tls_stream_bio_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "evbuffer");

	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	BIO_meth_set_create(method, bio_create);
	return method;
}

/* ---- events ---- */

/* bufferevent_free has been called; what is left of it must not be touched: a reference taken now would free it twice. */
static bool is_going(const struct tls_stream *stream)
{
	bufferevent_data_cb on_read, on_write;
	bufferevent_event_cb on_event;
	void *arg;

	bufferevent_getcb(stream->filter, &on_read, &on_write, &on_event, &arg);
	return on_read == NULL && on_write == NULL && on_event == NULL;
}

static void report(struct tls_stream *stream, short what)
{
	if (!is_going(stream))
		bufferevent_trigger_event(stream->filter, what, BEV_TRIG_DEFER_CALLBACKS);
}

/* libevent ignores BEV_ERROR of a filter. */
void stream_fail(struct tls_stream *stream)
{
	if (stream->dead)
		return;
	stream->dead = true;
	report(stream, BEV_EVENT_ERROR | (stream->open ? BEV_EVENT_READING : 0));
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct tls_stream *stream = arg;

	(void)fd;
	(void)what;
	if (is_going(stream))
		return;
	bufferevent_flush(stream->filter, EV_WRITE, BEV_NORMAL);
	bufferevent_flush(stream->filter, EV_READ, BEV_NORMAL);
	if (evbuffer_get_length(bufferevent_get_input(stream->filter)) > 0)
		bufferevent_trigger(stream->filter, EV_READ, BEV_TRIG_DEFER_CALLBACKS);
}

void stream_opened(struct tls_stream *stream)
{
	event_active(stream->kick, EV_TIMEOUT, 0);
}

/* Enabling EV_WRITE does not push out what is in the buffer already. */
static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct tls_stream *stream = arg;

	(void)buffer;
	if (info->n_added > 0 && (bufferevent_get_enabled(stream->filter) & EV_WRITE) == 0)
		event_active(stream->kick, EV_TIMEOUT, 0);
}

/* Nor does enabling EV_READ decrypt what came meanwhile. */
static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct tls_stream *stream = arg;

	(void)buffer;
	if (info->n_deleted > 0 && evbuffer_get_length(bufferevent_get_input(stream->socket)) > 0)
		event_active(stream->kick, EV_TIMEOUT, 0);
}

/* ---- reading ---- */

/* True when something was read. */
static bool read_record(struct tls_stream *stream, struct evbuffer *to)
{
	static uint8_t record[RECORD_MAX_BYTES];
	size_t len = 0;
	int result, error;

	ERR_clear_error();
	result = SSL_read_ex(stream->ssl, record, sizeof record, &len);
	if (result == 1) {
		evbuffer_add(to, record, len);
		return true;
	}
	error = SSL_get_error(stream->ssl, result);
	if (error == SSL_ERROR_ZERO_RETURN && !stream->ended_well) {
		stream->ended_well = true;
		report(stream, BEV_EVENT_EOF | BEV_EVENT_READING);
	} else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_ZERO_RETURN) {
		stream_fail(stream);
	}
	ERR_clear_error();
	return false;
}

/* All that is there is decrypted, whatever the server's high watermark: the socket's bounds it. */
static enum bufferevent_filter_result decrypt(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
					      enum bufferevent_flush_mode mode, void *arg)
{
	struct tls_stream *stream = arg;
	bool any = false;

	(void)from;
	(void)limit;
	(void)mode;
	handshake_step(stream);
	while (stream->open && !stream->dead && read_record(stream, to))
		any = true;
	return any ? BEV_OK : BEV_NEED_MORE;
}

/* ---- writing ---- */

/*
 * The last octet stays in the filter until the socket has taken all that is encrypted: else an empty output would mean
 * "encrypted", and a server that closes then would lose it.
 */
static enum bufferevent_filter_result release_held(struct tls_stream *stream, struct evbuffer *from)
{
	if (!stream->held || evbuffer_get_length(bufferevent_get_output(stream->socket)) > 0)
		return BEV_NEED_MORE;
	stream->held = false;
	evbuffer_drain(from, 1);
	return BEV_OK;
}

static enum bufferevent_filter_result encrypt(struct evbuffer *from, struct evbuffer *to, ev_ssize_t limit,
					      enum bufferevent_flush_mode mode, void *arg)
{
	static uint8_t record[RECORD_MAX_BYTES];
	struct tls_stream *stream = arg;
	size_t len, written, waiting = evbuffer_get_length(from);
	ev_ssize_t got;

	(void)to;
	(void)limit;
	(void)mode;
	if (!stream->open || stream->dead || waiting == 0)
		return BEV_NEED_MORE;
	if (stream->held && waiting == 1)
		return release_held(stream, from);
	if (stream->held) {
		stream->held = false;
		evbuffer_drain(from, 1);
		waiting--;
	}
	got = evbuffer_copyout(from, record, sizeof record);
	len = got > 0 ? (size_t)got : 0;
	ERR_clear_error();
	if (len == 0 || SSL_write_ex(stream->ssl, record, len, &written) != 1) {
		stream_fail(stream);
		ERR_clear_error();
		return BEV_NEED_MORE;
	}
	stream->held = len == waiting;
	evbuffer_drain(from, stream->held ? len - 1 : len);
	return BEV_OK;
}

/* ---- the end ---- */

/* What the socket has not sent: an alert, mostly. The front of the buffer is frozen, so that it can only be looked at. */
static void send_last_words(const struct tls_stream *stream)
{
	struct evbuffer_iovec pieces[LAST_WORDS_PIECES];
	struct evbuffer *output = bufferevent_get_output(stream->socket);
	struct msghdr message = {.msg_iov = pieces};
	int count = evbuffer_peek(output, -1, NULL, pieces, LAST_WORDS_PIECES);

	message.msg_iovlen = (size_t)(count < LAST_WORDS_PIECES ? count : LAST_WORDS_PIECES);
	if (count > 0 && sendmsg(bufferevent_getfd(stream->socket), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("tls.last-words-unsent", LOG_NUMBER("pieces", count));
}

const char *tls_stream_version(const struct tls_stream *stream)
{
	return stream->open ? SSL_get_version(stream->ssl) : NULL;
}

void tls_stream_say_goodbye(struct tls_stream *stream)
{
	if (!stream->open || stream->dead || bufferevent_getfd(stream->socket) < 0)
		return;
	stream->sink = TLS_TO_DESCRIPTOR;
	ERR_clear_error();
	SSL_shutdown(stream->ssl);
	ERR_clear_error();
	stream->dead = true;
}

static void stream_free(void *arg)
{
	struct tls_stream *stream = arg;

	handshake_drop(stream);
	if (bufferevent_getfd(stream->socket) >= 0)
		send_last_words(stream);
	tls_stream_say_goodbye(stream);
	stream->tls->state.connections--;
	event_free(stream->kick);
	SSL_free(stream->ssl);
	bufferevent_decref(stream->socket);
	tls_context_unref(stream->context);
	buf_clear(&stream->request.signature);
	free(stream);
}

/* ---- making ---- */

static SSL *make_ssl(struct tls_stream *stream)
{
	SSL *ssl = SSL_new(stream->context->ssl);
	BIO *bio = BIO_new(stream->tls->bio);

	if (ssl == NULL || bio == NULL)
		abort(); /* memory is exhausted: as mem_new */
	BIO_set_data(bio, stream);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_accept_state(ssl);
	return ssl;
}

struct bufferevent *tls_server_over(struct tls_context *context, struct bufferevent *socket, struct tls_stream **made)
{
	struct tls_stream *stream = mem_new(sizeof *stream);

	stream->tls = context->tls;
	stream->context = tls_context_ref(context);
	stream->socket = socket;
	bufferevent_incref(socket);
	stream->ssl = make_ssl(stream);
	stream->kick = event_new(stream->tls->base, -1, 0, on_kick, stream);
	stream->tls->state.connections++;
	bufferevent_setwatermark(socket, EV_READ, 0, INPUT_MAX_BYTES);
	bufferevent_setwatermark(socket, EV_WRITE, 0, OUTPUT_MAX_BYTES);
	bufferevent_set_max_single_read(socket, INPUT_MAX_BYTES);
	bufferevent_set_max_single_write(socket, 4 * OUTPUT_MAX_BYTES);
	handshake_start(stream);
	stream->filter = bufferevent_filter_new(socket, decrypt, encrypt, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS,
						stream_free, stream);
	evbuffer_add_cb(bufferevent_get_output(stream->filter), on_output, stream);
	evbuffer_add_cb(bufferevent_get_input(stream->filter), on_input, stream);
	if (made != NULL)
		*made = stream;
	return stream->filter;
}

struct bufferevent *tls_server_new(struct tls_context *context, evutil_socket_t fd, struct tls_stream **stream)
{
	return tls_server_over(context, bufferevent_socket_new(context->tls->base, fd, BEV_OPT_CLOSE_ON_FREE), stream);
}
