/* One TLS connection, for stream.c and handshake.c alone. */
#ifndef INKAN_RELAY_TLS_STREAM_H
#define INKAN_RELAY_TLS_STREAM_H

#include "appliance/relay/tls/tls_private.h"

struct tls_stream {
	LIST_ENTRY(tls_stream) link; /* of tls->unfinished, while the handshake runs */
	struct tls *tls;
	struct tls_context *context;
	SSL *ssl;
	struct bufferevent *filter, *socket;
	struct event *deadline; /* of the handshake */
	int64_t deadline_ms; /* the same, monotonic */
	struct event *kick; /* the filter's buffers need a look in the next round */
	struct tls_request request;
	struct in6_addr client; /* IPv4 mapped */
	bool known; /* its client is, and it was counted */
	bool refused; /* beyond the limits: it fails, or is about to in the next round */
	bool open, dead;
	bool ended_well; /* close_notify came */
	bool held; /* the first octet of the filter's output is sent already, but not by the kernel yet */
	enum { TLS_TO_SOCKET, TLS_TO_NOWHERE, TLS_TO_DESCRIPTOR } sink; /* what the BIO writes to */
};

/* handshake.c: goes on as far as it can. Sets open, or dead, or waits for octets or a signature. */
void handshake_step(struct tls_stream *stream);
void handshake_start(struct tls_stream *stream); /* counts it */
void handshake_drop(struct tls_stream *stream); /* unwinds one that waits, so that no fibre is left; counts it off */

/* stream.c: reports the end once, in the next round; from then on nothing is read or written. */
void stream_fail(struct tls_stream *stream);
void stream_opened(struct tls_stream *stream); /* what waited may flow */

#endif
