/*
 * The relay's side of signing: hands digests (and texts of TLS handshakes) to whichever HSM worker is free and calls back with
 * the CMS (or the signature). All on the
 * event loop's thread; nothing blocks. A request has an id, a deadline and can be cancelled; a worker that dies or
 * hangs has its requests handed to another within the deadline.
 */
#ifndef INKAN_HSM_CLIENT_SIGNER_H
#define INKAN_HSM_CLIENT_SIGNER_H

#include "hsm/protocol/sign.h"

struct signer;
struct event_base;

enum signer_outcome {
	SIGNER_SIGNED,
	SIGNER_LOCKED, /* no PIN: 451 4.3.0 Signing is locked */
	SIGNER_UNAVAILABLE, /* no worker could do it before the deadline, and none is running */
	SIGNER_DEADLINE, /* workers are running, the deadline passed */
	SIGNER_FAILED, /* the certificate or request is at fault; text says why */
	SIGNER_SUSPENDED /* at once: workers are running, but nothing has been signed for so long that the HSM counts as dead */
};

/* `cms` (SIGNER_SIGNED) and `text` are valid until return. Never called from within signer_request. */
typedef void signer_cb(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg);

struct signer *signer_new(struct event_base *base);
void signer_free(struct signer *signer); /* open requests are dropped without a callback */

/* A (new) connection to worker number `worker` with `threads` signing threads. Takes the descriptor. */
void signer_attach(struct signer *signer, unsigned worker, int fd, unsigned threads);

/* Locked: requests fail at once with SIGNER_LOCKED, also those that wait (called from the loop). `why` is copied. */
void signer_set_locked(struct signer *signer, bool locked, const char *why);

/*
 * Of mail, or of a TLS handshake (tls_len): then `cms` is the signature. request->id and budget_ms are set here. deadline_ms is
 * of clock_monotonic_ms. Returns the id for signer_cancel.
 */
uint64_t signer_request(struct signer *signer, const struct sign_request *request, int64_t deadline_ms, signer_cb *cb, void *arg);
void signer_cancel(struct signer *signer, uint64_t id); /* no callback follows; an unknown id is ignored */
bool signer_is_ready(const struct signer *signer); /* not locked, not suspended, and a worker is connected */

/*
 * The circuit breaker. When nothing was signed for SIGNER_DEAD_MS although somebody asked, and no worker is connected or
 * all they did was fail, or when a request had its whole time and nobody's signature came meanwhile, signing is
 * suspended: requests made from then on end at once with SIGNER_SUSPENDED, or SIGNER_UNAVAILABLE without a worker; those
 * made before may still be signed until their deadline. A probe, the signature of a random digest with the certificate that
 * was last asked for, is tried when a worker connects and with a growing pause; the first good signature ends it.
 */
#define SIGNER_DEAD_MS 5000
#define SIGNER_PROBE_FIRST_MS 500
#define SIGNER_PROBE_LONGEST_MS 3000
#define SIGNER_PROBE_BUDGET_MS 5000

enum signer_event {
	SIGNER_EVENT_SUSPENDED, /* once an outage; text says why */
	SIGNER_EVENT_RESUMED, /* text says how many were refused */
	SIGNER_EVENT_WRONG /* the token made a wrong signature, which a worker has kept back */
};

/* For alarms. Called from the loop; must not free the signer. */
typedef void signer_watch_cb(enum signer_event event, const char *text, void *arg);
void signer_watch(struct signer *signer, signer_watch_cb *cb, void *arg);

struct signer_state {
	unsigned workers; /* connected */
	unsigned threads; /* of them all */
	unsigned waiting; /* requests without a worker */
	unsigned running; /* requests at a worker */
	uint64_t signed_total;
	uint64_t failed_total;
	uint64_t resubmitted_total;
	uint64_t late_total; /* answers that came when their request was over: dropped */
	uint64_t wrong_total; /* signatures that did not verify and were kept back */
	uint64_t suspended_total; /* requests that ended at once */
	bool suspended;
};
struct signer_state signer_state(const struct signer *signer);

#endif
