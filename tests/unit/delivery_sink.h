/*
 * A scriptable SMTP server on loopback, on the test's own event loop: it answers as its script says, keeps what it took and
 * counts what it saw. One script for all connections; it may be changed while the server runs.
 */
#ifndef INKAN_TESTS_DELIVERY_SINK_H
#define INKAN_TESTS_DELIVERY_SINK_H

#include "appliance/base/bytes.h"

struct event_base;

/*
 * Answers with their CRLF; NULL is the usual one. Two words are orders: SINK_DROP closes the connection instead of answering,
 * SINK_SILENT never answers.
 */
#define SINK_DROP "drop"
#define SINK_SILENT "silent"

struct sink_recipient {
	const char *address; /* NULL ends the list */
	const char *answer;
};

struct sink_script {
	const char *greeting, *ehlo, *helo, *mail, *rcpt, *data, *final, *rset, *quit;
	const struct sink_recipient *recipients; /* exceptions to `rcpt`; NULL: none */
	size_t recipients_max; /* in one transaction, then 452; 0: any number */
	size_t content_max; /* octets after which `content` is answered in the middle; 0: never */
	const char *content; /* NULL: SINK_DROP */
	size_t messages_max; /* on a connection: after so many final answers it is closed; 0: never */
	size_t connections_max; /* at the same time, more get 421; 0: any number */
	bool answer_slowly; /* octet by octet */
	bool read_slowly; /* a little content at a time */
	bool once; /* after the first answer that is not the usual one: the empty script */
};

struct sink_message {
	char *mail; /* the MAIL command */
	struct buf rcpt; /* accepted recipients, each ended by LF */
	struct buf content; /* dot-unstuffed */
};

struct sink_session;

struct sink {
	struct event_base *base;
	struct sink_script script;
	uint16_t port;
	struct sink_message *messages; /* those that were answered 2xx */
	size_t n_messages;
	bool count_only; /* keep no messages, count them */
	size_t connections, connections_now, connections_most; /* accepted so far, open, most open at the same time */
	size_t quits, resets;
	size_t batched; /* commands that came before the answer to the one before them */
	size_t torn; /* contents that ended without the final dot */
	struct evconnlistener *listener; /* NULL: down, connections are refused */
	struct sink_session *sessions;
};

struct sink *sink_new(struct event_base *base); /* listens on a free port */
void sink_free(struct sink *sink);
void sink_down(struct sink *sink); /* refuses and drops connections */
bool sink_up(struct sink *sink); /* listens on the same port again */

#endif
