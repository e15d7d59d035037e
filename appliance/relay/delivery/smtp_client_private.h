/* What smtp_client.c (the connection) and smtp_transaction.c (one message on it) share. */
#ifndef INKAN_RELAY_DELIVERY_SMTP_CLIENT_PRIVATE_H
#define INKAN_RELAY_DELIVERY_SMTP_CLIENT_PRIVATE_H

#include "appliance/relay/delivery/smtp_capabilities.h"
#include "appliance/relay/delivery/smtp_client.h"
#include "appliance/relay/delivery/smtp_dot.h"
#include "appliance/relay/delivery/conversion.h"
#include "appliance/relay/delivery/passwords.h"
#include "appliance/relay/delivery/source.h"
#include "appliance/relay/delivery/tls_client.h"

#define SMTP_OUTPUT_LOW_BYTES 65536 /* the next chunk is read when less than this waits to be sent */

enum smtp_client_state {
	CLIENT_CONNECTING,
	CLIENT_GREETING,
	CLIENT_EHLO,
	CLIENT_STARTTLS,
	CLIENT_TLS, /* the handshake */
	CLIENT_HELO,
	CLIENT_AUTH, /* AUTH PLAIN, or the last step of LOGIN */
	CLIENT_AUTH_USER, /* AUTH LOGIN: the server asks for the name, */
	CLIENT_AUTH_PASSWORD, /* and for the password */
	CLIENT_IDLE,
	CLIENT_PREPARING, /* waiting for the first chunk of the message from our own store */
	CLIENT_ENVELOPE,
	CLIENT_DATA,
	CLIENT_CONTENT,
	CLIENT_FINAL,
	CLIENT_RESET,
	CLIENT_QUIT,
	CLIENT_CLOSED
};

struct smtp_transaction {
	struct group *group; /* NULL: none runs */
	struct source *source;
	struct smtp_dot dot;
	struct buf out; /* commands, or a stuffed chunk, on their way to the connection */
	size_t rcpts[GROUP_RECIPIENTS_MAX]; /* the recipients that get a RCPT */
	size_t n_rcpts;
	size_t sent, answered; /* envelope commands: MAIL, then a RCPT each */
	size_t accepted;
	bool mail_accepted;
	bool
	    verdict; /* the server has refused the message, or its content proved damaged: the end of the connection is no loss */
	struct conversion *conversion; /* what goes out comes from it; NULL: from the source */
	uint64_t size; /* octets that go out, without dot-stuffing */
	struct bytes first; /* the first chunk, which is there before MAIL is sent */
	bool first_is_last;
	bool chunk_wanted; /* the source works on the next one */
};

struct smtp_client {
	struct event_base *base;
	struct resolver *resolver;
	struct queue *queue;
	struct pool *pool;
	const struct smtp_timeouts *timeouts;
	const struct smtp_client_events *events;
	void *arg;
	const struct config_next_hop *hop;
	const struct tls_client *tls; /* NULL: none */
	const struct passwords *passwords;
	char *helo, *label; /* label: "host:port", once there is a connection "host[address]:port" */

	struct resolution *resolution;
	struct resolver_address addresses[RESOLVER_ADDRESSES_MAX];
	size_t n_addresses, next_address;
	struct bufferevent *connection;
	struct event *deadline;
	struct event *closing; /* tells `closed` from the loop */
	enum smtp_client_state state;
	struct smtp_reply_parser parser;
	struct smtp_capabilities capabilities;
	bool plain; /* TLS did not work with this address: go on without */
	bool encrypted;
	bool direct; /* no layer between us and the socket: what can be written at once is */
	size_t unread; /* octets behind the reply that is being handled */
	struct smtp_transaction transaction;
	unsigned messages;
	int64_t opened_ms; /* monotonic */
	bool quit_wanted;
	struct smtp_client_closed closed;
};

/* The only way to change the state; sets the deadline that goes with it. */
void smtp_client_enter(struct smtp_client *client, enum smtp_client_state state);

/* Ends the connection; `closed` follows from the loop. The group, if any, comes back settled or unsent. Returns false. */
bool smtp_client_fail(struct smtp_client *client, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);
bool smtp_client_fail_reply(struct smtp_client *client,
			    const struct smtp_reply *reply); /* a 421, or a reply that makes no sense */

/* The same, of a connection that cannot be secured or logged in to; the status is RFC 3463's. */
bool smtp_client_fail_security(struct smtp_client *client, const char *status, const struct err *why);

void smtp_client_write(struct smtp_client *client, struct buf *out); /* empties `out` */
void smtp_client_command(struct smtp_client *client, const char *format, ...) PRINTF_LIKE(2, 3);
void smtp_client_become_idle(struct smtp_client *client); /* or QUIT, when asked to or at the message limit */

/* The connection changes hands (TLS): callbacks and watermarks as of a new one. */
void smtp_client_take_connection(struct smtp_client *client, struct bufferevent *connection);
void smtp_client_reconnect_plain(struct smtp_client *client); /* the same address again, without TLS */

/* ---- smtp_hello.c: from the greeting until the connection can carry mail; return as those below ---- */

bool smtp_hello_greeting(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_hello_ehlo(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_hello_helo(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_hello_starttls(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_hello_auth(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_hello_auth_user(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_hello_auth_password(struct smtp_client *client, const struct smtp_reply *reply);
void smtp_hello_connected(struct smtp_client *client); /* by TCP */
void smtp_hello_encrypted(struct smtp_client *client); /* the handshake is over */
void smtp_hello_tls_failed(struct smtp_client *client, int socket_error);

/* ---- smtp_transaction.c: each handler returns false when nothing more may be read of this connection ---- */

void smtp_transaction_begin(struct smtp_client *client, struct group *group);
bool smtp_transaction_envelope_reply(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_transaction_data_reply(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_transaction_content_reply(struct smtp_client *client,
				    const struct smtp_reply *reply); /* before the final dot: too early */
bool smtp_transaction_final_reply(struct smtp_client *client, const struct smtp_reply *reply);
bool smtp_transaction_reset_reply(struct smtp_client *client, const struct smtp_reply *reply);
void smtp_transaction_drained(struct smtp_client *client); /* the output is below the low-water mark */

/* Settles what is not settled yet as lost with the connection, gives up the source and takes the group out. */
struct group *smtp_transaction_lost(struct smtp_client *client, const char *why);
void smtp_transaction_clear(struct smtp_client *client);

#endif
