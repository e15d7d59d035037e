#include "hsm/sign/jobs.h"

#include <event2/event.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"

#define WATCH_MS 250

struct job {
	TAILQ_ENTRY(job) link;
	struct jobs *jobs;
	struct channel *asked_by; /* only compared */
	struct sign_request request;
	struct keyring_entry *entry;
	int64_t deadline_ms;
	atomic_bool dropped; /* cancelled, or its relay is gone */
	_Atomic(int64_t) started_ms; /* 0: not at the token */
	/* Written by the pool's thread, read when it is done. */
	bool done;
	struct buf cms;
	enum sign_failure_class class;
	enum token_fault fault;
	struct err err;
};

struct jobs {
	struct event_base *base;
	struct keyring *keyring;
	struct pool *pool;
	struct channel *relay; /* NULL: not connected */
	jobs_fatal *fatal;
	void *arg;
	TAILQ_HEAD(job_queue, job) open;
	unsigned n_open;
	struct event *watch;
	atomic_bool stopping;
	jobs_idle *idle;
	void *idle_arg;
	uint64_t signatures;
	unsigned faults; /* in a row */
	int64_t last_good_ms;
	int64_t last_signed_ms;
};

/* ---- on a thread of the pool ---- */

static void fail_job(struct job *job, enum sign_failure_class class, const char *text)
{
	job->class = class;
	err_set(&job->err, ERR_CANCELLED, "%s", text);
}

static enum sign_failure_class class_of(enum token_fault fault, enum err_code code)
{
	switch (fault) {
	case TOKEN_FAULT_KEY:
		return SIGN_FAIL_CERTIFICATE;
	case TOKEN_FAULT_MECHANISM:
		return SIGN_FAIL_REQUEST;
	case TOKEN_FAULT_NONE:
		return code == ERR_INVALID ? SIGN_FAIL_REQUEST : SIGN_FAIL_RETRY;
	default:
		return code == ERR_INTEGRITY ? SIGN_FAIL_WRONG : SIGN_FAIL_RETRY;
	}
}

static bool sign(struct job *job)
{
	struct cms_content content = {
	    .algorithm = job->request.algorithm,
	    .digest = bytes_of(job->request.digest, sign_digest_bytes(job->request.algorithm)),
	    .signing_time = job->request.signing_time,
	    .pss = job->request.pss,
	};

	if (job->request.tls_len > 0)
		return keyring_sign_tls(job->entry, &job->request, &job->cms, &job->fault, &job->err);
	return keyring_sign(job->entry, &content, &job->cms, &job->fault, &job->err);
}

static void sign_job(struct job *job)
{
	atomic_store(&job->started_ms, clock_monotonic_ms());
	job->done = sign(job);
	atomic_store(&job->started_ms, 0);
	if (!job->done)
		job->class = class_of(job->fault, job->err.code);
}

static void work(void *arg)
{
	struct job *job = arg;

	if (atomic_load(&job->dropped))
		fail_job(job, SIGN_FAIL_CANCELLED, "cancelled");
	else if (clock_monotonic_ms() >= job->deadline_ms)
		fail_job(job, SIGN_FAIL_CANCELLED, "the time for it had passed before a thread was free");
	else if (atomic_load(&job->jobs->stopping))
		fail_job(job, SIGN_FAIL_RETRY, "the worker is stopping");
	else
		sign_job(job);
}

/* ---- on the loop's thread ---- */

static void answer_failure(struct jobs *jobs, uint64_t id, enum sign_failure_class class, const char *text)
{
	struct sign_failure failure = {.id = id, .class = class, .text = mem_string(text)};
	struct buf out = {0};

	sign_failure_encode(&out, &failure);
	channel_send(jobs->relay, SIGN_FRAME_FAILURE, buf_bytes(&out), -1);
	buf_clear(&out);
	free(failure.text);
}

static void answer(struct jobs *jobs, const struct job *job)
{
	struct sign_result result = {.id = job->request.id, .cms = buf_bytes(&job->cms)};
	struct buf out = {0};

	if (!job->done) {
		answer_failure(jobs, job->request.id, job->class, job->err.text);
		return;
	}
	sign_result_encode(&out, &result);
	channel_send(jobs->relay, SIGN_FRAME_RESULT, buf_bytes(&out), -1);
	buf_clear(&out);
}

void jobs_judge(struct jobs *jobs, bool good, enum token_fault fault, const struct err *err)
{
	if (good) {
		jobs->faults = 0;
		jobs->last_good_ms = clock_monotonic_ms();
		return;
	}
	if (fault == TOKEN_FAULT_NONE || fault == TOKEN_FAULT_KEY || fault == TOKEN_FAULT_MECHANISM)
		return;
	log_warning("token.fault", LOG_ERR(err), LOG_NUMBER("in-a-row", jobs->faults + 1));
	if (++jobs->faults >= JOBS_FAULTS_IN_A_ROW || fault != TOKEN_FAULT_RETRY)
		jobs->fatal(fault == TOKEN_FAULT_RETRY ? TOKEN_FAULT_MODULE : fault, err->text, jobs->arg);
}

static void check_idle(struct jobs *jobs)
{
	if (jobs->idle != NULL && jobs->n_open == 0 && (jobs->relay == NULL || channel_pending(jobs->relay) == 0))
		jobs->idle(jobs->idle_arg);
}

static void finished(void *arg)
{
	struct job *job = arg;
	struct jobs *jobs = job->jobs;
	bool tried = job->done || job->fault != TOKEN_FAULT_NONE;

	if (job->asked_by == jobs->relay && jobs->relay != NULL)
		answer(jobs, job);
	TAILQ_REMOVE(&jobs->open, job, link);
	jobs->n_open--;
	if (job->done)
		jobs_note_signature(jobs);
	if (tried)
		jobs_judge(jobs, job->done, job->fault, &job->err);
	keyring_release(job->entry);
	buf_clear(&job->cms);
	free(job);
	check_idle(jobs);
}

static void take_request(struct jobs *jobs, const struct sign_request *request)
{
	struct keyring_entry *entry = keyring_find(jobs->keyring, request->certificate);
	struct job *job;

	if (entry == NULL || jobs->n_open >= JOBS_MAX) {
		answer_failure(jobs, request->id, entry == NULL ? SIGN_FAIL_CERTIFICATE : SIGN_FAIL_RETRY,
			       entry == NULL ? "no such certificate in this worker" : "too many open requests");
		keyring_release(entry);
		return;
	}
	job = mem_new(sizeof *job);
	job->jobs = jobs;
	job->asked_by = jobs->relay;
	job->request = *request;
	job->entry = entry;
	job->deadline_ms = clock_monotonic_ms() + request->budget_ms;
	TAILQ_INSERT_TAIL(&jobs->open, job, link);
	jobs->n_open++;
	pool_submit(jobs->pool, work, finished, job);
}

static void on_request(struct jobs *jobs, struct msg *msg, bool tls)
{
	struct bytes octets = msg->rest;
	struct sign_request request;
	struct err err;

	if (tls ? sign_tls_decode(msg, &request, &err) : sign_request_decode(msg, &request, &err)) {
		take_request(jobs, &request);
	} else {
		struct msg start = msg_of(octets);

		log_error("request.malformed", LOG_ERR(&err));
		answer_failure(jobs, msg_get_u64(&start), SIGN_FAIL_REQUEST, err.text);
	}
}

static void on_cancel(struct jobs *jobs, struct msg *msg)
{
	uint64_t id = msg_get_u64(msg);
	struct job *job;

	for (job = TAILQ_FIRST(&jobs->open); job != NULL; job = TAILQ_NEXT(job, link)) {
		if (job->request.id == id && job->asked_by == jobs->relay)
			atomic_store(&job->dropped, true);
	}
}

static void drop_relay(struct jobs *jobs)
{
	struct job *job;

	for (job = TAILQ_FIRST(&jobs->open); job != NULL; job = TAILQ_NEXT(job, link)) {
		atomic_store(&job->dropped, true);
		job->asked_by = NULL;
	}
	channel_free(jobs->relay);
	jobs->relay = NULL;
}

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct jobs *jobs = arg;

	(void)channel;
	if (fd >= 0)
		close(fd);
	if (type == SIGN_FRAME_REQUEST || type == SIGN_FRAME_TLS) {
		on_request(jobs, msg, type == SIGN_FRAME_TLS);
	} else if (type == SIGN_FRAME_CANCEL) {
		on_cancel(jobs, msg);
	} else {
		log_error("relay.unknown-frame", LOG_NUMBER("type", type));
		drop_relay(jobs);
	}
}

static void on_closed(struct channel *channel, const struct err *why, void *arg)
{
	struct jobs *jobs = arg;

	(void)channel;
	log_info("relay.gone", LOG_ERR(why));
	drop_relay(jobs);
	check_idle(jobs);
}

void jobs_connect(struct jobs *jobs, int fd)
{
	if (jobs->relay != NULL)
		drop_relay(jobs);
	jobs->relay = channel_new(jobs->base, fd, on_message, on_closed, jobs);
	log_info("relay.connected", LOG_NUMBER("dropped", jobs->n_open));
}

/* ---- the watch ---- */

static bool is_stuck(const struct job *job, int64_t now)
{
	int64_t started = atomic_load(&job->started_ms), limit = job->request.budget_ms;

	if (limit < JOBS_STUCK_LEAST_MS)
		limit = JOBS_STUCK_LEAST_MS;
	if (limit > JOBS_STUCK_MOST_MS)
		limit = JOBS_STUCK_MOST_MS;
	return started != 0 && now - started > limit;
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct jobs *jobs = arg;
	int64_t now = clock_monotonic_ms();
	struct job *job;

	(void)fd;
	(void)what;
	for (job = TAILQ_FIRST(&jobs->open); job != NULL; job = TAILQ_NEXT(job, link)) {
		if (is_stuck(job, now))
			jobs->fatal(TOKEN_FAULT_MODULE, "a signature is stuck in the PKCS#11 module", jobs->arg);
	}
	check_idle(jobs);
}

void jobs_stop(struct jobs *jobs, jobs_idle *idle, void *arg)
{
	atomic_store(&jobs->stopping, true);
	jobs->idle = idle;
	jobs->idle_arg = arg;
	check_idle(jobs);
}

int64_t jobs_unsigned_ms(const struct jobs *jobs)
{
	return jobs->n_open > 0 ? 0 : clock_monotonic_ms() - jobs->last_signed_ms;
}

void jobs_note_signature(struct jobs *jobs)
{
	jobs->last_signed_ms = clock_monotonic_ms();
	jobs->signatures++;
}

uint64_t jobs_signatures(const struct jobs *jobs)
{
	return jobs->signatures;
}

void jobs_fail(struct jobs *jobs, const char *text)
{
	jobs->fatal(TOKEN_FAULT_MODULE, text, jobs->arg);
}

int64_t jobs_quiet_ms(const struct jobs *jobs)
{
	return jobs->n_open > 0 ? 0 : clock_monotonic_ms() - jobs->last_good_ms;
}

struct jobs *jobs_new(struct event_base *base, struct pool *pool, struct keyring *keyring, jobs_fatal *fatal, void *arg)
{
	static const struct timeval every = {.tv_usec = WATCH_MS * 1000};
	struct jobs *jobs = mem_new(sizeof *jobs);

	jobs->base = base;
	jobs->keyring = keyring;
	jobs->pool = pool;
	jobs->fatal = fatal;
	jobs->arg = arg;
	jobs->last_good_ms = jobs->last_signed_ms = clock_monotonic_ms();
	TAILQ_INIT(&jobs->open);
	jobs->watch = event_new(base, -1, EV_PERSIST, on_watch, jobs);
	event_add(jobs->watch, &every);
	return jobs;
}
