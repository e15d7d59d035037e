#include "appliance/relay/smtp/smtp_session.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/smtp/smtp_limits.h"

#define REPLIES_FLUSH_BYTES 16384 /* gathered replies that are sent before more commands are read */

#define TO(state) (1u << (state))

static const unsigned edges[SMTP_STATES] = {
    [SMTP_STATE_GREETED] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_READY] =
	TO(SMTP_STATE_READY) | TO(SMTP_STATE_MAIL) | TO(SMTP_STATE_AUTH) | TO(SMTP_STATE_STARTTLS) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_MAIL] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_RCPT) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_RCPT] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_DATA) | TO(SMTP_STATE_CHUNK) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_DATA] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_FINISHING) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_CHUNK] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_CHUNKED) | TO(SMTP_STATE_FINISHING) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_CHUNKED] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_CHUNK) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_FINISHING] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_AUTH] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_AUTH_CHECK) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_AUTH_CHECK] = TO(SMTP_STATE_READY) | TO(SMTP_STATE_CLOSING),
    [SMTP_STATE_STARTTLS] = TO(SMTP_STATE_GREETED) | TO(SMTP_STATE_CLOSING),
};

void smtp_session_set_state(struct smtp_session *session, enum smtp_state state)
{
	assert((edges[session->state] & TO(state)) != 0);
	session->state = state;
}

const struct config_server *smtp_session_settings(const struct smtp_session *session)
{
	return session->service->server;
}

const char *smtp_session_user(const struct smtp_session *session)
{
	if (session->user == NULL || config_find_user(smtp_session_settings(session), session->user) == NULL)
		return NULL;
	return session->user;
}

bool smtp_session_network_allows(const struct smtp_session *session)
{
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = session->address};

	return config_network_allows(smtp_session_settings(session), (const struct sockaddr *)&address);
}

/* ---- Timer: one per session, set again when it fires rather than at every command ---- */

static void set_timer(struct smtp_session *session, int64_t ms)
{
	struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(session->timer, &wait);
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The session is not idle while it waits for us. */
static bool waits_for_us(const struct smtp_session *session)
{
	return session->state == SMTP_STATE_FINISHING || session->state == SMTP_STATE_AUTH_CHECK || session->paused;
}

/* A message that has begun may take as long again. */
static int64_t session_end(const struct smtp_session *session)
{
	return session->started_ms + smtp_session_settings(session)->limits.session_ms * (session->transaction != NULL ? 2 : 1);
}

static void on_timer(int fd, short what, void *arg)
{
	struct smtp_session *session = arg;
	const struct config_server *server = smtp_session_settings(session);
	int64_t now = clock_monotonic_ms();
	int64_t idle_left, session_left = session_end(session) - now;

	(void)fd;
	(void)what;
	if (session->held_until_ms > now) {
		set_timer(session, session->held_until_ms - now);
		return;
	}
	if (session->held_until_ms > 0) {
		session->held_until_ms = 0;
		session->active_ms = now; /* it was we who were silent */
	}
	if (waits_for_us(session)) {
		session->active_ms = now;
		set_timer(session, server->limits.idle_ms);
		return;
	}
	idle_left = session->active_ms + server->limits.idle_ms - now;
	if (session->state == SMTP_STATE_CLOSING)
		session->gone = true;
	else if (session_left <= 0)
		smtp_session_reply(session, SMTP_REPLY_SESSION_TIME);
	else if (idle_left <= 0)
		smtp_session_reply(session, SMTP_REPLY_IDLE);
	else
		set_timer(session, smaller(idle_left, session_left));
	smtp_session_run(session);
}

void smtp_session_reconfigured(struct smtp_session *session)
{
	struct timeval now = {0};

	if (session->state != SMTP_STATE_CLOSING && session->held_until_ms == 0)
		evtimer_add(session->timer, &now); /* looks at the time that is left, from the loop */
}

/* ---- Replies ---- */

static void flush(struct smtp_session *session)
{
	struct evbuffer *output = bufferevent_get_output(session->stream);
	ssize_t sent = 0;

	if (session->replies.len == 0 || session->held_until_ms > 0)
		return;
	if (session->direct && evbuffer_get_length(output) == 0) /* spares the loop two system calls and a round */
		sent = send(bufferevent_getfd(session->stream), session->replies.data, session->replies.len,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		sent = 0; /* the stream will find out why */
	if ((size_t)sent < session->replies.len)
		evbuffer_add(output, session->replies.data + sent, session->replies.len - (size_t)sent);
	buf_clear(&session->replies);
}

static void log_close(const struct smtp_session *session, enum smtp_reply reply)
{
	log_info("smtp.session-closed", SMTP_SESSION_LOG(session), LOG_TEXT("reply", smtp_reply_row(reply)->text),
		 LOG_TEXT("sender", session->transaction == NULL ? "" : session->transaction->sender));
}

void smtp_session_hold(struct smtp_session *session, int64_t ms)
{
	if (ms <= 0 || session->held_until_ms > 0 || session->state == SMTP_STATE_CLOSING)
		return;
	flush(session);
	session->held_until_ms = clock_monotonic_ms() + ms;
	set_timer(session, ms);
}

/* One more fault of the client: from half of the allowed ones on it waits for each reply. True: too many. */
static bool blame(struct smtp_session *session)
{
	const struct config_limits *limits = &smtp_session_settings(session)->limits;

	session->bad_commands++;
	if (session->bad_commands >= limits->bad_commands)
		return true;
	if (session->bad_commands > limits->bad_commands / 2)
		smtp_session_hold(session, limits->bad_command_delay_ms);
	return false;
}

void smtp_session_reply(struct smtp_session *session, enum smtp_reply reply)
{
	bool last = smtp_reply_blames(reply) && blame(session);

	smtp_reply_put(&session->replies, reply);
	if (last && !smtp_reply_closes(reply)) {
		reply = SMTP_REPLY_BAD_COMMANDS;
		smtp_reply_put(&session->replies, reply);
	}
	if (smtp_reply_closes(reply)) {
		log_close(session, reply);
		session->linger = true;
		smtp_session_close(session);
	}
}

void smtp_session_close(struct smtp_session *session)
{
	smtp_session_set_state(session, SMTP_STATE_CLOSING);
	smtp_transaction_free(session->transaction);
	session->transaction = NULL;
	session->paused = false;
	session->held_until_ms = 0;
	set_timer(session, SMTP_CLOSE_MS);
}

void smtp_session_reset(struct smtp_session *session)
{
	smtp_transaction_free(session->transaction);
	session->transaction = NULL;
	session->paused = false;
	if (session->state != SMTP_STATE_GREETED)
		smtp_session_set_state(session, SMTP_STATE_READY);
}

/* ---- Input ---- */

static bool must_wait(const struct smtp_session *session)
{
	return waits_for_us(session) || session->held_until_ms > 0 ||
	       evbuffer_get_length(bufferevent_get_output(session->stream)) > SMTP_OUTPUT_MAX_BYTES;
}

static size_t use(struct smtp_session *session, struct bytes in)
{
	switch (session->state) {
	case SMTP_STATE_DATA:
		return smtp_data_octets(session, in);
	case SMTP_STATE_CHUNK:
		return smtp_chunk_octets(session, in);
	case SMTP_STATE_CLOSING:
		return in.len;
	default:
		return smtp_command_octets(session, in);
	}
}

/* Uses some of the first piece of input; false when that is not possible now. */
static bool step(struct smtp_session *session)
{
	struct evbuffer *input = bufferevent_get_input(session->stream);
	struct evbuffer_iovec piece;

	if (session->replies.len > REPLIES_FLUSH_BYTES)
		flush(session);
	if (must_wait(session) || evbuffer_get_length(input) == 0 || evbuffer_peek(input, -1, NULL, &piece, 1) < 1 ||
	    piece.iov_len == 0)
		return false;
	evbuffer_drain(input, use(session, bytes_of(piece.iov_base, piece.iov_len)));
	if (session->state == SMTP_STATE_STARTTLS) {
		smtp_starttls_begin(session);
		return false;
	}
	return true;
}

/*
 * The high watermark bounds the input buffer, but libevent calls on_read over and over as long as the buffer is full: a
 * session that cannot use its input stops reading.
 */
static void set_reading(struct smtp_session *session)
{
	bool full = evbuffer_get_length(bufferevent_get_input(session->stream)) >= SMTP_INPUT_MAX_BYTES;

	if (full == session->full)
		return;
	session->full = full;
	if (full)
		bufferevent_disable(session->stream, EV_READ);
	else
		bufferevent_enable(session->stream, EV_READ);
}

/* ---- The end ---- */

static bool closing_is_over(struct smtp_session *session)
{
	if (evbuffer_get_length(bufferevent_get_output(session->stream)) > 0)
		return false;
	if (!session->linger || session->eof)
		return true;
	if (!session->shut && session->tls != NULL)
		tls_stream_say_goodbye(session->tls);
	if (!session->shut)
		shutdown(bufferevent_getfd(session->stream), SHUT_WR); /* a close with unread input would destroy the reply */
	session->shut = true;
	return false;
}

/* A submission that is finishing goes on without its client; its callback runs the session again. */
static bool is_over(struct smtp_session *session)
{
	if (session->gone)
		return session->state != SMTP_STATE_FINISHING;
	if (session->state == SMTP_STATE_CLOSING)
		return closing_is_over(session);
	return session->eof && !must_wait(session);
}

static bool may_stop(const struct smtp_session *session)
{
	return session->state != SMTP_STATE_DATA && session->state != SMTP_STATE_CHUNK &&
	       session->state != SMTP_STATE_FINISHING && session->state != SMTP_STATE_AUTH_CHECK &&
	       session->state != SMTP_STATE_CLOSING;
}

void smtp_session_run(struct smtp_session *session)
{
	if (session->running)
		return;
	session->running = true;
	while (step(session))
		;
	if (session->server->stopping && may_stop(session))
		smtp_session_reply(session, SMTP_REPLY_STOPPING);
	session->running = false;
	flush(session);
	if (!smtp_line_partial(&session->line))
		smtp_line_clear(&session->line);
	if (is_over(session))
		smtp_session_free(session);
	else
		set_reading(session);
}

static void on_read(struct bufferevent *stream, void *arg)
{
	(void)stream;
	smtp_session_run(arg);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
	struct smtp_session *session = arg;

	(void)stream;
	if ((what & BEV_EVENT_ERROR) != 0)
		session->gone = true;
	if ((what & BEV_EVENT_EOF) != 0)
		session->eof = true;
	smtp_session_run(session);
}

/* ---- Life ---- */

static void link_session(struct smtp_session *session)
{
	session->next = session->server->sessions;
	if (session->next != NULL)
		session->next->previous = session;
	session->server->sessions = session;
}

static void unlink_session(struct smtp_session *session)
{
	if (session->next != NULL)
		session->next->previous = session->previous;
	if (session->previous != NULL)
		session->previous->next = session->next;
	else
		session->server->sessions = session->next;
}

static void name_client(struct smtp_session *session)
{
	if (IN6_IS_ADDR_V4MAPPED(&session->address))
		inet_ntop(AF_INET, session->address.s6_addr + 12, session->client, sizeof session->client);
	else
		inet_ntop(AF_INET6, &session->address, session->client, sizeof session->client);
}

static void use_stream(struct smtp_session *session)
{
	bufferevent_setcb(session->stream, on_read, on_read, on_event, session);
	bufferevent_setwatermark(session->stream, EV_READ, 0, SMTP_INPUT_MAX_BYTES);
	bufferevent_enable(session->stream, EV_READ);
}

void smtp_session_encrypt(struct smtp_session *session)
{
	flush(session);
	session->stream = tls_server_over(session->context, session->stream, &session->tls);
	session->direct = false;
	session->full = false;
	session->encrypted = true;
	use_stream(session);
}

void smtp_session_new(struct smtp_listener *listener, int fd, const struct in6_addr *address)
{
	struct smtp_session *session = mem_new(sizeof *session);
	struct smtp_server *server = listener->server;
	const struct config_server *settings = listener->service->server;

	session->server = server;
	session->service = listener->service;
	session->context = listener->context != NULL ? tls_context_ref(listener->context) : NULL;
	session->id = ++server->last_session;
	session->address = *address;
	session->counted = smtp_server_counted_address(address);
	session->line.max = (size_t)settings->limits.command_bytes;
	session->started_ms = session->active_ms = clock_monotonic_ms();
	session->direct = true;
	name_client(session);
	link_session(session);
	session->stream = bufferevent_socket_new(server->context.base, fd, BEV_OPT_CLOSE_ON_FREE);
	use_stream(session);
	if (session->context != NULL && listener->tls == CONFIG_LISTEN_IMPLICIT)
		smtp_session_encrypt(session);
	session->timer = evtimer_new(server->context.base, on_timer, session);
	set_timer(session, smaller(settings->limits.idle_ms, settings->limits.session_ms));
	buf_printf(&session->replies, "220 %s ESMTP Inkan\r\n", session->service->config->host_name);
	smtp_session_run(session);
}

static void log_drop(const struct smtp_session *session)
{
	const struct smtp_transaction *transaction = session->transaction;

	if (transaction != NULL)
		log_info("smtp.client-gone", SMTP_SESSION_LOG(session), LOG_TEXT("sender", transaction->sender),
			 LOG_NUMBER("recipients", transaction->n_recipients), LOG_NUMBER("octets", transaction->size));
}

void smtp_session_free(struct smtp_session *session)
{
	log_drop(session);
	unlink_session(session);
	smtp_transaction_free(session->transaction);
	smtp_auth_clear(&session->auth);
	smtp_auth_check_forget(session->check);
	event_free(session->timer);
	bufferevent_free(session->stream);
	tls_context_unref(session->context);
	smtp_line_clear(&session->line);
	buf_clear(&session->replies);
	free(session->hello);
	free(session->user);
	smtp_server_session_ended(session->server, session->service, &session->address);
	free(session);
}

/* ---- What Received says of the client ---- */

char *smtp_session_client(const struct smtp_session *session)
{
	return mem_format("%s ([%s%s])", session->hello, strchr(session->client, ':') != NULL ? "IPv6:" : "", session->client);
}

const char *smtp_session_protocol(const struct smtp_session *session)
{
	static const char *const names[2][2][2] = {
	    {{"ESMTP", "ESMTPA"}, {"ESMTPS", "ESMTPSA"}},
	    {{"UTF8SMTP", "UTF8SMTPA"}, {"UTF8SMTPS", "UTF8SMTPSA"}},
	};
	const struct smtp_transaction *transaction = session->transaction;

	return session->extended ? names[transaction->smtputf8][session->encrypted][transaction->user != NULL] : "SMTP";
}
