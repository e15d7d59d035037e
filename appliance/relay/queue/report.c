#include <stdlib.h>

#include "appliance/relay/queue/fault.h"
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

struct report {
	struct request request;
	uint64_t token;
	struct queue_result *results;
	char **texts; /* owned copies that `results` points to: a reply and a source address each */
	size_t n_results;
	size_t n_lost;
	struct message_copy notice;
	struct stored_part notice_parts[2];
	bool has_notice;
	void (*cb)(const struct err *err, void *arg);
	void *arg;
};

/* ---- storekeeper's thread ---- */

/* The lease of a result that still counts; it ends with the transaction. */
static struct lease *take_lease(struct transaction *transaction, const struct report *report, uint64_t recipient)
{
	struct lease *lease = lease_find(transaction->keeper->leases, recipient);

	if (lease == NULL || lease->token != report->token || lease->reported)
		return NULL;
	lease->reported = true;
	buf_put(&transaction->released, &recipient, sizeof recipient);
	transaction->delta.leased--;
	return lease;
}

static bool update_row(struct transaction *transaction, const struct queue_result *result, bool *row, enum recipient_state *state,
		       struct err *err)
{
	sqlite3_stmt *defer = database_statement(transaction->database, S_DEFER_RECIPIENT);
	bool deferred = result->kind == QUEUE_DEFERRED, ok;

	bind_id(defer, 1, result->recipient);
	if (deferred)
		bind_number(defer, 2, result->due);
	bind_text(defer, 3, result->reply);
	bind_number(defer, 4, deferred ? STATE_WAITING : STATE_HELD);
	bind_number(defer, 5, result->warned ? QUEUE_NOTIFY_WARNED : 0);
	ok = database_step(transaction->database, defer, row, err);
	if (ok && *row)
		*state = (enum recipient_state)column_id(defer, 0);
	if (!ok) {
		database_reset(defer);
		return false;
	}
	return database_run(transaction->database, defer, err);
}

/* Back to waiting, unless the operator held or deleted it meanwhile. */
static bool keep_recipient(struct transaction *transaction, const struct queue_result *result, uint64_t message, struct err *err)
{
	enum recipient_state state = STATE_WAITING;
	bool row;

	if (!update_row(transaction, result, &row, &state, err))
		return false;
	if (!row || state == STATE_DELETING)
		return transaction_delete_recipient(transaction, result->recipient, message, err);
	if (state == STATE_HELD) {
		transaction->delta.held++;
		return true;
	}
	transaction->delta.waiting++;
	transaction_note_due(transaction, result->due);
	return true;
}

static bool apply_result(struct transaction *transaction, struct report *report, const struct queue_result *result,
			 struct err *err)
{
	struct lease *lease = take_lease(transaction, report, result->recipient);

	if (lease == NULL) {
		report->n_lost++;
		return true;
	}
	if (!log_result(transaction, lease->message, result, err))
		return false;
	if (result->kind == QUEUE_DELIVERED || result->kind == QUEUE_PERMANENT)
		return transaction_delete_recipient(transaction, result->recipient, lease->message, err);
	return keep_recipient(transaction, result, lease->message, err);
}

bool report_apply(struct transaction *transaction, struct request *request, struct err *err)
{
	struct report *report = (struct report *)request;
	bool inserted;

	report->n_lost = 0;
	for (size_t i = 0; i < report->n_results; i++)
		if (!apply_result(transaction, report, &report->results[i], err))
			return false;
	(void)fault_point("report.before-notice");
	if (!report->has_notice || (report->n_results > 0 && report->n_lost == report->n_results))
		return true;
	return transaction_insert_message(transaction, &report->notice, report->notice_parts, &inserted, err);
}

/* ---- the loop's side ---- */

static void report_free(struct report *report)
{
	for (size_t i = 0; i < report->n_results; i++) {
		free(report->texts[2 * i]);
		free(report->texts[2 * i + 1]);
	}
	free(report->texts);
	free(report->results);
	message_copy_clear(&report->notice);
	free((void *)(uintptr_t)report->notice_parts[0].data.data);
	free(report);
}

static void finish_report(struct queue *queue, struct request *request)
{
	struct report *report = (struct report *)request;

	(void)queue;
	if (request->err.code == ERR_NONE && report->n_lost > 0)
		err_set(&request->err, ERR_NOT_FOUND, "%zu of %zu results were lost: their lease is over", report->n_lost,
			report->n_results);
	if (report->cb != NULL)
		report->cb(request_err(request), report->arg);
	report_free(report);
}

static char *copy_text(const char *text)
{
	return text != NULL ? mem_string(text) : NULL;
}

static void copy_results(struct report *report, const struct queue_result *results, size_t n_results)
{
	report->n_results = n_results;
	report->results = mem_new_array(n_results, sizeof *report->results);
	report->texts = mem_new_array(2 * n_results, sizeof *report->texts);
	for (size_t i = 0; i < n_results; i++) {
		report->texts[2 * i] = copy_text(results[i].reply);
		report->texts[2 * i + 1] = copy_text(results[i].source_ip);
		report->results[i] = results[i];
		report->results[i].reply = report->texts[2 * i];
		report->results[i].source_ip = report->texts[2 * i + 1];
	}
}

static void copy_notice(struct report *report, struct queue *queue, const struct queue_notice *notice)
{
	struct stored_part *part = &report->notice_parts[0];

	report->has_notice = true;
	message_copy_init(&report->notice, queue, &notice->message, &notice->recipient, 1);
	*part = (struct stored_part){.number = queue_new_id(queue), .size = notice->body.len};
	part->data = bytes_of(mem_copy(notice->body.data, notice->body.len), notice->body.len);
	digest_of(part->data, part->digest);
}

void queue_report(struct queue *queue, uint64_t token, const struct queue_result *results, size_t n_results,
		  const struct queue_notice *notice, void (*cb)(const struct err *err, void *arg), void *arg)
{
	struct report *report = mem_new(sizeof *report);

	report->request.finish = finish_report;
	report->request.weight = n_results;
	report->token = token;
	report->cb = cb;
	report->arg = arg;
	copy_results(report, results, n_results);
	if (notice != NULL)
		copy_notice(report, queue, notice);
	queue_submit(queue, REQUEST_REPORT, &report->request);
}
