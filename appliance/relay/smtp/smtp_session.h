/*
 * One SMTP session, for the files of this folder. Loop's thread.
 *
 * Session and transaction are two objects: the session is the connection, a transaction is one message on its way, from
 * MAIL to its reply. A transaction keeps the configuration that it began with; a session uses the current one.
 *
 * Everything that happens to a session (octets, a submission's reply, a password check, a timer) ends in
 * smtp_session_run: it uses input as long as the state allows, sends the replies that gathered in one write, and frees the
 * session if it is over. Nothing else frees a session. Handlers therefore only set the state and then, last, put the reply
 * (which may close the session).
 *
 * To reply later, a handler sets a waiting state (SMTP_STATE_AUTH_CHECK, SMTP_STATE_FINISHING): no input is used until the
 * callback sets another one, puts the reply and calls smtp_session_run. Commands that were pipelined behind wait in the
 * input buffer, which is bounded, and then the client is held back by TCP.
 */
#ifndef INKAN_RELAY_SMTP_SESSION_H
#define INKAN_RELAY_SMTP_SESSION_H

#include <arpa/inet.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "appliance/relay/signing/submission.h"
#include "appliance/relay/smtp/smtp_auth.h"
#include "appliance/relay/smtp/smtp_body.h"
#include "appliance/relay/smtp/smtp_line.h"
#include "appliance/relay/smtp/smtp_reply.h"
#include "appliance/relay/smtp/smtp_server_private.h"
#include "appliance/relay/smtp/smtp_syntax.h"

enum smtp_state {
	SMTP_STATE_GREETED, /* no EHLO yet */
	SMTP_STATE_READY, /* for MAIL */
	SMTP_STATE_MAIL, /* a sender, no accepted recipient yet */
	SMTP_STATE_RCPT, /* at least one recipient */
	SMTP_STATE_DATA, /* octets behind DATA */
	SMTP_STATE_CHUNK, /* octets of a BDAT */
	SMTP_STATE_CHUNKED, /* between two BDATs */
	SMTP_STATE_FINISHING, /* waits for the submission's reply */
	SMTP_STATE_AUTH, /* the next line is a SASL response */
	SMTP_STATE_AUTH_CHECK, /* waits for the password check */
	SMTP_STATE_STARTTLS, /* TLS begins as soon as the command's line is used up */
	SMTP_STATE_CLOSING, /* the last reply is on its way, input is thrown away */
	SMTP_STATES
};

/* One message. Made by MAIL, freed by smtp_transaction_free and nothing else. */
struct smtp_transaction {
	struct config *config;
	const struct config_server *server; /* of config */
	char *sender;
	char *user; /* NULL: not authenticated */
	struct queue_recipient *recipients; /* address and original are owned here */
	char *envelope_id; /* or NULL */
	enum queue_return ret;
	size_t n_recipients, capacity;
	enum queue_body_type body_type;
	bool smtputf8;
	uint64_t declared_size; /* SIZE=, 0 unknown */
	bool may_relay; /* this client may send to others through us */
	struct submission *submission; /* from DATA or the first BDAT on, until it is finished or refused */
	struct smtp_body body;
	uint64_t size; /* message octets so far */
	enum smtp_reply refusal; /* of the content; told at its end */
	uint64_t chunk_left;
	bool chunk_last;
};

struct smtp_session {
	struct smtp_session *next, *previous; /* of the server */
	struct smtp_server *server;
	struct smtp_service *service;
	uint64_t id; /* for logs */
	enum smtp_state state;

	struct bufferevent *stream; /* the socket's; a TLS filter takes its place with `direct` false */
	struct event *timer;
	int64_t started_ms, active_ms; /* monotonic: connected; last complete command or message octets */
	int64_t held_until_ms; /* monotonic: nothing is sent or read before; 0: not held */
	bool direct; /* replies may be written to the socket past the stream */
	bool running; /* smtp_session_run is on the stack */
	bool full; /* as much input as may be waits: not reading */
	bool paused; /* the submission asked to wait */
	bool eof; /* the client sends no more */
	bool gone; /* the connection is broken */
	bool linger; /* closing for a reason of ours: leave the client time to read it */
	bool shut; /* our side is closed for writing */

	struct in6_addr address; /* IPv4 mapped */
	struct in6_addr counted; /* smtp_server_counted_address */
	char client[INET6_ADDRSTRLEN];
	char *hello; /* what the client calls itself, printable; NULL before EHLO */
	bool extended; /* EHLO, not HELO */
	bool encrypted; /* TLS */
	struct tls_context *context; /* of its listener; NULL: no TLS here */
	struct tls_stream *tls; /* `stream`'s, when encrypted */
	char *user; /* authenticated as, or NULL */
	struct smtp_auth auth; /* of SMTP_STATE_AUTH */
	struct smtp_auth_check *check; /* of SMTP_STATE_AUTH_CHECK */

	struct smtp_line line;
	uint64_t skip; /* octets of a refused BDAT that are still to come */
	struct buf replies;
	unsigned messages, bad_commands;
	struct smtp_transaction *transaction;
};

/* Takes `fd`, greets. The session belongs to the server's list until it frees itself. */
void smtp_session_new(struct smtp_listener *listener, int fd, const struct in6_addr *address);
void smtp_session_free(struct smtp_session *session); /* for smtp_server_free and smtp_session_run */
void smtp_session_run(struct smtp_session *session);

/* The only way to change the state: an edge that is not in the table of smtp_session.c is a fault of ours and aborts. */
void smtp_session_set_state(struct smtp_session *session, enum smtp_state state);

/*
 * Puts a reply of the table. One that blames the client counts as a bad command, and the last allowed one is followed
 * by 421; one that closes ends the session.
 */
void smtp_session_reply(struct smtp_session *session, enum smtp_reply reply);

/* What was put before goes out now; what is put from here on, and what the client sends, waits for this long. */
void smtp_session_hold(struct smtp_session *session, int64_t ms);

/* Its service has other settings: a shorter timeout counts at once. */
void smtp_session_reconfigured(struct smtp_session *session);
void smtp_session_close(struct smtp_session *session); /* after the replies that are put already */

/* The transaction is over without a submission that finishes: aborts it, frees, back to READY (or GREETED). */
void smtp_session_reset(struct smtp_session *session);

const struct config_server *smtp_session_settings(const struct smtp_session *session);

/* Authenticated as; NULL too when the current configuration does not have that user any more. */
const char *smtp_session_user(const struct smtp_session *session);
bool smtp_session_network_allows(const struct smtp_session *session);

/* "name ([192.0.2.1])" for Received; free() it. */
char *smtp_session_client(const struct smtp_session *session);
const char *smtp_session_protocol(const struct smtp_session *session); /* RFC 3848, RFC 6531 §4.3; of its transaction */

#define SMTP_SESSION_LOG(session)                                                                                                \
	LOG_NUMBER("session", (session)->id), LOG_TEXT("server", (session)->service->name), LOG_TEXT("client", (session)->client)

struct smtp_transaction *smtp_transaction_new(const struct smtp_session *session, const char *sender);
void smtp_transaction_add(struct smtp_transaction *transaction, const char *address, struct bytes original, uint32_t notify);
/* A recipient that was given twice gets the mail once, with the parameters of the first. */
void smtp_transaction_unite(struct smtp_transaction *transaction);
void smtp_transaction_free(struct smtp_transaction *transaction); /* aborts a submission; NULL is fine */

/* ---- What each state does with input: the octets used, at least one ---- */

size_t smtp_command_octets(struct smtp_session *session, struct bytes in); /* smtp_command.c */
size_t smtp_data_octets(struct smtp_session *session, struct bytes in); /* smtp_data.c */
size_t smtp_chunk_octets(struct smtp_session *session, struct bytes in);

void smtp_content_begin(struct smtp_session *session, bool dots); /* makes the submission */
void smtp_chunk_begin(struct smtp_session *session, uint64_t octets, bool last);

/* ---- Commands: smtp_cmd_VERB.c ---- */

/* The arguments of one command as its check parsed them. */
struct smtp_request {
	struct bytes arguments;
	struct smtp_path path;
	enum queue_body_type body_type;
	bool smtputf8;
	uint64_t size;
	enum queue_return ret;
	struct bytes envelope_id, original; /* empty: none */
	uint32_t notify;
	bool last;
	struct bytes mechanism, initial;
};

/* A check says with which reply the command is refused and changes nothing but *request; proceed acts and replies. */
typedef enum smtp_reply smtp_check(const struct smtp_session *session, struct smtp_request *request);
typedef void smtp_proceed(struct smtp_session *session, const struct smtp_request *request);

smtp_check smtp_check_hello, smtp_check_mail, smtp_check_rcpt, smtp_check_bdat, smtp_check_auth, smtp_check_no_argument,
    smtp_check_expn, smtp_check_starttls, smtp_check_http, smtp_check_unknown;
smtp_proceed smtp_proceed_helo, smtp_proceed_ehlo, smtp_proceed_mail, smtp_proceed_rcpt, smtp_proceed_data, smtp_proceed_bdat,
    smtp_proceed_auth, smtp_proceed_starttls, smtp_proceed_rset, smtp_proceed_noop, smtp_proceed_quit, smtp_proceed_vrfy,
    smtp_proceed_help;

bool smtp_starttls_offered(const struct smtp_session *session); /* in EHLO */
void smtp_starttls_begin(struct smtp_session *session); /* of SMTP_STATE_STARTTLS: the line is used up */
void smtp_session_encrypt(struct smtp_session *session); /* from here on, all that is written and read */

bool smtp_auth_offered(const struct smtp_session *session); /* in EHLO */
void smtp_auth_response(struct smtp_session *session, struct bytes line); /* a line in SMTP_STATE_AUTH */
void smtp_auth_abandon(struct smtp_session *session); /* the dialogue broke off: READY again */

#endif
