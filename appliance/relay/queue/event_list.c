/* Events on their way out: the lister's thread. */
#include <stdlib.h>

#include "appliance/relay/queue/events.h"
#include "appliance/relay/queue/queue_private.h"

#define DAYS_MAX 400 /* of one call */

struct listing {
	struct queue *queue;
	struct event_filter filter;
	char *name; /* of a receiver, or NULL */
	char *server, *from, *to, *api_data;
	size_t bound;
	struct event_gap gap;
	bool has_place;
	struct event_row *rows;
	size_t count;
	struct err err;
	event_list_cb *list_cb;
	event_next_cb *next_cb;
	void *arg;
};

static bool has_text(const struct event_filter *filter)
{
	return filter->from != NULL || filter->to != NULL || filter->api_data != NULL;
}

static enum statement statement_for(const struct listing *listing)
{
	enum queue_log_status status = listing->filter.status;
	bool trouble = status == QUEUE_LOG_FAILED || status == QUEUE_LOG_DEFERRED;

	if (has_text(&listing->filter) ||
	    listing->name != NULL) /* a page whose rows were all pruned would end a receiver's way */
		return trouble ? S_EVENT_FIND_TROUBLE : S_EVENT_FIND;
	return trouble ? S_EVENT_PAGE_TROUBLE : S_EVENT_PAGE;
}

static void bind_filter(const struct listing *listing, sqlite3_stmt *select, enum statement which)
{
	const struct event_filter *filter = &listing->filter;
	uint64_t first = filter->since > 0 ? ids_at(filter->since) : 0;

	bind_text(select, 1, listing->server);
	bind_id(select, 2, first > filter->after ? first : filter->after + 1);
	bind_id(select, 3, filter->until > 0 ? ids_at(filter->until) : INT64_MAX);
	if (filter->status != QUEUE_LOG_ANY)
		bind_number(select, 4, filter->status);
	bind_id(select, 5, filter->limit);
	bind_id(select, 6, filter->skip);
	if (which == S_EVENT_FIND || which == S_EVENT_FIND_TROUBLE) {
		bind_text(select, 7, listing->from);
		bind_text(select, 8, listing->to);
		bind_text(select, 9, listing->api_data);
		bind_number(select, 10, listing->filter.from_whole);
		bind_number(select, 11, listing->filter.to_whole);
	}
}

static char *text_column(sqlite3_stmt *select, int at)
{
	char *text = row_text(select, at);

	return text != NULL ? text : mem_string("");
}

static void read_row(sqlite3_stmt *select, struct event_row *row)
{
	*row = (struct event_row){
	    .id = column_id(select, 0),
	    .status = (enum queue_log_status)column_id(select, 1),
	    .return_path = text_column(select, 2),
	    .from = text_column(select, 3),
	    .to = text_column(select, 4),
	    .message_id = text_column(select, 5),
	    .reason = text_column(select, 6),
	    .client_ip = text_column(select, 7),
	    .source_ip = text_column(select, 8),
	    .subject = text_column(select, 9),
	    .api_data = text_column(select, 10),
	};
	row->created = ids_time(row->id);
}

static void clear_row(struct event_row *row)
{
	const char *const texts[] = {row->return_path, row->from,      row->to,	     row->message_id, row->reason,
				     row->client_ip,   row->source_ip, row->subject, row->api_data};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free((void *)(uintptr_t)texts[i]);
}

static void read_rows(struct listing *listing, struct database *database)
{
	enum statement which = statement_for(listing);
	sqlite3_stmt *select = database_statement(database, which);
	bool row = true;

	bind_filter(listing, select, which);
	while (listing->count < listing->filter.limit && database_step(database, select, &row, &listing->err) && row)
		read_row(select, &listing->rows[listing->count++]);
	database_reset(select);
}

static void work_list(void *arg)
{
	struct listing *listing = arg;
	struct database *database = listing->queue->list_database;

	database_set_deadline(database, EVENTS_LIST_MS);
	read_rows(listing, database);
	database_set_deadline(database, 0);
}

/* ---- what comes next for a receiver ---- */

static bool read_place(struct listing *listing, struct database *database)
{
	sqlite3_stmt *select = database_statement(database, S_WEBHOOK_CURSOR);
	bool row = false, ok;

	bind_text(select, 1, listing->name);
	ok = database_step(database, select, &row, &listing->err);
	if (ok && row)
		listing->filter.after = column_id(select, 0);
	listing->has_place = row;
	database_reset(select);
	return ok;
}

static bool find_gap(struct listing *listing, struct database *database)
{
	sqlite3_stmt *select = database_statement(database, S_EVENT_BACKLOG);
	bool row = false, ok;

	bind_text(select, 1, listing->server);
	bind_id(select, 2, listing->filter.after);
	bind_id(select, 3, listing->bound);
	ok = database_step(database, select, &row, &listing->err);
	if (ok && row)
		listing->gap.until = column_id(select, 0);
	database_reset(select);
	return ok;
}

static bool pass_over(struct listing *listing, struct database *database)
{
	sqlite3_stmt *select = database_statement(database, S_EVENT_GAP);
	bool row = false, ok;

	if (!find_gap(listing, database))
		return false;
	if (listing->gap.until == 0)
		return true;
	bind_text(select, 1, listing->server);
	bind_id(select, 2, listing->filter.after);
	bind_id(select, 3, listing->gap.until);
	ok = database_step(database, select, &row, &listing->err);
	if (ok && row)
		listing->gap.skipped = column_id(select, 0);
	database_reset(select);
	listing->filter.after = listing->gap.until;
	return ok;
}

static void work_next(void *arg)
{
	struct listing *listing = arg;
	struct database *database = listing->queue->list_database;

	database_set_deadline(database, EVENTS_LIST_MS);
	if (read_place(listing, database) && listing->has_place && pass_over(listing, database))
		read_rows(listing, database);
	database_set_deadline(database, 0);
}

/* ---- calling back ---- */

static void call_back(const struct listing *listing)
{
	bool failed = listing->err.code != ERR_NONE;
	const struct event_row *rows = failed ? NULL : listing->rows;
	const struct err *err = failed ? &listing->err : NULL;
	size_t count = failed ? 0 : listing->count;

	if (listing->name != NULL)
		listing->next_cb(rows, count, listing->gap.until != 0 ? &listing->gap : NULL, err, listing->arg);
	else
		listing->list_cb(rows, count, err, listing->arg);
}

static void done_list(void *arg)
{
	struct listing *listing = arg;
	struct queue *queue = listing->queue;

	call_back(listing);
	for (size_t i = 0; i < listing->count; i++)
		clear_row(&listing->rows[i]);
	free(listing->rows);
	free(listing->name);
	free(listing->server);
	free(listing->from);
	free(listing->to);
	free(listing->api_data);
	free(listing);
	queue_release(queue);
}

static char *copy_text(const char *text)
{
	return text != NULL ? mem_string(text) : NULL;
}

static void submit(struct queue *queue, struct listing *listing, const struct event_filter *filter, pool_work *work)
{
	listing->queue = queue;
	listing->filter = *filter;
	listing->server = mem_string(filter->server);
	listing->from = copy_text(filter->from);
	listing->to = copy_text(filter->to);
	listing->api_data = copy_text(filter->api_data);
	if (filter->limit > EVENTS_LIST_MAX)
		listing->filter.limit = EVENTS_LIST_MAX;
	listing->rows = mem_new_array(listing->filter.limit, sizeof *listing->rows);
	queue_hold(queue);
	pool_submit(queue->lister, work, done_list, listing);
}

void event_list(struct queue *queue, const struct event_filter *filter, event_list_cb *cb, void *arg)
{
	struct listing *listing = mem_new(sizeof *listing);

	listing->list_cb = cb;
	listing->arg = arg;
	submit(queue, listing, filter, work_list);
}

void event_next(struct queue *queue, const char *name, const char *server, size_t bound, size_t limit, event_next_cb *cb,
		void *arg)
{
	const struct event_filter filter = {.server = server, .status = QUEUE_LOG_ANY, .limit = limit};
	struct listing *listing = mem_new(sizeof *listing);

	listing->name = mem_string(name);
	listing->bound = bound;
	listing->next_cb = cb;
	listing->arg = arg;
	submit(queue, listing, &filter, work_next);
}

/* ---- days ---- */

struct days {
	struct queue *queue;
	char *server;
	int first, last;
	struct event_day days[DAYS_MAX];
	size_t count;
	struct err err;
	event_days_cb *cb;
	void *arg;
};

static bool add_day(struct days *days, sqlite3_stmt *select)
{
	int day = (int)column_id(select, 0);
	uint64_t status = column_id(select, 1);

	if (days->count == 0 || days->days[days->count - 1].day != day) {
		if (days->count == DAYS_MAX)
			return false;
		days->days[days->count++] = (struct event_day){.day = day};
	}
	if (status < QUEUE_LOG_ANY)
		days->days[days->count - 1].counts[status] += column_id(select, 2);
	return true;
}

static void work_days(void *arg)
{
	struct days *days = arg;
	struct database *database = days->queue->list_database;
	sqlite3_stmt *select = database_statement(database, S_EVENT_DAYS);
	bool row = true;

	bind_text(select, 1, days->server);
	bind_number(select, 2, days->first);
	bind_number(select, 3, days->last);
	while (database_step(database, select, &row, &days->err) && row && add_day(days, select))
		;
	database_reset(select);
}

static void done_days(void *arg)
{
	struct days *days = arg;
	struct queue *queue = days->queue;
	bool failed = days->err.code != ERR_NONE;

	days->cb(failed ? NULL : days->days, failed ? 0 : days->count, failed ? &days->err : NULL, days->arg);
	free(days->server);
	free(days);
	queue_release(queue);
}

void event_days(struct queue *queue, const char *server, int first, int last, event_days_cb *cb, void *arg)
{
	struct days *days = mem_new(sizeof *days);

	*days = (struct days){.queue = queue, .server = mem_string(server), .first = first, .last = last, .cb = cb, .arg = arg};
	queue_hold(queue);
	pool_submit(queue->lister, work_days, done_days, days);
}
