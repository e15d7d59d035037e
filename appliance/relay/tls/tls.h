/*
 * TLS for the servers of the relay (SMTP: STARTTLS and implicit; HTTPS), with the private keys on the token: the signature of
 * a handshake goes to an HSM worker (hsm/client/signer.h) while the loop serves others. TLS 1.2 and 1.3, ECDHE with AEAD
 * ciphers alone, no renegotiation, no early data, no client certificates. Sessions are resumed by tickets, whose keys live in
 * the relay's locked memory, change every TLS_TICKET_MS and open the tickets of the period before as well.
 *
 * What a server gets is an ordinary bufferevent over its socket, made by tls_server_new (or by tls_server_over, for STARTTLS):
 * write to it and read from it at once, the handshake runs below. Its end is BEV_EVENT_EOF (close_notify, or a cut: nothing may
 * rest on the difference) or BEV_EVENT_ERROR: the handshake failed, or the peer sent no TLS. "Output empty" means handed to the
 * kernel. Its callbacks are deferred. bufferevent_free says close_notify and closes the socket.
 *
 * evhttp: evhttp_set_bevcb with a callback that returns tls_server_new(context, -1, NULL): evhttp sets the descriptor. The fd is
 * that of bufferevent_getfd. Never accept a body that is ended by EOF.
 *
 * Loop's thread. The process needs no OpenSSL configuration; everything here lives in the default library context, the
 * provider of the keys (key.h) in one of its own.
 */
#ifndef INKAN_RELAY_TLS_TLS_H
#define INKAN_RELAY_TLS_TLS_H

#include <event2/bufferevent.h>

#include "hsm/client/signer.h"
#include "provisioning/store/snapshot.h"

#define TLS_TICKET_MS (24 * 3600 * 1000)

struct tls;
struct tls_context;
struct tls_stream; /* of one connection */

struct tls *tls_new(struct event_base *base, struct signer *signer, struct err *err);
void tls_free(struct tls *tls); /* after every bufferevent and context of it; before the signer */

/* For handshakes that begin from now on. A client is an IPv4 address or an IPv6 /64. */
struct tls_limits {
	int64_t handshake_ms; /* from the connection or from STARTTLS on */
	unsigned handshakes; /* unfinished at once: each holds a stack of 32 KiB and one signature of the token */
	unsigned per_client; /* the same of one client */
	unsigned per_minute; /* of one client, that need a signature; 0: any number. Resumed ones need none */
};
void tls_set_limits(struct tls *tls, const struct tls_limits *limits); /* until then: those of the settings' defaults */

/* May a handshake be signed now? When not (locked, no worker, suspended), STARTTLS is not offered. */
bool tls_is_ready(const struct tls *tls);

/*
 * May one more handshake begin, from the peer of this socket? False: counted, to be closed at once, before it costs anything.
 * tls_server_over asks by itself and lets the handshake fail.
 */
bool tls_admits(struct tls *tls, evutil_socket_t fd);

/*
 * What a listener shows: one certificate of each type of key. Built anew at every commit; connections keep the one they began
 * with. Chains are copied. ERR_INVALID: a certificate cannot serve. Whether the token does RSASSA-PSS is tried in the
 * background: where it does not, the context goes on with TLS 1.2 and PKCS #1 v1.5, and the log says so.
 */
struct tls_context *tls_context_new(struct tls *tls, const struct certificate *const *certificates, size_t count,
				    struct err *err);
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine */

/*
 * Over a connected descriptor, which is taken; or over none yet (-1). *stream, unless NULL, is valid until the bufferevent is
 * freed.
 */
struct bufferevent *tls_server_new(struct tls_context *context, evutil_socket_t fd, struct tls_stream **stream);

/* Over a socket's bufferevent (BEV_OPT_CLOSE_ON_FREE), which is taken: its input must be empty, its output goes first. */
struct bufferevent *tls_server_over(struct tls_context *context, struct bufferevent *socket, struct tls_stream **stream);

const char *tls_stream_version(const struct tls_stream *stream); /* "TLSv1.3"; NULL before the handshake is done */

/* close_notify now, when the output is empty; nothing may be written after it. Freeing the bufferevent does it, too. */
void tls_stream_say_goodbye(struct tls_stream *stream);

struct tls_state {
	unsigned handshakes; /* unfinished */
	unsigned waiting; /* of them, for a signature */
	unsigned connections; /* all, with the unfinished ones */
	uint64_t done_total; /* handshakes, resumed ones included */
	uint64_t resumed_total;
	uint64_t failed_total; /* by the peer's fault or ours */
	uint64_t late_total; /* of them: not done in time */
	uint64_t unsigned_total; /* of them: the token gave no signature */
	uint64_t refused_total; /* beyond the limits; not among the failed */
	uint64_t cancelled_total; /* the peer left while its signature was made */
};
struct tls_state tls_state(const struct tls *tls);

/* ---- the keys on the token ---- */

enum tls_key_state { TLS_KEY_UNTRIED, TLS_KEY_SIGNS, TLS_KEY_NO_PSS /* RSA, PKCS #1 v1.5 alone */, TLS_KEY_FAILS };

/* What the last trial of a certificate's key has shown; every context tries its own in the background. `why` until the loop goes
 * on. */
enum tls_key_state tls_key_state(const struct tls *tls, uint64_t certificate, const char **why);

/*
 * Has the key of each certificate sign what a handshake would, once, and calls back, never from within: `refused` names the
 * first key that the token does not sign with, NULL: all do, or nobody can tell now (no PIN, no worker, TLS_TRIAL_MS over).
 */
#define TLS_TRIAL_MS 5000
struct tls_trial;
typedef void tls_trial_cb(const struct err *refused, void *arg);
struct tls_trial *tls_trial_new(struct tls *tls, const struct certificate *const *certificates, size_t count, tls_trial_cb *done,
				void *arg);
void tls_trial_free(struct tls_trial *trial); /* also in the callback; NULL is fine */

#endif
