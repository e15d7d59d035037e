/* The queue and the sessions of the running relay. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/prompt.h"
#include "provisioning/console/relay_client.h"

#define ROWS_SHOWN 1000 /* without `count` */
#define DELIVERIES_SHOWN 50
#define COUNT_MAX 10000000

/* ---- words like `server default count 20` ---- */

static bool read_count(const char *text, size_t *count, struct err *err)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || *text == '-' || number == 0 || number > COUNT_MAX)
		return err_set(err, ERR_INVALID, "\"%s\" is not a number from 1 to %d", text, COUNT_MAX);
	*count = number;
	return true;
}

bool read_pairs(const struct parsed *parsed, const char *const *names, struct query *query, size_t *count, struct err *err)
{
	for (size_t i = 0; i < parsed->n_typed; i += 2) {
		const char *name = parsed->typed[i], *value = i + 1 < parsed->n_typed ? parsed->typed[i + 1] : NULL;
		size_t n = 0;

		while (names[n] != NULL && strcmp(names[n], name) != 0)
			n++;
		if (value == NULL && (names[n] != NULL || strcmp(name, "count") == 0))
			return err_set(err, ERR_INVALID, "a value is missing behind \"%s\"", name);
		if (strcmp(name, "count") == 0 || strcmp(name, "last") == 0) {
			if (!read_count(value, count, err))
				return false;
		} else if (names[n] == NULL) {
			struct buf known = {0};

			for (n = 0; names[n] != NULL; n++)
				buf_printf(&known, "%s, ", names[n]);
			err_set(err, ERR_INVALID, "\"%s\" is none of %scount", name, buf_text(&known));
			buf_clear(&known);
			return false;
		} else {
			query_add(query, name, value);
		}
	}
	return true;
}

/* ---- cells ---- */

static void put_age(char *out, size_t size, int64_t ms)
{
	int64_t seconds = ms < 0 ? 0 : ms / 1000;

	if (seconds < 100)
		snprintf(out, size, "%" PRId64 "s", seconds);
	else if (seconds < 100 * 60)
		snprintf(out, size, "%" PRId64 "m", seconds / 60);
	else if (seconds < 100 * 3600)
		snprintf(out, size, "%" PRId64 "h", seconds / 3600);
	else
		snprintf(out, size, "%" PRId64 "d", seconds / 86400);
}

static void age_cell(struct report *report, const char *since_ms)
{
	char age[24];

	put_age(age, sizeof age, clock_wall_ms() - strtoll(since_ms, NULL, 10));
	report_cell(report, "%s", age);
}

static void time_cell(struct report *report, const char *wall_ms)
{
	int64_t ms = strtoll(wall_ms, NULL, 10);
	char time[CONSOLE_TIME_BYTES];

	console_time(time, ms);
	report_cell(report, "%s", ms == 0 ? "" : time);
}

static void size_cell(struct report *report, const char *octets)
{
	uint64_t size = strtoull(octets, NULL, 10);

	if (size < 10000)
		report_cell(report, "%" PRIu64, size);
	else if (size < 10000 * UINT64_C(1024))
		report_cell(report, "%" PRIu64 "K", size >> 10);
	else
		report_cell(report, "%" PRIu64 "M", size >> 20);
}

/* ---- show queue ---- */

/* What a person reads is broken into lines that fit a terminal; machines get the cells. */
static const struct report_column queue_columns[] = {
    {"", NULL, false},	      {"", "id", false},	   {"", "server", false},    {"", "sender", false},
    {"", "recipient", false}, {"", "state", false},	   {"", "rendering", false}, {"", "rule", false},
    {"", "received", false},  {"", "next_attempt", false}, {"", "attempts", true},   {"", "size", true},
    {"", "reply", false},     {"", "message_id", false},   {"", "expires", false},
};

#define QUEUE_REPORT_COLUMNS (sizeof queue_columns / sizeof *queue_columns)

static void add_columns(struct report *report, char *const *cells)
{
	static const uint8_t order[] = {QUERY_QUEUE_ID,	   QUERY_QUEUE_SERVER,	  QUERY_QUEUE_SENDER, QUERY_QUEUE_RECIPIENT,
					QUERY_QUEUE_STATE, QUERY_QUEUE_RENDERING, QUERY_QUEUE_RULE};

	for (size_t i = 0; i < sizeof order; i++)
		report_cell(report, "%s", cells[order[i]]);
	time_cell(report, cells[QUERY_QUEUE_RECEIVED]);
	time_cell(report, cells[QUERY_QUEUE_NEXT]);
	report_cell(report, "%s", cells[QUERY_QUEUE_ATTEMPTS]);
	report_cell(report, "%s", cells[QUERY_QUEUE_SIZE]);
	report_cell(report, "%s", cells[QUERY_QUEUE_REPLY]);
	report_cell(report, "%s", cells[QUERY_QUEUE_MESSAGE_ID]);
	time_cell(report, cells[QUERY_QUEUE_EXPIRES]);
}

static const struct report_column table_columns[] = {
    {"ID", NULL, false},	{"AGE", NULL, true},  {"SIZE", NULL, true},    {"STATE", NULL, false},
    {"RENDERING", NULL, false}, {"NEXT", NULL, true}, {"SENDER", NULL, false}, {"RECIPIENT", NULL, false},
};

/* The two views of the same rows: as a table for people, with every column for machines. */
struct queue_view {
	struct report table, full;
	bool json;
};

static bool add_queue_row(char *const *cells, void *arg)
{
	struct queue_view *view = arg;
	int64_t next = strtoll(cells[QUERY_QUEUE_NEXT], NULL, 10) - clock_wall_ms();
	char wait[24] = "";

	if (view->json) {
		report_cell(&view->full, "%s", "");
		add_columns(&view->full, cells);
		return true;
	}
	if (strcmp(cells[QUERY_QUEUE_NEXT], "0") != 0)
		put_age(wait, sizeof wait, next);
	report_cell(&view->table, "%s", cells[QUERY_QUEUE_ID]);
	age_cell(&view->table, cells[QUERY_QUEUE_RECEIVED]);
	size_cell(&view->table, cells[QUERY_QUEUE_SIZE]);
	report_cell(&view->table, "%s", cells[QUERY_QUEUE_STATE]);
	report_cell(&view->table, "%s", cells[QUERY_QUEUE_RENDERING]);
	report_cell(&view->table, "%s", wait);
	report_cell(&view->table, "<%s>", cells[QUERY_QUEUE_SENDER]);
	report_cell(&view->table, "%s", cells[QUERY_QUEUE_RECIPIENT]);
	return true;
}

static bool say_summary(struct console *console, struct relay_client *client, struct err *err)
{
	struct query query = {.kind = QUERY_QUEUE_SUMMARY};
	struct query_rows rows;
	bool fine = relay_ask(client, &query, QUERY_SUMMARY_COLUMNS, &rows, err);

	if (fine && rows.n_cells == QUERY_SUMMARY_COLUMNS)
		console_say(console, "Queue: %s messages; recipients: %s waiting, %s active, %s held.",
			    rows.cells[QUERY_SUMMARY_MESSAGES], rows.cells[QUERY_SUMMARY_WAITING],
			    rows.cells[QUERY_SUMMARY_ACTIVE], rows.cells[QUERY_SUMMARY_HELD]);
	if (fine)
		query_rows_clear(&rows);
	query_clear(&query);
	return fine;
}

static bool show_rows(struct console *console, struct relay_client *client, struct query *query, size_t most, struct err *err)
{
	struct queue_view view = {.table = report_of(REPORT_TABLE, table_columns, sizeof table_columns / sizeof *table_columns),
				  .full = report_of(REPORT_RECORDS, queue_columns, QUEUE_REPORT_COLUMNS),
				  .json = console->filters != NULL && console->filters->json};
	bool more = false;
	bool fine = relay_ask_all(client, query, QUERY_QUEUE_COLUMNS, most, add_queue_row, &view, &more, err);

	if (fine) {
		console_show(console, view.json ? &view.full : &view.table);
		if (more)
			console_say(console, "There are more: count N shows N of them.");
		if (!view.json)
			fine = say_summary(console, client, err);
	}
	report_clear(&view.full);
	report_clear(&view.table);
	return fine;
}

static bool show_rows_matching(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const char *const names[] = {"server", "destination", "sender", "recipient", "state", NULL};
	struct query query = {.kind = QUERY_QUEUE, .cursor = mem_string("")};
	struct relay_client client;
	size_t most = ROWS_SHOWN;
	bool fine;

	fine = read_pairs(parsed, names, &query, &most, err) && relay_open(&client, console->state, err);
	if (fine) {
		query.limit = most < QUERY_ROWS_MAX ? (uint32_t)most + 1 : QUERY_ROWS_MAX;
		fine = show_rows(console, &client, &query, most, err);
		relay_close(&client);
	}
	query_clear(&query);
	return fine;
}

/* ---- one message ---- */

static const struct report_column message_columns[] = {
    {"Recipient", "recipient", false},	 {"State", "state", false},
    {"Rendering", "rendering", false},	 {"Because of", "rule", false},
    {"Attempts", "attempts", true},	 {"Next attempt (UTC)", "next_attempt", false},
    {"Last reply", "reply", false},	 {"Size", "size", true},
    {"Sender", "sender", false},	 {"Message-ID", "message_id", false},
    {"Server", "server", false},	 {"Received (UTC)", "received", false},
    {"Expires (UTC)", "expires", false}, {"Id", "id", false},
};

static bool add_message_row(char *const *cells, void *arg)
{
	struct report *report = arg;

	report_cell(report, "%s", cells[QUERY_QUEUE_RECIPIENT]);
	report_cell(report, "%s", cells[QUERY_QUEUE_STATE]);
	report_cell(report, "%s", cells[QUERY_QUEUE_RENDERING]);
	report_cell(report, "%s", cells[QUERY_QUEUE_RULE]);
	report_cell(report, "%s", cells[QUERY_QUEUE_ATTEMPTS]);
	time_cell(report, cells[QUERY_QUEUE_NEXT]);
	report_cell(report, "%s", cells[QUERY_QUEUE_REPLY]);
	report_cell(report, "%s", cells[QUERY_QUEUE_SIZE]);
	report_cell(report, "%s", cells[QUERY_QUEUE_SENDER]);
	report_cell(report, "%s", cells[QUERY_QUEUE_MESSAGE_ID]);
	report_cell(report, "%s", cells[QUERY_QUEUE_SERVER]);
	time_cell(report, cells[QUERY_QUEUE_RECEIVED]);
	time_cell(report, cells[QUERY_QUEUE_EXPIRES]);
	report_cell(report, "%s", cells[QUERY_QUEUE_ID]);
	return true;
}

static bool show_message(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct report report = report_of(REPORT_RECORDS, message_columns, sizeof message_columns / sizeof *message_columns);
	struct query query = {.kind = QUERY_QUEUE, .cursor = mem_string("")};
	struct relay_client client;
	bool fine;

	query_add(&query, "id", parsed->typed[0]);
	fine = relay_open(&client, console->state, err);
	if (fine) {
		fine = relay_ask_all(&client, &query, QUERY_QUEUE_COLUMNS, 0, add_message_row, &report, NULL, err);
		relay_close(&client);
	}
	if (fine && report.n_cells == 0)
		fine =
		    err_set(err, ERR_NOT_FOUND, "no message %s is in the queue: show log delivery id %s tells what became of it",
			    parsed->typed[0], parsed->typed[0]);
	else if (fine)
		console_show(console, &report);
	query_clear(&query);
	report_clear(&report);
	return fine;
}

bool show_queue(struct console *console, const struct parsed *parsed, struct err *err)
{
	return parsed->n_typed == 1 ? show_message(console, parsed, err) : show_rows_matching(console, parsed, err);
}

/* ---- changes ---- */

static bool change_queue(struct console *console, const char *action, const char *id, const char *done, struct err *err)
{
	struct query query = {.kind = QUERY_QUEUE_CHANGE};
	struct relay_client client;
	struct query_rows rows;
	bool fine;

	query_add(&query, "action", action);
	query_add(&query, "id", id);
	fine = relay_open(&client, console->state, err);
	if (fine) {
		fine = relay_ask(&client, &query, 1, &rows, err);
		relay_close(&client);
	}
	query_clear(&query);
	if (!fine)
		return false;
	if (strcmp(rows.cells[0], "0") != 0 || strcmp(id, "all") == 0)
		console_say(console, "%s recipients %s.", rows.cells[0], done);
	else
		fine = err_set(err, ERR_NOT_FOUND, "nothing of message %s was %s: see show queue %s", id, done, id);
	query_rows_clear(&rows);
	return fine;
}

bool queue_hold(struct console *console, const struct parsed *parsed, struct err *err)
{
	return change_queue(console, "hold", parsed->typed[0], "held", err);
}

bool queue_release(struct console *console, const struct parsed *parsed, struct err *err)
{
	return change_queue(console, "release", parsed->typed[0], "released", err);
}

bool queue_retry(struct console *console, const struct parsed *parsed, struct err *err)
{
	return change_queue(console, "retry", parsed->typed[0], "made due", err);
}

bool queue_delete(struct console *console, const struct parsed *parsed, struct err *err)
{
	char *answer;
	bool sure;

	answer = prompt_text("Delete without a bounce, for good? (yes/no) ", err);
	if (answer == NULL)
		return false;
	sure = strcmp(answer, "yes") == 0;
	free(answer);
	if (!sure)
		return err_set(err, ERR_CANCELLED, "nothing was deleted: the answer was not yes");
	return change_queue(console, "delete", parsed->typed[0], "deleted", err);
}

bool queue_delete_force(struct console *console, const struct parsed *parsed, struct err *err)
{
	return change_queue(console, "delete", parsed->typed[0], "deleted", err);
}

/* ---- show log delivery ---- */

static const struct report_column delivery_columns[] = {
    {"", NULL, false},	       {"", "created", false}, {"", "updated", false},	 {"", "id", false},
    {"", "server", false},     {"", "sender", false},  {"", "from", false},	 {"", "recipient", false},
    {"", "status", false},     {"", "reason", false},  {"", "rendering", false}, {"", "rule", false},
    {"", "message_id", false}, {"", "subject", false}, {"", "sender_ip", false}, {"", "source_ip", false},
};

static bool add_delivery(char *const *cells, void *arg)
{
	struct report *report = arg;
	char time[CONSOLE_TIME_BYTES];

	console_time(time, strtoll(cells[QUERY_DELIVERY_CREATED], NULL, 10));
	report_cell(report, "%s %s <%s> -> %s: %s, %s (%s)%s%s", time, cells[QUERY_DELIVERY_ID], cells[QUERY_DELIVERY_SENDER],
		    cells[QUERY_DELIVERY_RECIPIENT], cells[QUERY_DELIVERY_STATUS], cells[QUERY_DELIVERY_RENDERING],
		    cells[QUERY_DELIVERY_RULE], cells[QUERY_DELIVERY_REASON][0] != '\0' ? ": " : "",
		    cells[QUERY_DELIVERY_REASON]);
	time_cell(report, cells[QUERY_DELIVERY_CREATED]);
	time_cell(report, cells[QUERY_DELIVERY_UPDATED]);
	for (size_t i = QUERY_DELIVERY_ID; i < QUERY_DELIVERY_COLUMNS; i++)
		report_cell(report, "%s", cells[i]);
	return true;
}

/* A day, or a minute of it, as the log shows them (UTC); -1: neither. */
static int64_t parse_time_ms(const char *text)
{
	static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S",
					    "%Y-%m-%d %H:%M:%S"};

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);

		if (end != NULL && *end == '\0')
			return (int64_t)timegm(&tm) * 1000;
	}
	return -1;
}

/* `last N`, and `since 2h`: how long ago, or `since 2027-01-31`. */
static bool move_times(struct query *query, struct err *err)
{
	for (size_t i = 0; i < query->n_arguments; i++) {
		struct query_argument *argument = &query->arguments[i];
		int64_t ms;

		if (strcmp(argument->name, "since") != 0 && strcmp(argument->name, "until") != 0)
			continue;
		ms = setting_parse_duration_ms(argument->value);
		ms = ms >= 0 ? clock_wall_ms() - ms : parse_time_ms(argument->value);
		if (ms < 0)
			return err_set(
			    err, ERR_INVALID,
			    "\"%s\" is not how long ago (90s, 15m, 2h, 1d), and no time (2027-01-31, 2027-01-31T13:05)",
			    argument->value);
		free(argument->value);
		argument->value = mem_format("%" PRId64, ms);
	}
	return true;
}

bool show_deliveries(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const char *const names[] = {"id", "server", "sender", "from", "to", "status", "text", "since", "until", NULL};
	struct report report = report_of(REPORT_LINES, delivery_columns, sizeof delivery_columns / sizeof *delivery_columns);
	struct query query = {.kind = QUERY_DELIVERIES, .cursor = mem_string("")};
	struct relay_client client;
	size_t most = DELIVERIES_SHOWN;
	bool fine;

	fine =
	    read_pairs(parsed, names, &query, &most, err) && move_times(&query, err) && relay_open(&client, console->state, err);
	if (fine) {
		query.limit = most < QUERY_ROWS_MAX ? (uint32_t)most : QUERY_ROWS_MAX;
		fine = relay_ask_all(&client, &query, QUERY_DELIVERY_COLUMNS, most, add_delivery, &report, NULL, err);
		relay_close(&client);
	}
	if (fine)
		console_show(console, &report);
	query_clear(&query);
	report_clear(&report);
	return fine;
}

/* ---- show sessions ---- */

static bool add_session(char *const *cells, void *arg)
{
	struct report *report = arg;
	char idle[24];

	put_age(idle, sizeof idle, strtoll(cells[QUERY_SESSION_IDLE], NULL, 10));
	report_cell(report, "%s", cells[QUERY_SESSION_NUMBER]);
	report_cell(report, "%s", cells[QUERY_SESSION_SERVER]);
	report_cell(report, "%s", cells[QUERY_SESSION_CLIENT]);
	age_cell(report, cells[QUERY_SESSION_STARTED]);
	report_cell(report, "%s", idle);
	report_cell(report, "%s", cells[QUERY_SESSION_STATE]);
	report_cell(report, "%s", cells[QUERY_SESSION_MESSAGES]);
	report_cell(report, "%s", cells[QUERY_SESSION_TLS]);
	report_cell(report, "%s", cells[QUERY_SESSION_USER]);
	report_cell(report, "%s", cells[QUERY_SESSION_HELLO]);
	return true;
}

bool show_sessions(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {
	    {"SESSION", "session", true}, {"SERVER", "server", false}, {"CLIENT", "client", false}, {"SINCE", "since", true},
	    {"IDLE", "idle", true},	  {"STATE", "state", false},   {"MAILS", "mails", true},    {"TLS", "tls", false},
	    {"USER", "user", false},	  {"HELLO", "hello", false}};
	static const char *const names[] = {"server", NULL};
	struct report report = report_of(REPORT_TABLE, columns, sizeof columns / sizeof *columns);
	struct query query = {.kind = QUERY_SESSIONS, .cursor = mem_string("")};
	struct relay_client client;
	size_t most = ROWS_SHOWN;
	bool more = false, fine;

	fine = read_pairs(parsed, names, &query, &most, err) && relay_open(&client, console->state, err);
	if (fine) {
		fine = relay_ask_all(&client, &query, QUERY_SESSION_COLUMNS, most, add_session, &report, &more, err);
		relay_close(&client);
	}
	if (fine && report.n_cells == 0 && console->interactive)
		console_say(console, "There are no SMTP sessions.");
	else if (fine)
		console_show(console, &report);
	if (fine && more)
		console_say(console, "There are more: count N shows N of them.");
	query_clear(&query);
	report_clear(&report);
	return fine;
}
