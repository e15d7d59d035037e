/*
 * A TLS server on one event loop with a worker that signs with software keys, and blocking clients in threads. The
 * worker is the other end of a socket pair, as the relay has it.
 */
#ifndef INKAN_TESTS_TLS_STAGE_H
#define INKAN_TESTS_TLS_STAGE_H

#include <openssl/ssl.h>

#include "appliance/relay/tls/tls.h"
#include "tests/unit/test.h"

enum tls_identity { TLS_RSA, TLS_P256, TLS_IDENTITIES };

struct stage_worker {
	int delay_ms;
	bool silent; /* never answers */
	bool no_pss;
	bool wrong; /* signs something else */
	unsigned asked, cancelled;
};

struct stage {
	struct event_base *base;
	struct signer *signer;
	struct tls *tls;
	struct stage_worker worker[2];
	struct bufferevent *server; /* of the last connection */
	uint16_t port;
};

extern struct stage stage;

void stage_begin(unsigned workers);
void stage_end(void); /* checks that nothing is left: handshakes, connections, stacks of fibres */
void stage_kill_worker(unsigned number);
struct tls_context *stage_context(unsigned identities); /* a set of 1 << enum tls_identity */
void stage_echo(struct tls_context *context); /* every connection's octets are sent back; port is set. Referenced */
void stage_run(bool (*done)(void *arg), void *arg, int ms); /* the loop, until then */
unsigned stage_stacks(void); /* of fibres, that live */

struct client {
	/* how */
	int version; /* TLS1_2_VERSION */
	const char *ciphers, *signatures; /* NULL: the usual */
	bool leave; /* after the ClientHello */
	SSL_SESSION *resume; /* taken */
	size_t octets; /* to be echoed */
	/* what came of it */
	bool done, connected, resumed, echoed, alert;
	char version_text[16];
	SSL_SESSION *session;
	int64_t took_ms;
	pthread_t thread;
};

void clients_start(struct client *clients, size_t count);
void clients_wait(struct client *clients, size_t count, int ms); /* runs the loop meanwhile, joins */
size_t clients_connected(const struct client *clients, size_t count);

#endif
