/*
 * The SMTP server (RFC 5321): listeners, sessions, limits. Protocol here, what a message means in signing/submission.h.
 * Loop's thread; nothing blocks. The process ignores SIGPIPE.
 *
 * Who may send, by `server NAME smtp auth`: none: clients in `allow-network`; offered: the same, who may authenticate, so
 * that the certificates of their user bind them; optional: clients in `allow-network`, and users who authenticated;
 * required: users who authenticated, in `allow-network` if there is any, else from anywhere. Everybody may connect; others
 * get `530 5.7.0 Authentication required` at MAIL (required), else `550 5.7.1 Relaying denied` at each RCPT, so that the log
 * says who wanted to send what to whom. AUTH is offered under TLS only, unless `auth-without-tls`.
 *
 * TLS (tls/tls.h), by `smtp listen ADDRESS tls`: starttls (RFC 3207) or implicit. STARTTLS is announced while handshakes can be
 * signed, else answered `454 4.7.0`. What was said before it is forgotten; commands that came behind it in the clear end the
 * session with 421, since somebody else may have put them there.
 *
 * Line ends: only CRLF ends a line, only CRLF.CRLF ends DATA. A bare CR or LF in a command is `500 5.5.2`; in a message it
 * is `554 5.6.0` at the message's true end (smtp_body.h), and none of it is stored. A message whose last line has no CRLF
 * (possible with BDAT) gets one.
 */
#ifndef INKAN_RELAY_SMTP_SERVER_H
#define INKAN_RELAY_SMTP_SERVER_H

#include "appliance/relay/signing/submission.h"

struct smtp_server;
struct tls; /* tls/tls.h */

struct smtp_server *smtp_server_new(const struct submission_context *context);

/* For listeners with TLS; before the first configuration, or those are refused. Outlives the server. */
void smtp_server_use_tls(struct smtp_server *server, struct tls *tls);

/*
 * A bound socket for the configured address; takes the descriptor. It is served once a configuration names the address and
 * closed when a later one does not. A second socket for the same address replaces the first.
 */
void smtp_server_add_socket(struct smtp_server *server, const char *address, int fd);

/*
 * Runs a configuration: new sessions and new transactions use it, a transaction that has begun finishes on its own.
 * ERR_NOT_FOUND names a listen address without a socket (not asked with `check_only`, which changes nothing: the sockets of a
 * new address come after the check). References the configuration. Sessions of a server that is no longer configured get
 * 421 at their next MAIL.
 */
bool smtp_server_configure(struct smtp_server *server, struct config *config, bool check_only, struct err *err) MUST_USE;

/* 4xx before DATA by this (queue.h). */
void smtp_server_set_health(struct smtp_server *server, enum queue_health health);

/*
 * No new sessions; idle ones get 421, those in DATA may finish until the deadline (clock_monotonic_ms); then `stopped`, never
 * from within this call. What is left at the deadline is aborted.
 */
void smtp_server_stop(struct smtp_server *server, int64_t deadline_ms, void (*stopped)(void *arg), void *arg);
void smtp_server_free(struct smtp_server *server); /* drops every session; NULL is fine */

struct smtp_server_state {
	unsigned sessions;
	uint64_t sessions_total; /* refused ones included */
	uint64_t accepted_total; /* messages answered with 250 */
	uint64_t refused_total; /* messages answered otherwise at their end */
};
struct smtp_server_state smtp_server_state(const struct smtp_server *server);

/* A session as the operator is shown it; texts are valid during the callback. */
struct smtp_session_facts {
	uint64_t id;
	const char *server, *client;
	const char *hello, *user; /* NULL: none */
	const char *state; /* what it does: "greeted", "ready", "message", … */
	const char *tls; /* "TLSv1.3"; "handshake", "no" */
	int64_t started, idle_ms; /* wall milliseconds; milliseconds */
	unsigned messages;
};

/* Newest first, those older than session `before` (0: all), until the callback returns false. It must not change the server. */
void smtp_server_each_session(const struct smtp_server *server, uint64_t before,
			      bool (*each)(const struct smtp_session_facts *facts, void *arg), void *arg);

#endif
