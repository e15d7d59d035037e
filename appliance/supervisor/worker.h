/* One HSM worker (workers.h has them all): its process, what it says, its end. */
#ifndef INKAN_SUPERVISOR_WORKER_H
#define INKAN_SUPERVISOR_WORKER_H

#include "appliance/supervisor/backoff.h"
#include "appliance/supervisor/child.h"
#include "appliance/supervisor/watch.h"
#include "hsm/protocol/worker.h"

struct event;
struct supervisor;

enum worker_state {
	WORKER_STOPPED,
	WORKER_WAITING, /* for its next start */
	WORKER_STARTING, /* not ready yet */
	WORKER_READY,
	WORKER_STOPPING
};

struct worker {
	struct supervisor *supervisor;
	unsigned number; /* from 1 */
	enum worker_state state;
	struct child *child; /* while there is a process */
	struct event *start_timer;
	int64_t start_at_ms; /* WORKER_WAITING; monotonic */
	int64_t ready_at_ms; /* 0: not ready since the last start */
	struct backoff backoff;
	uint32_t restarts;
	uint32_t threads; /* of the running process */
	bool outdated; /* runs with settings that are no longer the applied ones */
	bool must_acknowledge; /* was sent CERTIFICATES, has not answered */
	uint32_t failed_code; /* of the FAILED frame, WORKER_EXIT_OK: none came */
	char failed_text[ERR_TEXT_MAX];
	struct watch watch; /* while it is ready */
	unsigned same_ends; /* in a row, with the same last_error: not each is logged */
	struct worker_health health; /* its last canary; text NULL: none yet */
	int64_t health_at_ms;
	uint64_t signatures; /* that it had made at the last answer to a ping */
	int64_t signatures_at_ms; /* 0: none came */
	uint32_t rate_tenths; /* of a signature a second, between the last two */
	char last_error[ERR_TEXT_MAX]; /* how it last ended; kept while it runs again */
};

struct worker *worker_new(struct supervisor *supervisor, unsigned number);
void worker_free(struct worker *worker);

void worker_wait_to_start(struct worker *worker, int64_t wait_ms); /* workers_go_on is called when the time has come */
void worker_start(struct worker *worker);
void worker_stop(struct worker *worker); /* ends when its signatures are done; one without a process is stopped at once */

void worker_connect(struct worker *worker); /* to the relay, when that has a process */
void worker_send_certificates(struct worker *worker, struct bytes payload);

#endif
