#include <stdlib.h>

#include "appliance/relay/queue/body.h"
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

struct commit {
	struct request request;
	struct queue *queue;
	struct message_copy copy;
	struct queue_body *bodies[2]; /* original, encoded; NULL none */
	enum queue_commit_result result;
	bool inserted; /* false: the message was there already, these bodies are superfluous */
	bool store_failed;
	queue_commit_cb *cb;
	void *arg;
};

/* ---- storekeeper's thread ---- */

bool commit_apply(struct transaction *transaction, struct request *request, struct err *err)
{
	struct commit *commit = (struct commit *)request;
	struct stored_part parts[2] = {{0}};

	for (int i = 0; i < 2; i++)
		if (commit->bodies[i] != NULL)
			body_describe(commit->bodies[i], &parts[i]);
	return transaction_insert_message(transaction, &commit->copy, parts, &commit->inserted, err);
}

void commit_set_result(struct request *request, enum queue_commit_result result)
{
	((struct commit *)request)->result = result;
}

/* ---- sync thread ---- */

static void work_store(void *arg)
{
	struct commit *commit = arg;

	for (int i = 0; i < 2; i++)
		if (commit->bodies[i] != NULL && body_is_file(commit->bodies[i]) &&
		    !body_store(commit->bodies[i], &commit->store_failed, &commit->request.err))
			return;
}

/* ---- the loop's side ---- */

/* When the outcome is unknown a restart may find the rows, so their files must stay; else the sweep takes them. */
static bool keeps_files(const struct commit *commit)
{
	return (commit->result == QUEUE_STORED && commit->inserted) || commit->result == QUEUE_COMMIT_UNKNOWN;
}

/* Only whole: its delivery needs all of it. */
static void keep_recent(struct recent *recent, struct commit *commit)
{
	struct recent_message message = {.id = commit->copy.message.id};

	if (recent->limit == 0 || commit->result != QUEUE_STORED || !commit->inserted)
		return;
	for (int i = 0; i < RECENT_PARTS; i++)
		if (commit->bodies[i] != NULL && body_is_file(commit->bodies[i]))
			return;
	for (int i = 0; i < RECENT_PARTS; i++) {
		if (commit->bodies[i] == NULL)
			continue;
		message.numbers[i] = body_number(commit->bodies[i]);
		body_take_data(commit->bodies[i], &message.parts[i]);
	}
	recent_keep(recent, &message);
}

static void finish_commit(struct queue *queue, struct request *request)
{
	struct commit *commit = (struct commit *)request;

	keep_recent(&queue->recent, commit);
	for (int i = 0; i < 2; i++)
		body_end(commit->bodies[i], keeps_files(commit));
	commit->cb(commit->result, request_err(request), commit->arg);
	message_copy_clear(&commit->copy);
	free(commit);
}

static void done_store(void *arg)
{
	struct commit *commit = arg;
	struct queue *queue = commit->queue;
	const struct err *err = &commit->request.err;

	if (err->code == ERR_NONE) {
		storekeeper_submit(queue, REQUEST_COMMIT, &commit->request);
		return;
	}
	commit->result = err->code == ERR_LIMIT ? QUEUE_COMMIT_FULL : QUEUE_COMMIT_FAILED;
	if (commit->store_failed)
		storekeeper_fail(queue, err);
	else if (err->code != ERR_LIMIT)
		queue_note_body_failure(queue, err);
	storekeeper_finish(queue, &commit->request);
}

/* Why a commit is refused before anything is tried. */
static bool check(struct queue *queue, struct commit *commit)
{
	struct err *err = &commit->request.err;

	commit->result = QUEUE_COMMIT_FAILED;
	if (storekeeper_has_failed(queue, err))
		return false;
	if (commit->copy.n_recipients == 0)
		return err_set(err, ERR_INVALID, "a message without recipients");
	for (int i = 0; i < 2; i++)
		if (commit->bodies[i] != NULL && !body_is_sealed(commit->bodies[i]))
			return err_set(err, ERR_INVALID, "a body that is not sealed");
	if (!space_admits(&queue->space, 0)) {
		commit->result = QUEUE_COMMIT_FULL;
		return err_set(err, ERR_LIMIT, "too little free space for the queue");
	}
	commit->result = QUEUE_STORED;
	return true;
}

static bool has_file(const struct commit *commit)
{
	return (commit->bodies[0] != NULL && body_is_file(commit->bodies[0])) ||
	       (commit->bodies[1] != NULL && body_is_file(commit->bodies[1]));
}

void queue_commit(struct queue *queue, const struct queue_message *message, const struct queue_recipient *recipients,
		  size_t n_recipients, struct queue_body *original, struct queue_body *encoded, queue_commit_cb *cb, void *arg)
{
	struct commit *commit = mem_new(sizeof *commit);

	*commit = (struct commit){.queue = queue, .bodies = {original, encoded}, .cb = cb, .arg = arg};
	commit->request.finish = finish_commit;
	message_copy_init(&commit->copy, queue, message, recipients, n_recipients);
	for (int i = 0; i < 2; i++)
		if (commit->bodies[i] != NULL && !body_is_file(commit->bodies[i]))
			commit->request.weight += (size_t)queue_body_size(commit->bodies[i]);
	queue_hold(queue);
	if (!check(queue, commit))
		storekeeper_finish(queue, &commit->request);
	else if (has_file(commit))
		pool_submit(queue->sync, work_store, done_store, commit);
	else
		storekeeper_submit(queue, REQUEST_COMMIT, &commit->request);
}
