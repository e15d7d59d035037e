/*
 * The SMTP server: listeners, sessions, limits. Protocol here, what a message means in signing/submission.h. Loop's thread.
 */
#ifndef INKAN_RELAY_SMTP_SERVER_H
#define INKAN_RELAY_SMTP_SERVER_H

#include "appliance/relay/signing/submission.h"

struct smtp_server;

struct smtp_server *smtp_server_new(const struct submission_context *context);

/* A listening socket for the configured address; kept until no configuration names it. Takes the descriptor. */
void smtp_server_add_socket(struct smtp_server *server, const char *address, int fd);

/*
 * Runs a configuration: new sessions and new transactions use it, a transaction that has begun finishes on its own.
 * ERR_NOT_FOUND names a listen address without a socket. `check_only` changes nothing.
 */
bool smtp_server_configure(struct smtp_server *server, struct config *config, bool check_only, struct err *err) MUST_USE;

/* 4xx before DATA by this (queue.h). */
void smtp_server_set_health(struct smtp_server *server, enum queue_health health);

/* No new sessions; idle ones get 421, those in DATA may finish until the deadline; then `stopped`. */
void smtp_server_stop(struct smtp_server *server, int64_t deadline_ms, void (*stopped)(void *arg), void *arg);
void smtp_server_free(struct smtp_server *server);

struct smtp_server_state {
	unsigned sessions;
	uint64_t sessions_total, accepted_total, refused_total;
};
struct smtp_server_state smtp_server_state(const struct smtp_server *server);

#endif
