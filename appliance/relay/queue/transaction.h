/*
 * A running transaction of the storekeeper. Rows change in it at once; what is remembered in memory (counts, leases, files to
 * unlink) is collected here and takes effect only after COMMIT has succeeded. Storekeeper's thread.
 */
#ifndef INKAN_QUEUE_TRANSACTION_H
#define INKAN_QUEUE_TRANSACTION_H

#include "appliance/relay/queue/message.h"
#include "appliance/relay/queue/storekeeper.h"

struct transaction {
	struct queue *queue;
	struct storekeeper *keeper;
	struct database *database;
	struct tally delta;
	int64_t earliest_due; /* of recipients that became waiting; INT64_MAX none */
	uint64_t highest_deleted;
	struct buf released; /* uint64_t: recipients whose lease ends */
	struct buf files; /* uint64_t: body files to unlink */
};

/* message.c: the rows of one message. *inserted is false when this id is there already. */
bool transaction_insert_message(struct transaction *transaction, const struct message_copy *copy,
				const struct stored_part parts[static 2], bool *inserted, struct err *err) MUST_USE;

/* Deletes a recipient, and with the last one its message. */
bool transaction_delete_recipient(struct transaction *transaction, uint64_t recipient, uint64_t message,
				  struct err *err) MUST_USE;

/* The last change of a transaction: remembers the highest number that it deletes. */
bool transaction_record_highest(struct transaction *transaction, struct err *err) MUST_USE;

/* log.c: the delivery log's rows of a new message, and what a result makes of one. */
bool log_insert(struct transaction *transaction, const struct message_copy *copy, struct err *err) MUST_USE;
bool log_result(struct transaction *transaction, uint64_t message, const struct queue_result *result, struct err *err) MUST_USE;

/* events.c: one event of each recipient that a message came with, and of one whose state a result changes. */
bool events_insert_queued(struct transaction *transaction, const struct message_copy *copy, struct err *err) MUST_USE;
bool events_insert_result(struct transaction *transaction, uint64_t message, enum queue_log_status status,
			  const struct queue_result *result, struct err *err) MUST_USE;

void transaction_note_due(struct transaction *transaction, int64_t due);

/* The three kinds of requests that change rows. */
bool commit_apply(struct transaction *transaction, struct request *request, struct err *err) MUST_USE;
bool report_apply(struct transaction *transaction, struct request *request, struct err *err) MUST_USE;
bool set_apply(struct transaction *transaction, struct request *request, struct err *err) MUST_USE;

/* What every REQUEST_SET begins with: a change of many rows that goes slice by slice. */
struct sliced_request {
	struct request request;
	bool (*apply)(struct transaction *transaction, struct request *request, struct err *err); /* one slice */
	bool (*advance)(struct request *request); /* after COMMIT: false while it waits for its next slice */
};

void commit_set_result(struct request *request, enum queue_commit_result result);

#endif
