#include <stdlib.h>

#include "appliance/relay/queue/queue_private.h"

#define LIST_ROWS_MAX 1000 /* of one call */

struct list {
	struct queue *queue;
	struct queue_filter filter;
	uint64_t after;
	size_t limit;
	struct queue_row *rows;
	size_t count;
	struct err err;
	queue_list_cb *cb;
	void *arg;
};

/* Leases are not in the database: a row that waits may be on its way, one that is being deleted always is. */
static const char *state_name(struct queue *queue, uint64_t recipient, enum recipient_state state)
{
	if (state == STATE_DELETING || lease_is_held(queue->keeper.leases, recipient))
		return "leased";
	return state == STATE_HELD ? "held" : "waiting";
}

static void read_row(struct list *list, sqlite3_stmt *select, struct queue_row *row)
{
	*row = (struct queue_row){
	    .message = column_id(select, 0),
	    .recipient = column_id(select, 1),
	    .server = row_text(select, 2),
	    .sender = row_text(select, 3),
	    .address = row_text(select, 4),
	    .reply = row_text(select, 6),
	    .received = (int64_t)column_id(select, 7),
	    .due = (int64_t)column_id(select, 8),
	    .attempts = (uint32_t)column_id(select, 9),
	    .size = column_id(select, 10),
	    .rendering = (enum queue_rendering)column_id(select, 11),
	    .rule = row_text(select, 12),
	    .message_id = row_text(select, 13),
	    .expires = (int64_t)column_id(select, 14),
	};
	row->state = state_name(list->queue, row->recipient, (enum recipient_state)column_id(select, 5));
}

static void work_list(void *arg)
{
	struct list *list = arg;
	struct database *database = list->queue->read_database;
	enum statement which = list->filter.message != 0 ? S_LIST_MESSAGE : S_LIST_ALL;
	sqlite3_stmt *select = database_statement(database, which);
	bool row = true;

	bind_id(select, 1, list->after);
	bind_id(select, 2, list->limit);
	if (which == S_LIST_MESSAGE)
		bind_id(select, 3, list->filter.message);
	while (list->count < list->limit && database_step(database, select, &row, &list->err) && row)
		read_row(list, select, &list->rows[list->count++]);
	database_reset(select);
}

static void free_text(const char *text)
{
	free((void *)(uintptr_t)text);
}

static void done_list(void *arg)
{
	struct list *list = arg;
	struct queue *queue = list->queue;
	bool failed = list->err.code != ERR_NONE;

	list->cb(failed ? NULL : list->rows, failed ? 0 : list->count, failed ? &list->err : NULL, list->arg);
	for (size_t i = 0; i < list->count; i++) {
		free_text(list->rows[i].server);
		free_text(list->rows[i].sender);
		free_text(list->rows[i].address);
		free_text(list->rows[i].reply);
		free_text(list->rows[i].rule);
		free_text(list->rows[i].message_id);
	}
	free(list->rows);
	free(list);
	queue_release(queue);
}

void queue_list(struct queue *queue, const struct queue_filter *filter, uint64_t after_recipient, size_t limit, queue_list_cb *cb,
		void *arg)
{
	struct list *list = mem_new(sizeof *list);

	*list = (struct list){.queue = queue, .filter = *filter, .after = after_recipient, .cb = cb, .arg = arg};
	list->limit = limit < LIST_ROWS_MAX ? limit : LIST_ROWS_MAX;
	list->rows = mem_new_array(list->limit, sizeof *list->rows);
	queue_hold(queue);
	pool_submit(queue->reader, work_list, done_list, list);
}
