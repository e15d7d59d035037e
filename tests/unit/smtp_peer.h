/*
 * An SMTP client in the hands of a test, on the loop of the server that it talks to. A dialogue is a text:
 *
 *     C: NOOP          a line, sent with CRLF; C and R lines that follow one another are sent in one write
 *     R: a<LF>.<CR>    octets as they are; <CR> <LF> <NUL> stand for themselves
 *     S: 250 2.0.0 Ok  exactly this line comes
 *     H:               EHLO client.example, and the reply that `peer_hello` holds
 *     E:               the server closes
 *     -                nothing more comes for a moment
 */
#ifndef INKAN_TESTS_SMTP_PEER_H
#define INKAN_TESTS_SMTP_PEER_H

#include <event2/event.h>

#include "appliance/base/bytes.h"

struct peer {
	struct event_base *base;
	int fd;
	struct buf in, out;
};

extern const char *peer_hello; /* S lines */

/* A listening socket on a free port of 127.0.0.1. */
int peer_listen(uint16_t *port);
bool peer_connect(struct peer *peer, struct event_base *base, uint16_t port);
void peer_close(struct peer *peer);

void peer_send(struct peer *peer, struct bytes octets);
void peer_finish(struct peer *peer); /* sends no more: half a close */

/* The next line without CRLF, "" when the server closed, NULL when nothing came in time. Valid until the next call. */
const char *peer_line(struct peer *peer, int64_t wait_ms);

void peer_talk(struct peer *peer, const char *dialogue); /* checks each step; stops at the first that fails */

void peer_turn(struct event_base *base, int64_t ms); /* lets the loop run */

#endif
