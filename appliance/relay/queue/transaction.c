#include "appliance/relay/queue/transaction.h"

#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/fault.h"
#include "appliance/relay/queue/queue_private.h"

enum outcome {
	DONE,
	FULL, /* rolled back; may succeed later */
	BUSY, /* not begun: another program holds the database */
	FAILED, /* rolled back; the store must not be used again */
	UNKNOWN /* COMMIT failed: a restart may find the transaction done */
};

typedef bool apply_request(struct transaction *transaction, struct request *request, struct err *err);

void transaction_note_due(struct transaction *transaction, int64_t due)
{
	if (due < transaction->earliest_due)
		transaction->earliest_due = due;
}

/* ---- effects in memory ---- */

static void transaction_reset(struct transaction *transaction)
{
	transaction->delta = (struct tally){0};
	transaction->earliest_due = INT64_MAX;
	transaction->highest_deleted = 0;
	buf_reset(&transaction->released);
	buf_reset(&transaction->files);
}

static size_t count_numbers(const struct buf *numbers)
{
	return numbers->len / sizeof(uint64_t);
}

static uint64_t number_at(const struct buf *numbers, size_t i)
{
	uint64_t number;

	memcpy(&number, numbers->data + i * sizeof number, sizeof number);
	return number;
}

static void forget_effects(struct transaction *transaction)
{
	for (size_t i = 0; i < count_numbers(&transaction->released); i++) {
		struct lease *lease = lease_find(transaction->keeper->leases, number_at(&transaction->released, i));

		if (lease != NULL)
			lease->reported = false;
	}
	transaction_reset(transaction);
}

static void take_effect(struct transaction *transaction)
{
	struct storekeeper *keeper = transaction->keeper;

	keeper->tally.messages += transaction->delta.messages;
	keeper->tally.waiting += transaction->delta.waiting;
	keeper->tally.leased += transaction->delta.leased;
	keeper->tally.held += transaction->delta.held;
	for (size_t i = 0; i < count_numbers(&transaction->released); i++)
		lease_end(keeper->leases, number_at(&transaction->released, i));
	if (transaction->earliest_due != INT64_MAX)
		claim_note_due(keeper, transaction->earliest_due);
	if (transaction->highest_deleted > keeper->recorded_highest)
		keeper->recorded_highest = transaction->highest_deleted;
	keeper->due |= transaction->earliest_due <= clock_wall_ms();
	keeper->worked = true;
	keeper->transactions++;
	buf_put_bytes(&keeper->files_to_remove, buf_bytes(&transaction->files));
	transaction_reset(transaction);
}

/* ---- running ---- */

static void roll_back(struct transaction *transaction)
{
	struct err ignored;

	if (database_in_transaction(transaction->database) && !database_run_plain(transaction->database, S_ROLLBACK, &ignored))
		return; /* SQLite has rolled back by itself */
}

static enum outcome outcome_of(const struct err *err)
{
	switch (err->code) {
	case ERR_LIMIT:
		return FULL;
	case ERR_UNAVAILABLE:
		return BUSY;
	default:
		return FAILED;
	}
}

static bool apply_list(struct transaction *transaction, const struct request_list *list, apply_request *apply, struct err *err)
{
	for (struct request *request = list != NULL ? list->first : NULL; request != NULL; request = request->next)
		if (!apply(transaction, request, err))
			return false;
	return true;
}

bool set_apply(struct transaction *transaction, struct request *request, struct err *err)
{
	return ((struct sliced_request *)request)->apply(transaction, request, err);
}

bool transaction_record_highest(struct transaction *transaction, struct err *err)
{
	sqlite3_stmt *record = database_statement(transaction->database, S_RECORD_HIGHEST);

	if (transaction->highest_deleted <= transaction->keeper->recorded_highest)
		return true;
	bind_id(record, 1, transaction->highest_deleted);
	return database_run(transaction->database, record, err);
}

static bool change_rows(struct transaction *transaction, const struct request_list *commits, const struct request_list *reports,
			const struct request_list *sets, struct err *err)
{
	return apply_list(transaction, commits, commit_apply, err) && apply_list(transaction, reports, report_apply, err) &&
	       apply_list(transaction, sets, set_apply, err) && transaction_record_highest(transaction, err);
}

static bool commit_rows(struct transaction *transaction, struct err *err)
{
	int error = fault_point("commit.commit");

	if (error != 0)
		return err_set(err, ERR_SYSTEM, "queue.db: injected error %d", error);
	return database_run_plain(transaction->database, S_COMMIT, err);
}

static enum outcome attempt(struct transaction *transaction, const struct request_list *commits,
			    const struct request_list *reports, const struct request_list *sets, struct err *err)
{
	enum outcome outcome;

	(void)fault_point("commit.before-row");
	if (!database_run_plain(transaction->database, S_BEGIN, err))
		return outcome_of(err);
	if (change_rows(transaction, commits, reports, sets, err)) {
		(void)fault_point("commit.before-commit");
		if (commit_rows(transaction, err)) {
			(void)fault_point("commit.after-commit");
			take_effect(transaction);
			return DONE;
		}
		outcome = outcome_of(err) == FAILED ? UNKNOWN : outcome_of(err);
	} else {
		outcome = outcome_of(err);
	}
	roll_back(transaction);
	forget_effects(transaction);
	return outcome;
}

/* ---- answering ---- */

static void answer(struct request_list *list, const struct err *err, struct request_list *finished)
{
	for (struct request *request = list->first; request != NULL; request = request->next)
		if (err != NULL)
			request->err = *err;
	request_list_append(finished, list);
}

static void answer_commits(struct request_list *commits, enum outcome outcome, const struct err *err,
			   struct request_list *finished)
{
	static const enum queue_commit_result results[] = {
	    [FULL] = QUEUE_COMMIT_FULL,
	    [BUSY] = QUEUE_COMMIT_FAILED,
	    [FAILED] = QUEUE_COMMIT_FAILED,
	    [UNKNOWN] = QUEUE_COMMIT_UNKNOWN,
	};

	for (struct request *request = commits->first; request != NULL && outcome != DONE; request = request->next)
		commit_set_result(request, results[outcome]);
	answer(commits, err, finished);
}

/* A set of many rows goes on with its next slice in the next group. */
static void answer_sets(struct request_list *sets, struct request_list *finished)
{
	struct request_list unfinished = {0};
	struct request *request;

	while ((request = request_list_take(sets)) != NULL)
		request_list_add(((struct sliced_request *)request)->advance(request) ? finished : &unfinished, request);
	*sets = unfinished;
}

static void answer_all(struct request_list *commits, struct request_list *reports, struct request_list *sets,
		       enum outcome outcome, const struct err *err, struct request_list *finished)
{
	answer_commits(commits, outcome, err, finished);
	answer(reports, err, finished);
	answer(sets, err, finished);
}

void transaction_refuse_group(struct request_list *commits, struct request_list *reports, struct request_list *sets,
			      const struct err *err, struct request_list *finished)
{
	answer_all(commits, reports, sets, FAILED, err, finished);
}

/*
 * New mail can be refused, results cannot: they are tried again without the mail, once after the ballast is gone, and then
 * with every later group, so that a full disk repeats no delivery.
 */
static enum outcome run_without_commits(struct transaction *transaction, struct request_list *reports, struct request_list *sets,
					struct err *err)
{
	enum outcome outcome;

	if (reports->count + sets->count == 0)
		return DONE;
	outcome = attempt(transaction, NULL, reports, sets, err);
	if (outcome != FULL)
		return outcome;
	space_release_ballast(&transaction->queue->space);
	return attempt(transaction, NULL, reports, sets, err);
}

static enum outcome attempt_group(struct transaction *transaction, const struct request_list *commits,
				  const struct request_list *reports, const struct request_list *sets, struct err *err)
{
	if (commits->count > 0 && transaction->keeper->starved) {
		err_set(err, ERR_LIMIT, "queue.db: no room to copy the log");
		return FULL;
	}
	return attempt(transaction, commits, reports, sets, err);
}

bool transaction_run_group(struct queue *queue, struct request_list *commits, struct request_list *reports,
			   struct request_list *sets, struct request_list *finished, struct err *err)
{
	struct transaction transaction = {.queue = queue, .keeper = &queue->keeper, .database = queue->keeper.database};
	enum outcome outcome;

	transaction_reset(&transaction);
	outcome = attempt_group(&transaction, commits, reports, sets, err);
	if (outcome == FULL || outcome == BUSY) {
		answer_commits(commits, outcome, err, finished);
		outcome = run_without_commits(&transaction, reports, sets, err);
	}
	if (outcome == DONE) {
		answer_commits(commits, DONE, NULL, finished);
		answer(reports, NULL, finished);
		answer_sets(sets, finished);
	} else if (outcome == FAILED || outcome == UNKNOWN) {
		storekeeper_fail(queue, err);
		answer_all(commits, reports, sets, outcome, err, finished);
	}
	buf_clear(&transaction.released);
	buf_clear(&transaction.files);
	return outcome != FULL && outcome != BUSY;
}
