/*
 * One connection of an SMTP client (RFC 5321): to one host, reused for many transactions. Loop's thread; nothing blocks, every
 * wait has a deadline.
 *
 *     CONNECTING -> GREETING -> EHLO (-> STARTTLS -> TLS -> EHLO) (-> HELO) (-> AUTH) -> IDLE -> PREPARING -> ENVELOPE -> DATA ->
 * CONTENT -> FINAL -> IDLE … (RESET after a transaction without content) -> QUIT -> CLOSED
 *
 * A transaction is a group (group.h). It ends with every recipient settled, in one of three ways: the server answered for it;
 * the message proved damaged (the connection is dropped before the final dot); or the connection was lost (deferred). A lost
 * reply to the final dot is the one place where a mail may be delivered twice.
 */
#ifndef INKAN_RELAY_DELIVERY_SMTP_CLIENT_H
#define INKAN_RELAY_DELIVERY_SMTP_CLIENT_H

#include "appliance/relay/delivery/group.h"
#include "appliance/relay/delivery/resolver.h"
#include "appliance/relay/policy/config.h"

#define SMTP_CLIENT_MESSAGES_MAX 100 /* on one connection, then it is closed: some servers refuse the 101st */

/* How long each wait may take, in milliseconds. */
struct smtp_timeouts {
	int64_t connect; /* of one address, name look-up included */
	int64_t greeting, hello, envelope, data, block, final, reset; /* RFC 5321 §4.5.3.2; `envelope` for MAIL and each RCPT */
	int64_t prepare; /* for our own store to hand out the message */
	int64_t quit;
	int64_t idle; /* an unused connection is kept so long */
};
extern const struct smtp_timeouts smtp_timeouts_default;

struct passwords;
struct pool;
struct smtp_client;
struct tls_client;

struct smtp_client_closed {
	struct err why;
	char status[SMTP_REPLY_STATUS_MAX_BYTES]; /* not established: 4.4.1, 4.7.x where security is the reason (RFC 3463 §3.8) */
	bool established; /* EHLO or HELO had been accepted */
	bool polite; /* QUIT, or closed while idle: no failure */
	struct group
	    *unsent; /* came back untouched: the server closed a reused connection before it saw anything of it. Or NULL */
};

/* Each is called from the loop, never from within a call to the client. */
struct smtp_client_events {
	/* Every recipient is settled; the group is the callee's. Not `answered`: the connection was lost, `closed` follows. */
	void (*finished)(struct group *group, bool answered, void *arg);
	void (*idle)(void *arg); /* smtp_client_send may be called, now or later */
	void (*closed)(const struct smtp_client_closed *closed,
		       void *arg); /* the last one; only here may the callee free the client */
};

struct smtp_client_settings {
	struct event_base *base;
	struct resolver *resolver;
	struct queue *queue;
	struct pool *pool;
	const struct smtp_timeouts *timeouts; /* lives as long as the client */
	const struct config_next_hop *hop; /* this, TLS and passwords live longer than the client */
	const struct tls_client *tls; /* NULL: none, whatever the hop says */
	const struct passwords *passwords;
	const char *helo; /* our host name */
	const struct smtp_client_events *events;
	void *arg;
};

struct smtp_client *smtp_client_new(const struct smtp_client_settings *settings); /* begins to connect */

/* Will the connection take a group? It may be leaving already (QUIT, closed by the server) before `closed` tells so. */
bool smtp_client_is_idle(const struct smtp_client *client);

/* Only while idle. Takes the group. */
void smtp_client_send(struct smtp_client *client, struct group *group);

void smtp_client_quit(struct smtp_client *client); /* when idle, now; else after the running transaction; then `closed` */
void smtp_client_free(
    struct smtp_client *client); /* drops the connection, no callback follows; a running group is freed. NULL is fine */

#endif
