/*
 * TLS of outgoing connections (RFC 3207, RFC 8314): one context for each next hop, TLS 1.2 or later. Where TLS is required the
 * certificate must be issued by a trusted CA (the system's, or those of a file) for the name of the host, or be pinned;
 * where it is used if it can be, any certificate does. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_TLS_CLIENT_H
#define INKAN_RELAY_DELIVERY_TLS_CLIENT_H

#include <event2/util.h>

#include "appliance/relay/policy/config.h"

struct bufferevent;
struct event_base;
struct tls_client;

/* Copies what it needs of the hop. Reads the CA file: ERR_INVALID, ERR_SYSTEM. */
struct tls_client *tls_client_new(const struct config_next_hop *hop, struct err *err);
void tls_client_free(struct tls_client *tls); /* connections keep what they need; NULL is fine */

/* Begins a handshake on a connected socket, which the bufferevent then owns. NULL: the socket stays the caller's. */
struct bufferevent *tls_client_begin(const struct tls_client *tls, struct event_base *base, evutil_socket_t fd, struct err *err);

/* After the handshake: is it whom we want to talk to? */
bool tls_client_trusts(const struct tls_client *tls, struct bufferevent *connection, struct err *err) MUST_USE;

/* Why a handshake failed. */
void tls_client_failure(struct bufferevent *connection, int socket_error, struct err *err);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384", for the log; valid as long as the connection and until the next call. */
const char *tls_client_description(struct bufferevent *connection);

#endif
