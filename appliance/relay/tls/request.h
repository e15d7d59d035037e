/*
 * A signature that a handshake waits for. The handshake runs in an OpenSSL ASYNC job (a fibre on a small stack): the
 * provider's sign function leaves the request and pauses the job; the driver of the handshake, back on the loop's own stack,
 * gives it to the signer, and calls SSL_do_handshake again when the answer is there.
 */
#ifndef INKAN_RELAY_TLS_REQUEST_H
#define INKAN_RELAY_TLS_REQUEST_H

#include "hsm/protocol/sign.h"

enum tls_request_state {
	TLS_REQUEST_NONE,
	TLS_REQUEST_NEW, /* left by the job */
	TLS_REQUEST_ASKED, /* at the signer */
	TLS_REQUEST_SIGNED,
	TLS_REQUEST_FAILED /* or cancelled */
};

/* One per handshake; the job writes `wire` and waits for the state to change. */
struct tls_request {
	enum tls_request_state state;
	struct sign_request *wire; /* the job's, while it is paused */
	uint64_t id; /* at the signer */
	struct buf signature;
};

/* The handshake that runs now: set by its driver around SSL_do_handshake. */
struct tls_requests {
	struct tls_request *running;
	uint64_t blocked_total; /* asked outside a job: refused, since the loop would have to wait */
};

/* 1 and the signature, or 0. Pauses the job that it runs in. */
int tls_request_sign(struct tls_requests *requests, struct sign_request *wire, unsigned char *signature, size_t *len,
		     size_t room);

#endif
