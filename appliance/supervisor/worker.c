#include "appliance/supervisor/worker.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

#define START_GRACE_MS 180000 /* a worker that is not ready by then hangs */
#define FAILED_GRACE_MS 10000 /* from FAILED to its end */
#define SAME_ENDS_LOGGED 5 /* the first so many ends that are all alike, then one in as many as this: */
#define SAME_ENDS_PER_LINE 20
#define STOP_GRACE_MS 30000 /* from STOP to its end: longer than a signature's deadline */

static void on_start_timer(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;

	(void)fd;
	(void)what;
	worker->start_at_ms = 0; /* due, also when the timer was a little early */
	workers_go_on(worker->supervisor);
}

struct worker *worker_new(struct supervisor *supervisor, unsigned number)
{
	struct worker *worker = mem_new(sizeof *worker);

	worker->supervisor = supervisor;
	worker->number = number;
	worker->start_timer = evtimer_new(supervisor->base, on_start_timer, worker);
	watch_init(&worker->watch, supervisor->base, WORKER_FRAME_PING);
	return worker;
}

void worker_free(struct worker *worker)
{
	child_forget(worker->child);
	watch_clear(&worker->watch);
	worker_health_clear(&worker->health);
	event_free(worker->start_timer);
	free(worker);
}

void worker_wait_to_start(struct worker *worker, int64_t wait_ms)
{
	struct timeval after = {.tv_sec = wait_ms / 1000, .tv_usec = (wait_ms % 1000) * 1000};

	worker->state = WORKER_WAITING;
	worker->start_at_ms = clock_monotonic_ms() + wait_ms;
	event_add(worker->start_timer, &after);
}

void worker_connect(struct worker *worker)
{
	struct err err;
	int pair[2];

	if (!relay_has_process(worker->supervisor))
		return;
	if (!frame_socketpair(pair, false, &err)) {
		log_error("worker.connect", LOG_NUMBER("worker", worker->number), LOG_ERR(&err));
		return;
	}
	child_send(worker->child, WORKER_FRAME_CHANNEL, (struct bytes){0}, pair[0]);
	relay_send_worker(worker->supervisor, worker, pair[1]);
}

void worker_send_certificates(struct worker *worker, struct bytes payload)
{
	worker->must_acknowledge = true;
	child_send(worker->child, WORKER_FRAME_CERTIFICATES, payload, -1);
}

/* ---- what a worker says ---- */

static void acknowledged(struct worker *worker)
{
	if (!worker->must_acknowledge)
		return;
	worker->must_acknowledge = false;
	apply_worker_changed(worker->supervisor);
}

static void became_ready(struct worker *worker, const struct worker_ready *ready)
{
	struct supervisor *supervisor = worker->supervisor;

	worker->state = WORKER_READY;
	worker->ready_at_ms = clock_monotonic_ms();
	worker->threads = ready->threads;
	worker->signatures_at_ms = 0;
	worker->rate_tenths = 0;
	child_kill_after(worker->child, -1);
	watch_begin(&worker->watch, worker->child);
	worker_connect(worker);
	login_succeeded(supervisor);
	workers_judge(supervisor);
	tasks_go_on(supervisor);
	workers_go_on(supervisor);
}

/* READY comes when the worker has started, and again when it has taken a new list of certificates. */
static void on_ready(struct worker *worker, struct msg *msg)
{
	struct worker_ready ready;
	struct err err;

	if (!worker_ready_decode(msg, &ready, &err)) {
		log_error("worker.message", LOG_NUMBER("worker", worker->number), LOG_ERR(&err));
		return;
	}
	log_info("worker.ready", LOG_NUMBER("worker", worker->number), LOG_NUMBER("pid", child_pid(worker->child)),
		 LOG_NUMBER("threads", ready.threads), LOG_NUMBER("keys", ready.keys_loaded),
		 LOG_NUMBER("keys_missing", ready.keys_missing));
	worker_ready_clear(&worker->supervisor->workers.token);
	worker->supervisor->workers.token = ready;
	if (worker->state == WORKER_STARTING)
		became_ready(worker, &ready);
	else
		acknowledged(worker);
}

static void on_failed(struct worker *worker, struct msg *msg)
{
	struct worker_failed failed;
	struct err err;

	if (!worker_failed_decode(msg, &failed, &err)) {
		log_error("worker.message", LOG_NUMBER("worker", worker->number), LOG_ERR(&err));
		return;
	}
	worker->failed_code = failed.exit_code;
	snprintf(worker->failed_text, sizeof worker->failed_text, "%s", failed.text);
	worker_failed_clear(&failed);
	child_kill_after(worker->child, FAILED_GRACE_MS);
}

static void on_health(struct worker *worker, struct msg *msg)
{
	struct worker_health health;
	bool news;
	struct err err;

	if (!worker_health_decode(msg, &health, &err)) {
		log_error("worker.message", LOG_NUMBER("worker", worker->number), LOG_ERR(&err));
		return;
	}
	news = !health.good && (worker->health.text == NULL || worker->health.good);
	worker_health_clear(&worker->health);
	worker->health = health;
	worker->health_at_ms = clock_monotonic_ms();
	if (news) {
		log_error("alarm.canary", LOG_NUMBER("worker", worker->number), LOG_TEXT("error", health.text));
		supervisor_audit(worker->supervisor, "HSM alarm: worker %u made no trial signature: %s", worker->number,
				 health.text);
	}
}

static void on_pong(struct worker *worker, struct msg *msg)
{
	uint64_t number = msg_get_u64(msg), signatures = msg_get_u64(msg);
	int64_t now = clock_monotonic_ms(), since = now - worker->signatures_at_ms;

	if (!msg_end(msg, "worker answer", NULL))
		return;
	watch_answered(&worker->watch, number);
	worker->rate_tenths = 0;
	if (worker->signatures_at_ms != 0 && since > 0 && signatures > worker->signatures)
		worker->rate_tenths = (uint32_t)((signatures - worker->signatures) * 10000 / (uint64_t)since);
	worker->signatures = signatures;
	worker->signatures_at_ms = now;
}

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct worker *worker = arg;

	(void)channel;
	if (fd >= 0)
		close(fd);
	if (type == WORKER_FRAME_READY)
		on_ready(worker, msg);
	else if (type == WORKER_FRAME_FAILED)
		on_failed(worker, msg);
	else if (type == WORKER_FRAME_PONG)
		on_pong(worker, msg);
	else if (type == WORKER_FRAME_HEALTH)
		on_health(worker, msg);
}

/* ---- its end ---- */

/* A token that is away for a weekend must not fill the log. */
static bool is_quiet(const struct worker *worker)
{
	return worker->same_ends >= SAME_ENDS_LOGGED && worker->same_ends % SAME_ENDS_PER_LINE != 0;
}

static void log_end(struct worker *worker, const char *before, int64_t wait_ms)
{
	bool alike = wait_ms > BACKOFF_FIRST_MS && strcmp(before, worker->last_error) == 0;

	worker->same_ends = alike ? worker->same_ends + 1 : 0;
	if (is_quiet(worker))
		return;
	supervisor_audit(worker->supervisor, "HSM worker %u ended: %s", worker->number, worker->last_error);
	log_warning("worker.ended", LOG_NUMBER("worker", worker->number), LOG_TEXT("how", worker->last_error),
		    LOG_NUMBER("wait_ms", wait_ms), LOG_NUMBER("alike", worker->same_ends + 1));
}

static void settle_failure(struct worker *worker, enum worker_state was, const struct child_end *end)
{
	struct supervisor *supervisor = worker->supervisor;
	bool rejected = worker->failed_code == WORKER_EXIT_PIN_REJECTED || end->code == WORKER_EXIT_PIN_REJECTED;
	int64_t ran_ms = worker->ready_at_ms != 0 ? clock_monotonic_ms() - worker->ready_at_ms : 0;
	char before[ERR_TEXT_MAX];
	int64_t wait_ms;

	snprintf(before, sizeof before, "%s", worker->last_error);
	if (worker->failed_code == WORKER_EXIT_OK)
		child_end_text(end, worker->last_error, sizeof worker->last_error);
	else
		snprintf(worker->last_error, sizeof worker->last_error, "%s", worker->failed_text);
	if (rejected) {
		worker->state = WORKER_STOPPED;
		login_rejected(supervisor, worker->last_error);
		return;
	}
	wait_ms = backoff_next_of_worker(&worker->backoff, ran_ms);
	worker->restarts++;
	log_end(worker, before, wait_ms);
	worker_wait_to_start(worker, wait_ms);
	if (was == WORKER_STARTING)
		login_failed(supervisor, worker->last_error);
}

static void settle_stop(struct worker *worker, const struct child_end *end)
{
	char how[ERR_TEXT_MAX];

	child_end_text(end, how, sizeof how);
	log_info("worker.stopped", LOG_NUMBER("worker", worker->number), LOG_TEXT("how", how));
	worker->state = WORKER_STOPPED;
	if (workers_may_start(worker->supervisor) && !workers_is_surplus(worker))
		worker_wait_to_start(worker, 0);
}

static void on_ended(const struct child_end *end, void *arg)
{
	struct worker *worker = arg;
	struct supervisor *supervisor = worker->supervisor;
	enum worker_state was = worker->state;

	worker->child = NULL;
	watch_end(&worker->watch);
	if (was == WORKER_STOPPING)
		settle_stop(worker, end);
	else
		settle_failure(worker, was, end);
	acknowledged(worker);
	workers_drop_surplus(supervisor); /* this one perhaps */
	relay_send_locked(supervisor);
	workers_judge(supervisor);
	login_worker_ended(supervisor);
	tasks_go_on(supervisor);
	workers_go_on(supervisor);
	supervisor_child_gone(supervisor);
}

/* ---- its start ---- */

/* The PIN comes last in the frame, so that the buffer does not move once it is in. */
static void send_start(struct worker *worker)
{
	struct supervisor *supervisor = worker->supervisor;
	struct worker_start start = {
	    .settings = supervisor->running->hsm,
	    .certificates = configuration_certificates(supervisor->running, supervisor->previous),
	    .pin = supervisor->pin.secret != NULL ? secret_bytes(supervisor->pin.secret) : (struct bytes){0},
	    .has_pin = supervisor->pin.secret != NULL,
	    .final_try = supervisor->pin.state == PIN_TRIED && supervisor->pin.final_try,
	};
	struct buf payload = {0};

	worker_start_encode(&payload, &start);
	child_send(worker->child, WORKER_FRAME_START, buf_bytes(&payload), -1);
	buf_wipe_clear(&payload);
	free(start.certificates.items);
}

void worker_start(struct worker *worker)
{
	struct child_events events = {.message = on_message, .ended = on_ended, .arg = worker};
	struct err err;

	worker->ready_at_ms = 0;
	worker->failed_code = WORKER_EXIT_OK;
	worker->outdated = false;
	worker->must_acknowledge = false;
	worker->child = supervisor_spawn(worker->supervisor, "inkan-hsm", "sign", 0, &events, &err);
	if (worker->child == NULL) {
		log_error("worker.start", LOG_NUMBER("worker", worker->number), LOG_ERR(&err));
		snprintf(worker->last_error, sizeof worker->last_error, "%s", err.text);
		worker_wait_to_start(worker, backoff_next_of_worker(&worker->backoff, 0));
		login_failed(worker->supervisor, err.text);
		return;
	}
	worker->state = WORKER_STARTING;
	if (!is_quiet(worker))
		log_info("worker.started", LOG_NUMBER("worker", worker->number), LOG_NUMBER("pid", child_pid(worker->child)));
	child_kill_after(worker->child, START_GRACE_MS);
	send_start(worker);
}

void worker_stop(struct worker *worker)
{
	event_del(worker->start_timer);
	if (worker->child == NULL) {
		worker->state = WORKER_STOPPED;
		return;
	}
	if (worker->state != WORKER_STARTING) /* one that starts keeps its longer grace */
		child_kill_after(worker->child, STOP_GRACE_MS);
	worker->state = WORKER_STOPPING;
	watch_end(&worker->watch);
	child_send(worker->child, WORKER_FRAME_STOP, (struct bytes){0}, -1);
}
