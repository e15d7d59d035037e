#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "hsm/client/signer_private.h"

static bool worker_has(const struct worker *worker, const struct request *request)
{
	const struct assignment *assignment;

	for (assignment = LIST_FIRST(&request->assignments); assignment != NULL; assignment = LIST_NEXT(assignment, same)) {
		if (assignment->worker == worker)
			return true;
	}
	return false;
}

static bool worker_has_room(const struct worker *worker)
{
	return worker->load < worker->threads * SIGNER_QUEUE_PER_THREAD;
}

static bool worker_failed_it(const struct worker *worker, const struct request *request)
{
	return request->failed_once && request->failed_at == worker->number;
}

/* Is there a worker that could take what `worker` has just failed to do? */
static bool another_is_sound(const struct worker *worker)
{
	const struct worker *other;

	for (other = TAILQ_FIRST(&worker->signer->workers); other != NULL; other = TAILQ_NEXT(other, link)) {
		if (other != worker && !other->suspect)
			return true;
	}
	return false;
}

static bool better(const struct worker *a, const struct worker *b)
{
	if (b == NULL)
		return true;
	if (a->suspect != b->suspect)
		return b->suspect;
	return (int)a->threads - (int)a->load > (int)b->threads - (int)b->load;
}

static struct worker *pick(struct signer *signer, const struct request *request)
{
	struct worker *worker, *best = NULL;

	for (worker = TAILQ_FIRST(&signer->workers); worker != NULL; worker = TAILQ_NEXT(worker, link)) {
		if (!worker_has_room(worker) || worker_has(worker, request))
			continue;
		if (worker_failed_it(worker, request) && another_is_sound(worker))
			continue;
		if (better(worker, best))
			best = worker;
	}
	return best;
}

static void send_request(struct worker *worker, struct request *request)
{
	int64_t left = request->deadline_ms - clock_monotonic_ms();
	struct buf out = {0};

	request->wire.budget_ms = left < 0 ? 0 : left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
	if (request->wire.tls_len > 0)
		sign_tls_encode(&out, &request->wire);
	else
		sign_request_encode(&out, &request->wire);
	channel_send(worker->channel, request->wire.tls_len > 0 ? SIGN_FRAME_TLS : SIGN_FRAME_REQUEST, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void assign(struct worker *worker, struct request *request)
{
	struct assignment *assignment = mem_new(sizeof *assignment);

	assignment->id = request->wire.id;
	assignment->worker = worker;
	assignment->request = request;
	TAILQ_INSERT_TAIL(&worker->assignments, assignment, link);
	LIST_INSERT_HEAD(&request->assignments, assignment, same);
	worker->load++;
	send_request(worker, request);
	request_started(request);
	/* Among equals the one that has waited longest is next. */
	TAILQ_REMOVE(&worker->signer->workers, worker, link);
	TAILQ_INSERT_TAIL(&worker->signer->workers, worker, link);
}

static bool any_room(const struct signer *signer)
{
	const struct worker *worker;

	for (worker = TAILQ_FIRST(&signer->workers); worker != NULL; worker = TAILQ_NEXT(worker, link)) {
		if (worker_has_room(worker))
			return true;
	}
	return false;
}

void workers_hand_out(struct signer *signer)
{
	struct request *request = TAILQ_FIRST(&signer->waiting), *next;
	int64_t now = clock_monotonic_ms();

	for (; !signer->locked && request != NULL && any_room(signer); request = next) {
		struct worker *worker = !request->refused && request->pause_until_ms <= now ? pick(signer, request) : NULL;

		next = TAILQ_NEXT(request, link);
		if (worker == NULL)
			continue;
		TAILQ_REMOVE(&signer->waiting, request, link);
		if (request->failed_once)
			signer->state.resubmitted_total++;
		assign(worker, request);
	}
}

bool workers_hand_to_another(struct request *request)
{
	struct assignment *assignment;
	struct worker *worker;

	for (assignment = LIST_FIRST(&request->assignments); assignment != NULL; assignment = LIST_NEXT(assignment, same)) {
		assignment->worker->suspect = true;
	}
	worker = pick(request->signer, request);
	if (worker == NULL)
		return false;
	assign(worker, request);
	return true;
}

static void forget(struct assignment *assignment)
{
	if (assignment->request != NULL)
		LIST_REMOVE(assignment, same);
	TAILQ_REMOVE(&assignment->worker->assignments, assignment, link);
	assignment->worker->load--;
	free(assignment);
}

void workers_release(struct request *request)
{
	while (!LIST_EMPTY(&request->assignments)) {
		struct assignment *assignment = LIST_FIRST(&request->assignments);
		struct buf out = {0};

		LIST_REMOVE(assignment, same);
		assignment->request = NULL;
		msg_put_u64(&out, assignment->id);
		channel_send(assignment->worker->channel, SIGN_FRAME_CANCEL, buf_bytes(&out), -1);
		buf_clear(&out);
	}
}

/* The request that a worker answers, which is then not at that worker any more; NULL when the answer is late. */
static struct request *take_answered(struct worker *worker, uint64_t id)
{
	struct assignment *assignment;
	struct request *request = NULL;

	for (assignment = TAILQ_FIRST(&worker->assignments); assignment != NULL; assignment = TAILQ_NEXT(assignment, link)) {
		if (assignment->id == id)
			break;
	}
	if (assignment != NULL) {
		request = assignment->request;
		forget(assignment);
	}
	if (request == NULL)
		worker->signer->state.late_total++;
	return request;
}

/* A request may have lost its last assignment and must be in a list again before anything else happens. */
static void on_result(struct worker *worker, const struct sign_result *result)
{
	struct request *request = take_answered(worker, result->id);

	worker->suspect = false;
	if (request == NULL) {
		workers_hand_out(worker->signer);
		return;
	}
	if (LIST_EMPTY(&request->assignments))
		TAILQ_INSERT_HEAD(&request->signer->waiting, request, link);
	request_finish(request, SIGNER_SIGNED, result->cms, "");
}

static bool may_try_again(const struct request *request, const struct sign_failure *failure)
{
	if (failure->class == SIGN_FAIL_CERTIFICATE)
		return clock_monotonic_ms() - request->asked_ms < SIGNER_CERTIFICATE_PATIENCE_MS;
	return failure->class == SIGN_FAIL_RETRY || failure->class == SIGN_FAIL_WRONG || failure->class == SIGN_FAIL_CANCELLED;
}

static void on_failure(struct worker *worker, const struct sign_failure *failure)
{
	struct request *request = take_answered(worker, failure->id);
	struct signer *signer = worker->signer;

	if (failure->class == SIGN_FAIL_RETRY || failure->class == SIGN_FAIL_WRONG) {
		worker->suspect = true;
		breaker_failed(signer);
	}
	if (failure->class == SIGN_FAIL_WRONG)
		breaker_wrong(signer, failure->text);
	if (request == NULL) {
		workers_hand_out(signer);
		return;
	}
	request_note(request, worker->number, failure->text);
	if (!LIST_EMPTY(&request->assignments) && may_try_again(request, failure))
		return; /* another worker has it already */
	if (LIST_EMPTY(&request->assignments))
		request_wait(request, another_is_sound(worker) ? 0 : SIGNER_RETRY_PAUSE_MS);
	if (may_try_again(request, failure))
		workers_hand_out(signer);
	else
		request_finish(request, SIGNER_FAILED, (struct bytes){0}, failure->text);
}

void worker_free(struct worker *worker)
{
	struct signer *signer = worker->signer;

	TAILQ_REMOVE(&signer->workers, worker, link);
	while (!TAILQ_EMPTY(&worker->assignments)) {
		struct assignment *assignment = TAILQ_FIRST(&worker->assignments);
		struct request *request = assignment->request;

		forget(assignment);
		if (request == NULL)
			continue;
		breaker_failed(signer);
		request_note(request, worker->number, "the HSM worker ended");
		if (LIST_EMPTY(&request->assignments))
			request_wait(request, 0);
	}
	channel_free(worker->channel);
	free(worker);
}

static void on_closed(struct channel *channel, const struct err *why, void *arg)
{
	struct worker *worker = arg;
	struct signer *signer = worker->signer;

	(void)channel;
	(void)why;
	worker_free(worker);
	workers_hand_out(signer);
}

/* A worker that does not keep to the protocol is as good as dead. */
static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct worker *worker = arg;
	struct sign_result result;
	struct sign_failure failure;
	struct err err;

	if (fd >= 0)
		close(fd);
	if (type == SIGN_FRAME_RESULT && sign_result_decode(msg, &result, &err)) {
		on_result(worker, &result);
	} else if (type == SIGN_FRAME_FAILURE && sign_failure_decode(msg, &failure, &err)) {
		on_failure(worker, &failure);
		free(failure.text);
	} else {
		on_closed(channel, &err, worker);
	}
}

static struct worker *find_worker(struct signer *signer, unsigned number)
{
	struct worker *worker;

	for (worker = TAILQ_FIRST(&signer->workers); worker != NULL; worker = TAILQ_NEXT(worker, link)) {
		if (worker->number == number)
			return worker;
	}
	return NULL;
}

void signer_attach(struct signer *signer, unsigned number, int fd, unsigned threads)
{
	struct worker *earlier = find_worker(signer, number);
	struct worker *worker = mem_new(sizeof *worker);

	if (earlier != NULL)
		worker_free(earlier);
	worker->signer = signer;
	worker->number = number;
	worker->threads = threads > 0 ? threads : 1;
	TAILQ_INIT(&worker->assignments);
	worker->channel = channel_new(signer->base, fd, on_message, on_closed, worker);
	TAILQ_INSERT_TAIL(&signer->workers, worker, link);
	workers_hand_out(signer);
	breaker_worker_came(signer);
}
