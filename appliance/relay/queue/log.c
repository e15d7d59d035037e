/* The delivery log: rows that come with a message, change with its results, and stay until they are pruned. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

#define LIST_ROWS_MAX 1000
#define PRUNE_MESSAGES 64 /* of one slice */
#define PRUNE_LOOKS 1024 /* rows that a slice looks at: most may be of other servers */
#define PRUNE_EVENTS 256

/* ---- writing: storekeeper's thread ---- */

static const char *text_of(const char *text)
{
	return text != NULL ? text : "";
}

static bool insert_message(struct transaction *transaction, const struct queue_message *message, struct err *err)
{
	sqlite3_stmt *insert = database_statement(transaction->database, S_LOG_MESSAGE);

	bind_id(insert, 1, message->id);
	bind_text(insert, 2, message->server);
	bind_text(insert, 3, message->sender);
	bind_text(insert, 4, text_of(message->header_from));
	bind_text(insert, 5, message->message_id);
	bind_text(insert, 6, text_of(message->subject));
	bind_text(insert, 7, text_of(message->sender_ip));
	bind_text(insert, 8, message->api_data);
	return database_run(transaction->database, insert, err);
}

bool log_insert(struct transaction *transaction, const struct message_copy *copy, struct err *err)
{
	sqlite3_stmt *insert = database_statement(transaction->database, S_LOG_RECIPIENT);

	if (!insert_message(transaction, &copy->message, err))
		return false;
	for (size_t i = 0; i < copy->n_recipients; i++) {
		bind_id(insert, 1, copy->message.id);
		bind_id(insert, 2, copy->recipient_ids[i]);
		bind_text(insert, 3, copy->recipients[i].address);
		bind_number(insert, 4, copy->recipients[i].rendering);
		bind_text(insert, 5, copy->recipients[i].rule);
		bind_number(insert, 6, copy->due);
		if (!database_run(transaction->database, insert, err))
			return false;
	}
	return events_insert_queued(transaction, copy, err);
}

bool log_result(struct transaction *transaction, uint64_t message, const struct queue_result *result, struct err *err)
{
	static const enum queue_log_status statuses[] = {[QUEUE_DELIVERED] = QUEUE_LOG_SUCCEEDED,
							 [QUEUE_DEFERRED] = QUEUE_LOG_DEFERRED,
							 [QUEUE_PERMANENT] = QUEUE_LOG_FAILED,
							 [QUEUE_DAMAGED] = QUEUE_LOG_DEFERRED};
	sqlite3_stmt *update = database_statement(transaction->database, S_LOG_RESULT);

	bind_id(update, 1, message);
	bind_id(update, 2, result->recipient);
	bind_number(update, 3, statuses[result->kind]);
	bind_number(update, 4, clock_wall_ms());
	bind_text(update, 5, result->reply);
	bind_text(update, 6, result->source_ip);
	return database_run(transaction->database, update, err) &&
	       events_insert_result(transaction, message, statuses[result->kind], result, err);
}

/* ---- pruning ---- */

struct prune {
	struct sliced_request sliced;
	char *server; /* NULL: any */
	uint64_t before; /* id */
	uint64_t pruned, next_pruned; /* as of the last COMMIT; when the running transaction commits */
	uint64_t after, next_after; /* rows up to here were looked at */
	bool next_last;
	queue_pruned_cb *cb;
	void *arg;
};

static bool is_meant(const struct prune *prune, sqlite3_stmt *select)
{
	const char *server = (const char *)sqlite3_column_text(select, 1);

	return prune->server == NULL || (server != NULL && strcmp(server, prune->server) == 0);
}

/* *last: nothing old is left behind what was looked at. */
static bool read_old(struct transaction *transaction, struct prune *prune, uint64_t ids[static PRUNE_MESSAGES], size_t *count,
		     bool *last, struct err *err)
{
	sqlite3_stmt *select = database_statement(transaction->database, S_LOG_OLD);
	size_t looks = 0;
	bool row = true, ok = true;

	*count = 0;
	prune->next_after = prune->after;
	bind_id(select, 1, prune->after);
	bind_id(select, 2, prune->before);
	bind_number(select, 3, PRUNE_LOOKS);
	while (*count < PRUNE_MESSAGES && (ok = database_step(transaction->database, select, &row, err)) && row) {
		looks++;
		prune->next_after = column_id(select, 0);
		if (is_meant(prune, select))
			ids[(*count)++] = prune->next_after;
	}
	database_reset(select);
	*last = !row && looks < PRUNE_LOOKS;
	return ok;
}

static bool prune_events(struct transaction *transaction, const struct prune *prune, int64_t *count, struct err *err)
{
	enum statement which = prune->server != NULL ? S_EVENT_PRUNE_SERVER : S_EVENT_PRUNE;
	sqlite3_stmt *remove = database_statement(transaction->database, which);
	bool ran;

	bind_id(remove, 1, prune->before);
	bind_number(remove, 2, PRUNE_EVENTS);
	if (prune->server != NULL)
		bind_text(remove, 3, prune->server);
	ran = database_run(transaction->database, remove, err);
	*count = ran ? database_changes(transaction->database) : 0;
	return ran;
}

static bool apply_prune(struct transaction *transaction, struct request *request, struct err *err)
{
	static const enum statement deletions[] = {S_LOG_DELETE_RECIPIENTS, S_LOG_DELETE_MESSAGE};
	struct prune *prune = (struct prune *)request;
	uint64_t ids[PRUNE_MESSAGES];
	int64_t events;
	size_t count;
	bool last;

	if (!prune_events(transaction, prune, &events, err) || !read_old(transaction, prune, ids, &count, &last, err))
		return false;
	for (size_t i = 0; i < 2 * count; i++) {
		sqlite3_stmt *remove = database_statement(transaction->database, deletions[i % 2]);

		bind_id(remove, 1, ids[i / 2]);
		if (!database_run(transaction->database, remove, err))
			return false;
	}
	prune->next_pruned = prune->pruned + count;
	prune->next_last = last && events < PRUNE_EVENTS;
	return true;
}

static bool advance_prune(struct request *request)
{
	struct prune *prune = (struct prune *)request;

	prune->pruned = prune->next_pruned;
	prune->after = prune->next_after;
	return prune->next_last;
}

static void finish_prune(struct queue *queue, struct request *request)
{
	struct prune *prune = (struct prune *)request;

	(void)queue;
	prune->cb(prune->pruned, request_err(request), prune->arg);
	free(prune->server);
	free(prune);
}

void queue_log_prune(struct queue *queue, const char *server, int64_t before, queue_pruned_cb *cb, void *arg)
{
	struct prune *prune = mem_new(sizeof *prune);

	*prune = (struct prune){.before = ids_at(before), .cb = cb, .arg = arg};
	prune->sliced = (struct sliced_request){.request.finish = finish_prune, .apply = apply_prune, .advance = advance_prune};
	prune->server = server != NULL ? mem_string(server) : NULL;
	queue_submit(queue, REQUEST_SET, &prune->sliced.request);
}

/* ---- reading: the reader's thread ---- */

struct list {
	struct queue *queue;
	struct queue_log_filter filter;
	char *server, *sender, *from, *to;
	uint64_t before_message, before_recipient;
	size_t limit;
	struct queue_log_row *rows;
	size_t count;
	struct err err;
	queue_log_cb *cb;
	void *arg;
};

static enum statement statement_for(const struct list *list)
{
	if (list->filter.message != 0)
		return S_LOG_LIST_ID;
	if (list->to != NULL)
		return S_LOG_LIST_TO;
	return list->from != NULL ? S_LOG_LIST_FROM : S_LOG_LIST;
}

static void bind_filter(const struct list *list, sqlite3_stmt *select, bool by_id)
{
	bind_id(select, 1, list->before_message);
	bind_id(select, 2, list->before_recipient);
	bind_id(select, 3, list->limit);
	if (by_id)
		bind_id(select, 4, list->filter.message);
	bind_text(select, 5, list->server);
	bind_text(select, 6, list->sender);
	if (list->filter.status != QUEUE_LOG_ANY)
		bind_number(select, 7, list->filter.status);
	bind_id(select, 8, list->filter.since > 0 ? ids_at(list->filter.since) : 0);
	bind_text(select, 9, list->to);
	bind_text(select, 10, list->from);
}

static char *text_column(sqlite3_stmt *select, int at)
{
	char *text = row_text(select, at);

	return text != NULL ? text : mem_string("");
}

static void read_row(sqlite3_stmt *select, struct queue_log_row *row)
{
	*row = (struct queue_log_row){
	    .message = column_id(select, 0),
	    .recipient = column_id(select, 1),
	    .server = text_column(select, 2),
	    .sender = text_column(select, 3),
	    .from = text_column(select, 4),
	    .address = text_column(select, 5),
	    .status = (enum queue_log_status)column_id(select, 6),
	    .updated = (int64_t)column_id(select, 7),
	    .reason = text_column(select, 8),
	    .rendering = (enum queue_rendering)column_id(select, 9),
	    .rule = text_column(select, 10),
	    .message_id = text_column(select, 11),
	    .subject = text_column(select, 12),
	    .sender_ip = text_column(select, 13),
	    .source_ip = text_column(select, 14),
	    .api_data = row_text(select, 15),
	};
	row->created = ids_time(row->message);
}

static void work_list(void *arg)
{
	struct list *list = arg;
	struct database *database = list->queue->read_database;
	enum statement which = statement_for(list);
	sqlite3_stmt *select = database_statement(database, which);
	bool row = true;

	bind_filter(list, select, which == S_LOG_LIST_ID);
	while (list->count < list->limit && database_step(database, select, &row, &list->err) && row)
		read_row(select, &list->rows[list->count++]);
	database_reset(select);
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

static void clear_row(struct queue_log_row *row)
{
	const char *const texts[] = {row->server,     row->sender,  row->from,	    row->address,   row->reason,  row->rule,
				     row->message_id, row->subject, row->sender_ip, row->source_ip, row->api_data};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free_text(texts[i]);
}

static void done_list(void *arg)
{
	struct list *list = arg;
	struct queue *queue = list->queue;
	bool failed = list->err.code != ERR_NONE;

	list->cb(failed ? NULL : list->rows, failed ? 0 : list->count, failed ? &list->err : NULL, list->arg);
	for (size_t i = 0; i < list->count; i++)
		clear_row(&list->rows[i]);
	free(list->rows);
	free(list->server);
	free(list->sender);
	free(list->from);
	free(list->to);
	free(list);
	queue_release(queue);
}

static char *copy_text(const char *text)
{
	return text != NULL ? mem_string(text) : NULL;
}

void queue_log_list(struct queue *queue, const struct queue_log_filter *filter, uint64_t before_message,
		    uint64_t before_recipient, size_t limit, queue_log_cb *cb, void *arg)
{
	struct list *list = mem_new(sizeof *list);

	*list = (struct list){.queue = queue,
			      .filter = *filter,
			      .server = copy_text(filter->server),
			      .sender = copy_text(filter->sender),
			      .from = copy_text(filter->from),
			      .to = copy_text(filter->to),
			      .before_message = before_message,
			      .before_recipient = before_recipient,
			      .cb = cb,
			      .arg = arg};
	if (before_message == 0)
		list->before_message = filter->until > 0 ? ids_at(filter->until) : INT64_MAX;
	list->limit = limit < LIST_ROWS_MAX ? limit : LIST_ROWS_MAX;
	list->rows = mem_new_array(list->limit, sizeof *list->rows);
	queue_hold(queue);
	pool_submit(queue->reader, work_list, done_list, list);
}
