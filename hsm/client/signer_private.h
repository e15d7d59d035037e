/*
 * The parts of the signer, for its files alone: signer.c holds the requests (their life, deadlines, outcomes),
 * signer_workers.c the connections (who gets a request, what the answers mean), signer_breaker.c the circuit breaker.
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
	bool refused; /* made while signing was suspended */
	bool failed_once;
	unsigned failed_at; /* number of the worker, with failed_once */
	char *text; /* why the last try failed; NULL */
	struct event *timer;
	signer_cb *cb;
	void *arg;
};

TAILQ_HEAD(request_queue, request);

struct breaker {
	bool open;
	int64_t good_ms; /* of the last signature; 0: none yet */
	int64_t failed_ms; /* of the last failure of a worker that another may not have; 0: none yet */
	int64_t opened_ms;
	int64_t probe_pause_ms;
	uint64_t refused; /* since it opened */
	uint64_t probe; /* the request that is out; 0: none */
	bool has_sample;
	struct sign_request sample; /* what was last asked for */
	struct event *timer; /* closed: to judge, while requests are open; open: to probe */
	signer_watch_cb *watch;
	void *watch_arg;
};

struct signer {
	struct event_base *base;
	TAILQ_HEAD(worker_queue, worker) workers;
	struct request_queue waiting;
	struct request_queue requests;
	bool locked;
	char *locked_text;
	uint64_t last_id;
	struct signer_state state;
	struct breaker breaker;
};

/* signer.c */
uint64_t request_make(struct signer *signer, const struct sign_request *wire, int64_t deadline_ms, signer_cb *cb, void *arg);
void request_wait(struct request *request, int64_t pause_ms); /* back to the waiting ones */
void request_started(struct request *request); /* it is at a worker (more) */
void request_note(struct request *request, unsigned worker, const char *text); /* why a try failed */
/* The callback is the last thing that is done: it may free the signer. */
void request_finish(struct request *request, enum signer_outcome outcome, struct bytes cms, const char *text);

/* signer_breaker.c */
void breaker_init(struct signer *signer);
void breaker_clear(struct signer *signer);
void breaker_asked(struct signer *signer, const struct sign_request *request);
void breaker_good(struct signer *signer); /* somebody's signature came */
void breaker_failed(struct signer *signer); /* a worker failed, or ended with requests at it */
void breaker_wrong(struct signer *signer, const char *text);
void breaker_out_of_time(struct signer *signer, const struct request *request);
void breaker_worker_came(struct signer *signer);
void breaker_reset(struct signer *signer); /* signing is locked, which says enough */

/* signer_workers.c */
void workers_hand_out(struct signer *signer); /* whatever waits, to whoever is free */
bool workers_hand_to_another(struct request *request); /* a request that seems stuck; false when there is nobody */
void workers_release(struct request *request); /* cancels it wherever it is */
void worker_free(struct worker *worker); /* its requests wait again */

#endif
