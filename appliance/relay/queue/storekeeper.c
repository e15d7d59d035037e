#include "appliance/relay/queue/storekeeper.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"

/* ---- between the threads ---- */

static void wake_loop(struct storekeeper *keeper)
{
	uint64_t one = 1;
	ssize_t written = write(keeper->eventfd, &one, sizeof one);

	(void)written; /* a full counter is a pending wake-up already */
}

void storekeeper_submit(struct queue *queue, enum request_kind kind, struct request *request)
{
	struct storekeeper *keeper = &queue->keeper;

	pthread_mutex_lock(&keeper->lock);
	if (kind == REQUEST_REPORT && keeper->waiting[kind].first == NULL)
		keeper->reports_due_ms = clock_monotonic_ms() + STOREKEEPER_LAZY_MS;
	request_list_add(&keeper->waiting[kind], request);
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

void storekeeper_finish(struct queue *queue, struct request *request)
{
	struct storekeeper *keeper = &queue->keeper;

	pthread_mutex_lock(&keeper->lock);
	request_list_add(&keeper->finished, request);
	pthread_mutex_unlock(&keeper->lock);
	wake_loop(keeper);
}

void storekeeper_fail(struct queue *queue, const struct err *err)
{
	struct storekeeper *keeper = &queue->keeper;

	pthread_mutex_lock(&keeper->lock);
	if (keeper->failure.code == ERR_NONE)
		keeper->failure = *err;
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
	wake_loop(keeper);
}

bool storekeeper_has_failed(struct queue *queue, struct err *err)
{
	struct storekeeper *keeper = &queue->keeper;
	bool failed;

	pthread_mutex_lock(&keeper->lock);
	failed = keeper->failure.code != ERR_NONE;
	if (failed && err != NULL)
		*err = keeper->failure;
	pthread_mutex_unlock(&keeper->lock);
	return failed;
}

void storekeeper_stop(struct queue *queue)
{
	struct storekeeper *keeper = &queue->keeper;

	pthread_mutex_lock(&keeper->lock);
	keeper->stop = true;
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&keeper->lock);
}

/* Everything that a round has changed, in one step. */
static void publish(struct storekeeper *keeper, struct request_list *finished, int64_t next_due, bool due)
{
	pthread_mutex_lock(&keeper->lock);
	request_list_append(&keeper->finished, finished);
	keeper->bulletin.tally = keeper->tally;
	keeper->bulletin.oldest = keeper->oldest;
	keeper->bulletin.next_due = next_due;
	keeper->bulletin.transactions = keeper->transactions;
	keeper->bulletin.due |= due;
	buf_put_bytes(&keeper->bulletin.files_to_remove, buf_bytes(&keeper->files_to_remove));
	buf_reset(&keeper->files_to_remove);
	pthread_mutex_unlock(&keeper->lock);
	wake_loop(keeper);
}

/* ---- waiting for work ---- */

struct work {
	struct request_list commits, reports, sets, claims;
	bool stop;
};

static void wait_until(struct storekeeper *keeper, int64_t deadline_ms)
{
	struct timespec deadline = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};

	pthread_cond_timedwait(&keeper->wake, &keeper->lock, &deadline);
}

/* After a full disk, results and changes wait for retry_ms. */
static bool reports_must_go(const struct storekeeper *keeper, int64_t now)
{
	const struct request_list *reports = &keeper->waiting[REQUEST_REPORT];

	return reports->first != NULL && now >= keeper->retry_ms &&
	       (now >= keeper->reports_due_ms || reports->weight >= STOREKEEPER_RESULTS_MAX);
}

static bool sets_must_go(const struct storekeeper *keeper, int64_t now)
{
	return keeper->waiting[REQUEST_SET].first != NULL && now >= keeper->retry_ms;
}

static int64_t next_deadline(const struct storekeeper *keeper)
{
	int64_t reports = keeper->reports_due_ms > keeper->retry_ms ? keeper->reports_due_ms : keeper->retry_ms;

	if (keeper->waiting[REQUEST_REPORT].first != NULL && reports < keeper->tick_ms)
		return reports;
	return keeper->tick_ms;
}

/* Sleeps until something must be done; true when it is more than the tick. */
static bool wait_for_work(struct storekeeper *keeper)
{
	for (;;) {
		int64_t now = clock_monotonic_ms();

		if (keeper->waiting[REQUEST_COMMIT].first != NULL || keeper->waiting[REQUEST_CLAIM].first != NULL ||
		    sets_must_go(keeper, now) || reports_must_go(keeper, now))
			return true;
		if (keeper->stop || now >= keeper->tick_ms)
			return false;
		wait_until(keeper, next_deadline(keeper));
	}
}

/* New mail first, then results and the operator's changes; results go along with any company they find. */
static void take_work(struct storekeeper *keeper, struct work *work)
{
	struct request_list *waiting = keeper->waiting;
	int64_t now;

	*work = (struct work){0};
	pthread_mutex_lock(&keeper->lock);
	if (wait_for_work(keeper)) {
		request_list_take_some(&waiting[REQUEST_COMMIT], QUEUE_COMMIT_MESSAGES_MAX, STOREKEEPER_GROUP_BYTES,
				       &work->commits);
		request_list_append(&work->claims, &waiting[REQUEST_CLAIM]);
		now = clock_monotonic_ms();
		if (sets_must_go(keeper, now))
			request_list_append(&work->sets, &waiting[REQUEST_SET]);
		if (reports_must_go(keeper, now) || (work->commits.count + work->sets.count > 0 && now >= keeper->retry_ms))
			request_list_take_some(&waiting[REQUEST_REPORT], STOREKEEPER_RESULTS_MAX, STOREKEEPER_RESULTS_MAX,
					       &work->reports);
	}
	work->stop = keeper->stop;
	pthread_mutex_unlock(&keeper->lock);
}

/* What is left of a group goes to the front again. */
static void put_back(struct storekeeper *keeper, struct work *work, int64_t retry_ms)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->retry_ms = retry_ms;
	request_list_append(&work->reports, &keeper->waiting[REQUEST_REPORT]);
	request_list_append(&work->sets, &keeper->waiting[REQUEST_SET]);
	request_list_append(&keeper->waiting[REQUEST_REPORT], &work->reports);
	request_list_append(&keeper->waiting[REQUEST_SET], &work->sets);
	pthread_mutex_unlock(&keeper->lock);
}

/* ---- a round ---- */

static void run_group(struct queue *queue, struct work *work, struct request_list *finished)
{
	struct err err;

	if (work->commits.count + work->reports.count + work->sets.count == 0)
		return;
	if (storekeeper_has_failed(queue, &err))
		transaction_refuse_group(&work->commits, &work->reports, &work->sets, &err, finished);
	else if (transaction_run_group(queue, &work->commits, &work->reports, &work->sets, finished, &err))
		put_back(&queue->keeper, work, 0);
	else if (queue->closing)
		transaction_refuse_group(&work->commits, &work->reports, &work->sets, &err, finished);
	else
		put_back(&queue->keeper, work, clock_monotonic_ms() + STOREKEEPER_TICK_MS);
}

static void run_claims(struct queue *queue, struct request_list *claims, struct request_list *finished)
{
	struct request *request;

	while ((request = request_list_take(claims)) != NULL) {
		if (!storekeeper_has_failed(queue, &request->err))
			claim_run(queue, request);
		request_list_add(finished, request);
	}
}

/*
 * A WAL that finds no room in the database must not grow further: new mail is refused until it does. The ballast stays for
 * the results.
 */
static void checkpoint(struct queue *queue)
{
	struct storekeeper *keeper = &queue->keeper;
	struct err err;
	bool copied = database_checkpoint(keeper->database, false, &err);

	keeper->starved = !copied && err.code == ERR_LIMIT;
	if (!copied && !keeper->starved)
		storekeeper_fail(queue, &err);
}

/* While space is low the WAL is kept short: copying it needs as much space again. */
static bool needs_checkpoint(const struct queue *queue)
{
	int pages = database_wal_pages(queue->keeper.database);

	return pages >= STOREKEEPER_WAL_PAGES || (pages > 0 && space_level(&queue->space) != SPACE_OK);
}

static bool anything_waits(struct storekeeper *keeper)
{
	bool waits = false;

	pthread_mutex_lock(&keeper->lock);
	for (int kind = 0; kind < REQUEST_KINDS; kind++)
		waits |= keeper->waiting[kind].first != NULL;
	waits |= keeper->stop;
	pthread_mutex_unlock(&keeper->lock);
	return waits;
}

static void vacuum(struct queue *queue)
{
	struct err err;

	while (!anything_waits(&queue->keeper) && database_has_slack(queue->keeper.database)) {
		if (database_vacuum_some(queue->keeper.database, &err))
			continue;
		if (err.code != ERR_LIMIT && err.code != ERR_UNAVAILABLE)
			storekeeper_fail(queue, &err);
		return;
	}
}

/* The room of a long WAL may be what is missing for new mail, or for the ballast that must be back before it. */
static void give_back_wal(struct queue *queue)
{
	struct err err;

	if (space_level(&queue->space) != SPACE_OK && !database_shrink_wal(queue->keeper.database, &err) && err.code != ERR_LIMIT)
		storekeeper_fail(queue, &err);
}

static void tick(struct queue *queue)
{
	struct storekeeper *keeper = &queue->keeper;
	struct err err;

	if (clock_monotonic_ms() < keeper->tick_ms)
		return;
	keeper->tick_ms = clock_monotonic_ms() + STOREKEEPER_TICK_MS;
	if (!space_measure(&queue->space, &err) || !database_number(keeper->database, S_OLDEST, 0, &keeper->oldest, &err)) {
		storekeeper_fail(queue, &err);
		return;
	}
	if (!keeper->worked) {
		vacuum(queue);
		if (database_wal_pages(keeper->database) > 0 && !storekeeper_has_failed(queue, NULL))
			checkpoint(queue);
		if (!storekeeper_has_failed(queue, NULL))
			give_back_wal(queue);
	}
	keeper->worked = false;
	wake_loop(keeper); /* the space may tell another health */
}

static void tell(struct queue *queue, struct request_list *finished)
{
	struct storekeeper *keeper = &queue->keeper;
	int64_t next_due = -1;
	struct err err;

	if (!storekeeper_has_failed(queue, NULL) && !claim_next_due(queue, &next_due, &err))
		storekeeper_fail(queue, &err);
	publish(keeper, finished, next_due, keeper->due);
	keeper->due = false;
}

static bool run_round(struct queue *queue)
{
	struct storekeeper *keeper = &queue->keeper;
	struct request_list finished = {0};
	struct work work;

	take_work(keeper, &work);
	run_group(queue, &work, &finished);
	run_claims(queue, &work.claims, &finished);
	tell(queue, &finished);
	if (!storekeeper_has_failed(queue, NULL)) {
		if (needs_checkpoint(queue))
			checkpoint(queue);
		tick(queue);
	}
	return !work.stop;
}

/* ---- the thread ---- */

static void announce_recovery(struct storekeeper *keeper, const struct err *err)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->bulletin.recovered = true;
	keeper->bulletin.tally = keeper->tally;
	keeper->bulletin.oldest = keeper->oldest;
	keeper->bulletin.recovery.code = ERR_NONE;
	if (err != NULL)
		keeper->bulletin.recovery = *err;
	pthread_mutex_unlock(&keeper->lock);
	wake_loop(keeper);
}

static void wait_for_stop(struct storekeeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	while (!keeper->stop)
		pthread_cond_wait(&keeper->wake, &keeper->lock);
	pthread_mutex_unlock(&keeper->lock);
}

/* Nothing is lost when the last checkpoint fails: the next start does it again and looks at the result. */
static void close_databases(struct queue *queue)
{
	struct storekeeper *keeper = &queue->keeper;
	struct err ignored;

	database_close(queue->read_database);
	database_close(queue->list_database);
	if (keeper->database != NULL && !storekeeper_has_failed(queue, NULL) &&
	    !database_checkpoint(keeper->database, true, &ignored))
		storekeeper_fail(queue, &ignored);
	database_close(keeper->database);
}

static void announce_stop(struct storekeeper *keeper)
{
	pthread_mutex_lock(&keeper->lock);
	keeper->bulletin.stopped = true;
	pthread_mutex_unlock(&keeper->lock);
	wake_loop(keeper);
}

static void *storekeeper_main(void *arg)
{
	struct queue *queue = arg;
	struct err err;

	if (recovery_run(queue, &err)) {
		announce_recovery(&queue->keeper, NULL);
		while (run_round(queue))
			;
	} else {
		announce_recovery(&queue->keeper, &err);
		wait_for_stop(&queue->keeper);
	}
	close_databases(queue);
	announce_stop(&queue->keeper);
	return NULL;
}

bool storekeeper_start(struct queue *queue, struct err *err)
{
	struct storekeeper *keeper = &queue->keeper;
	pthread_condattr_t attributes;
	int error;

	pthread_mutex_init(&keeper->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&keeper->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	keeper->leases = leases_new();
	error = pthread_create(&keeper->thread, NULL, storekeeper_main, queue);
	if (error != 0) {
		leases_free(keeper->leases);
		return err_set(err, ERR_SYSTEM, "thread of the store: %s", strerror(error));
	}
	return true;
}
