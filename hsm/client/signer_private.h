/*
 * The parts of the signer, for its two files alone: signer.c holds the requests (their life, deadlines, outcomes),
 * signer_workers.c the connections (who gets a request, what the answers mean).
 *
 * A request either waits (in signer->waiting) or is at one worker or more (struct assignment): at a second one when
 * the first seems stuck. The first good answer ends it. An assignment outlives its request until the worker has
 * answered, since it holds a thread of the worker for so long.
 */
#ifndef INKAN_HSM_CLIENT_SIGNER_PRIVATE_H
#define INKAN_HSM_CLIENT_SIGNER_PRIVATE_H

#include <sys/queue.h>

#include "appliance/base/channel.h"
#include "hsm/client/signer.h"

#define SIGNER_QUEUE_PER_THREAD 2u /* requests at a worker for each of its threads */
#define SIGNER_STUCK_SHARE 3 /* a request is handed to a second worker after this part of what is left */
#define SIGNER_STUCK_LEAST_MS 250
#define SIGNER_RETRY_PAUSE_MS 200 /* before a request goes back to where it failed */
#define SIGNER_CERTIFICATE_PATIENCE_MS 2000 /* a worker may still be loading the keys of the latest commit */

struct worker {
	TAILQ_ENTRY(worker) link;
	struct signer *signer;
	struct channel *channel;
	unsigned number;
	unsigned threads;
	bool suspect; /* failed or seemed stuck, and has signed nothing since */
	unsigned load;
	TAILQ_HEAD(assignment_queue, assignment) assignments;
};

struct assignment {
	TAILQ_ENTRY(assignment) link; /* of the worker */
	LIST_ENTRY(assignment) same; /* of the request */
	uint64_t id;
	struct worker *worker;
	struct request *request; /* NULL: over, the answer will be dropped */
};

struct request {
	TAILQ_ENTRY(request) link; /* of signer->waiting */
	TAILQ_ENTRY(request) every; /* of signer->requests */
	LIST_HEAD(assignment_list, assignment) assignments;
	struct signer *signer;
	struct sign_request wire;
	int64_t asked_ms;
	int64_t deadline_ms;
	int64_t pause_until_ms;
	bool failed_once;
	unsigned failed_at; /* number of the worker, with failed_once */
	char *text; /* why the last try failed; NULL */
	struct event *timer;
	signer_cb *cb;
	void *arg;
};

TAILQ_HEAD(request_queue, request);

struct signer {
	struct event_base *base;
	TAILQ_HEAD(worker_queue, worker) workers;
	struct request_queue waiting;
	struct request_queue requests;
	bool locked;
	char *locked_text;
	uint64_t last_id;
	struct signer_state state;
};

/* signer.c */
void request_wait(struct request *request, int64_t pause_ms); /* back to the waiting ones */
void request_started(struct request *request); /* it is at a worker (more) */
void request_note(struct request *request, unsigned worker, const char *text); /* why a try failed */
/* The callback is the last thing that is done: it may free the signer. */
void request_finish(struct request *request, enum signer_outcome outcome, struct bytes cms, const char *text);

/* signer_workers.c */
void workers_hand_out(struct signer *signer); /* whatever waits, to whoever is free */
bool workers_hand_to_another(struct request *request); /* a request that seems stuck; false when there is nobody */
void workers_release(struct request *request); /* cancels it wherever it is */
void worker_free(struct worker *worker); /* its requests wait again */

#endif
