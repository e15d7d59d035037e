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
struct tls_rates; /* rate.c */

/* What a trial has shown of a certificate's key. */
struct tls_key_record {
	uint64_t certificate;
	enum tls_key_state state;
	char *why; /* it does not sign */
};
struct tls_stream; /* stream.c */

struct tls {
	struct event_base *base;
	struct signer *signer;
	struct tls_requests requests;
	struct tls_keys *keys;
	struct tls_tickets *tickets;
	BIO_METHOD *bio;
	LIST_HEAD(stream_list, tls_stream) unfinished; /* handshakes */
	struct tls_limits limits;
	struct tls_rates *rates;
	struct tls_key_record *records;
	size_t n_records;
	struct tls_state state;
};

struct tls_context {
	unsigned references;
	struct tls *tls;
	SSL_CTX *ssl;
	struct tls_probe **probes; /* a certificate each, in the background until its key signs */
	size_t n_probes;
};

/* tickets.c: keys of session tickets */
struct tls_tickets *tls_tickets_new(struct event_base *base, struct err *err);
void tls_tickets_free(struct tls_tickets *tickets);
void tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *ssl);
bool tls_tickets_rotate(struct tls_tickets *tickets, struct err *err) MUST_USE; /* as the day does */

/* stream.c */
BIO_METHOD *tls_stream_bio_new(void);

/* rate.c: may this client have one more signature this minute? Counts it. */
struct tls_rates *tls_rates_new(struct err *err);
void tls_rates_free(struct tls_rates *rates); /* NULL is fine */
bool tls_rates_take(struct tls_rates *rates, const struct in6_addr *client, unsigned most, int64_t now_ms);

/*
 * probe.c: tries the key of a certificate and records what it shows (tls_key_state). With `once` the first answer ends it,
 * whatever it is; else it goes on until the key signs. Then calls back, never from within. free() it by tls_probe_free at any
 * time.
 */
typedef void tls_probe_cb(enum tls_key_state state, const char *why, void *arg);
struct tls_probe *tls_probe_new(struct tls *tls, const struct certificate *certificate, bool once, tls_probe_cb *done, void *arg);
void tls_probe_free(struct tls_probe *probe); /* NULL is fine */

#endif
