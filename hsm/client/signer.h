/*
 * The relay's side of signing: hands digests to whichever HSM worker is free and calls back with the CMS. All on the
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
	SIGNER_FAILED /* the certificate or request is at fault; text says why */
};

/* `cms` (SIGNER_SIGNED) and `text` are valid until return. Never called from within signer_request. */
typedef void signer_cb(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg);

struct signer *signer_new(struct event_base *base);
void signer_free(struct signer *signer); /* open requests are dropped without a callback */

/* A (new) connection to worker number `worker` with `threads` signing threads. Takes the descriptor. */
void signer_attach(struct signer *signer, unsigned worker, int fd, unsigned threads);

/* Locked: requests fail at once with SIGNER_LOCKED, also those that wait (called from the loop). `why` is copied. */
void signer_set_locked(struct signer *signer, bool locked, const char *why);

/* request->id and budget_ms are set here. deadline_ms is of clock_monotonic_ms. Returns the id for signer_cancel. */
uint64_t signer_request(struct signer *signer, const struct sign_request *request, int64_t deadline_ms, signer_cb *cb, void *arg);
void signer_cancel(struct signer *signer, uint64_t id); /* no callback follows; an unknown id is ignored */

struct signer_state {
	unsigned workers; /* connected */
	unsigned threads; /* of them all */
	unsigned waiting; /* requests without a worker */
	unsigned running; /* requests at a worker */
	uint64_t signed_total;
	uint64_t failed_total;
	uint64_t resubmitted_total;
	uint64_t late_total; /* answers that came when their request was over: dropped */
};
struct signer_state signer_state(const struct signer *signer);

#endif
