#include "hsm/client/signer.h"

#include <event2/event.h>
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "hsm/client/signer_private.h"

static void request_free(struct request *request)
{
	TAILQ_REMOVE(&request->signer->requests, request, every);
	if (LIST_EMPTY(&request->assignments))
		TAILQ_REMOVE(&request->signer->waiting, request, link);
	else
		workers_release(request);
	event_free(request->timer);
	free(request->text);
	free(request);
}

void request_finish(struct request *request, enum signer_outcome outcome, struct bytes cms, const char *text)
{
	struct signer *signer = request->signer;
	signer_cb *cb = request->cb;
	void *arg = request->arg;
	char *kept = mem_string(text);

	if (outcome == SIGNER_SIGNED) {
		signer->state.signed_total++;
		breaker_good(signer);
	} else {
		signer->state.failed_total++;
	}
	request_free(request);
	workers_hand_out(signer);
	cb(outcome, cms, kept, arg);
	free(kept);
}

static void wake_in(struct request *request, int64_t ms)
{
	struct timeval delay;

	if (ms < 0)
		ms = 0;
	delay = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	event_add(request->timer, &delay);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/*
 * What a waiting request goes before; NULL: at the end. What has been at a worker already is older than what waits: in front,
 * in the order of the ids. A handshake does not stand behind all the mail, nor the mail behind all the handshakes: one of each.
 */
static struct request *place_of(const struct signer *signer, const struct request *request)
{
	struct request *first = TAILQ_FIRST(&signer->waiting), *after_tls = first, *at;

	if (request->wire.tls_len == 0) {
		while (first != NULL && (first->wire.tls_len > 0 || first->wire.id < request->wire.id))
			first = TAILQ_NEXT(first, link);
		return first;
	}
	for (at = first; at != NULL; at = TAILQ_NEXT(at, link)) {
		if (at->wire.tls_len > 0 && at->wire.id < request->wire.id)
			after_tls = TAILQ_NEXT(at, link);
	}
	return after_tls != NULL && after_tls->wire.tls_len == 0 ? TAILQ_NEXT(after_tls, link) : after_tls;
}

void request_wait(struct request *request, int64_t pause_ms)
{
	struct signer *signer = request->signer;
	int64_t now = clock_monotonic_ms();
	struct request *first = place_of(signer, request);

	request->pause_until_ms = now + pause_ms;
	if (first != NULL)
		TAILQ_INSERT_BEFORE(first, request, link);
	else
		TAILQ_INSERT_TAIL(&signer->waiting, request, link);
	if (signer->locked || request->refused)
		wake_in(request, 0);
	else
		wake_in(request, least(pause_ms > 0 ? pause_ms : INT64_MAX, request->deadline_ms - now));
}

void request_started(struct request *request)
{
	int64_t left = request->deadline_ms - clock_monotonic_ms();
	int64_t share = left / SIGNER_STUCK_SHARE;

	wake_in(request, least(share > SIGNER_STUCK_LEAST_MS ? share : SIGNER_STUCK_LEAST_MS, left));
}

void request_note(struct request *request, unsigned worker, const char *text)
{
	request->failed_once = true;
	request->failed_at = worker;
	free(request->text);
	request->text = mem_string(text);
}

static void request_out_of_time(struct request *request)
{
	bool running = !TAILQ_EMPTY(&request->signer->workers);
	const char *text = request->text;

	breaker_out_of_time(request->signer, request);
	if (text == NULL)
		text = running ? "the HSM did not sign in time" : "no HSM worker is running";
	request_finish(request, running ? SIGNER_DEADLINE : SIGNER_UNAVAILABLE, (struct bytes){0}, text);
}

static void refuse(struct request *request)
{
	bool running = !TAILQ_EMPTY(&request->signer->workers);

	request_finish(request, running ? SIGNER_SUSPENDED : SIGNER_UNAVAILABLE, (struct bytes){0},
		       "signing is suspended until the HSM signs again");
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct request *request = arg;
	struct signer *signer = request->signer;
	bool waiting = LIST_EMPTY(&request->assignments);

	(void)fd;
	(void)what;
	if (waiting && signer->locked) {
		request_finish(request, SIGNER_LOCKED, (struct bytes){0}, signer->locked_text);
	} else if (request->refused) {
		refuse(request);
	} else if (clock_monotonic_ms() >= request->deadline_ms) {
		request_out_of_time(request);
	} else if (waiting) {
		request->pause_until_ms = 0; /* the loop's clock may be a moment behind */
		wake_in(request, request->deadline_ms - clock_monotonic_ms());
		workers_hand_out(signer);
	} else if (workers_hand_to_another(request)) {
		signer->state.resubmitted_total++;
	} else {
		request_started(request);
	}
}

struct signer *signer_new(struct event_base *base)
{
	struct signer *signer = mem_new(sizeof *signer);

	signer->base = base;
	TAILQ_INIT(&signer->workers);
	TAILQ_INIT(&signer->waiting);
	TAILQ_INIT(&signer->requests);
	breaker_init(signer);
	return signer;
}

void signer_free(struct signer *signer)
{
	if (signer == NULL)
		return;
	while (!TAILQ_EMPTY(&signer->requests))
		request_free(TAILQ_FIRST(&signer->requests));
	while (!TAILQ_EMPTY(&signer->workers))
		worker_free(TAILQ_FIRST(&signer->workers));
	breaker_clear(signer);
	free(signer->locked_text);
	free(signer);
}

void signer_set_locked(struct signer *signer, bool locked, const char *why)
{
	struct request *request;

	signer->locked = locked;
	if (locked)
		breaker_reset(signer);
	free(signer->locked_text);
	signer->locked_text = mem_string(why != NULL ? why : "");
	for (request = TAILQ_FIRST(&signer->waiting); request != NULL; request = TAILQ_NEXT(request, link)) {
		if (locked)
			wake_in(request, 0);
	}
	workers_hand_out(signer);
}

static uint64_t add_request(struct signer *signer, const struct sign_request *request, bool refused, int64_t deadline_ms,
			    signer_cb *cb, void *arg)
{
	struct request *made = mem_new(sizeof *made);

	made->signer = signer;
	made->wire = *request;
	made->wire.id = ++signer->last_id;
	made->asked_ms = clock_monotonic_ms();
	made->deadline_ms = deadline_ms;
	made->refused = refused;
	made->cb = cb;
	made->arg = arg;
	made->timer = evtimer_new(signer->base, on_timer, made);
	LIST_INIT(&made->assignments);
	TAILQ_INSERT_TAIL(&signer->requests, made, every);
	request_wait(made, 0);
	workers_hand_out(signer);
	return signer->last_id;
}

uint64_t request_make(struct signer *signer, const struct sign_request *wire, int64_t deadline_ms, signer_cb *cb, void *arg)
{
	return add_request(signer, wire, false, deadline_ms, cb, arg);
}

uint64_t signer_request(struct signer *signer, const struct sign_request *request, int64_t deadline_ms, signer_cb *cb, void *arg)
{
	bool refused = signer->breaker.open && !signer->locked;

	breaker_asked(signer, request);
	return add_request(signer, request, refused, deadline_ms, cb, arg);
}

void signer_cancel(struct signer *signer, uint64_t id)
{
	struct request *request;

	for (request = TAILQ_FIRST(&signer->requests); request != NULL; request = TAILQ_NEXT(request, every)) {
		if (request->wire.id == id) {
			request_free(request);
			workers_hand_out(signer);
			return;
		}
	}
}

struct signer_state signer_state(const struct signer *signer)
{
	struct signer_state state = signer->state;
	const struct worker *worker;
	const struct request *request;

	state.suspended = signer->breaker.open;
	for (worker = TAILQ_FIRST(&signer->workers); worker != NULL; worker = TAILQ_NEXT(worker, link)) {
		state.workers++;
		state.threads += worker->threads;
	}
	for (request = TAILQ_FIRST(&signer->requests); request != NULL; request = TAILQ_NEXT(request, every)) {
		if (LIST_EMPTY(&request->assignments))
			state.waiting++;
		else
			state.running++;
	}
	return state;
}

bool signer_is_ready(const struct signer *signer)
{
	return !signer->locked && !signer->breaker.open && !TAILQ_EMPTY(&signer->workers);
}
