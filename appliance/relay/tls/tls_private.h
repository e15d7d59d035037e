/* The parts of tls.h, for the files of this folder. */
#ifndef INKAN_RELAY_TLS_TLS_PRIVATE_H
#define INKAN_RELAY_TLS_TLS_PRIVATE_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/queue.h>

#include "appliance/relay/tls/key.h"
#include "appliance/relay/tls/request.h"
#include "appliance/relay/tls/tls.h"

struct tls_tickets; /* tickets.c */
struct tls_stream; /* stream.c */

struct tls {
	struct event_base *base;
	struct signer *signer;
	struct tls_requests requests;
	struct tls_keys *keys;
	struct tls_tickets *tickets;
	BIO_METHOD *bio;
	LIST_HEAD(stream_list, tls_stream) unfinished; /* handshakes */
	struct tls_state state;
};

struct tls_context {
	unsigned references;
	struct tls *tls;
	SSL_CTX *ssl;
	struct tls_probe *probe; /* of the token's RSASSA-PSS; NULL: over, or no RSA key */
};

/* tickets.c: keys of session tickets */
struct tls_tickets *tls_tickets_new(struct event_base *base, struct err *err);
void tls_tickets_free(struct tls_tickets *tickets);
void tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *ssl);
bool tls_tickets_rotate(struct tls_tickets *tickets, struct err *err) MUST_USE; /* as the day does */

/* stream.c */
BIO_METHOD *tls_stream_bio_new(void);

/* probe.c: does the token sign RSASSA-PSS with this certificate's key? `refused` follows when it does not. */
struct tls_probe *tls_probe_new(struct tls *tls, uint64_t certificate, void (*refused)(void *arg), void *arg);
void tls_probe_free(struct tls_probe *probe); /* NULL is fine */

#endif
