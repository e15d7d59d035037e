#include "appliance/relay/observe/observe.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/mime/scan.h"
#include "appliance/relay/observe/observe_private.h"

/* A connection. */
struct console {
	struct console *next;
	struct observe *observe;
	struct channel *channel;
	struct call *call; /* under way; NULL: none */
	struct mime_scan *content; /* NULL: none came */
	struct buf configuration; /* empty: none came */
};

static void console_free(struct console *console)
{
	struct observe *observe = console->observe;
	struct console **link = &observe->consoles;

	while (*link != console)
		link = &(*link)->next;
	*link = console->next;
	observe->n_consoles--;
	if (console->call != NULL)
		console->call->console = NULL;
	mime_scan_free(console->content);
	buf_clear(&console->configuration);
	channel_free(console->channel);
	free(console);
}

/* ---- answers ---- */

static void send_error(struct console *console, const struct err *err)
{
	struct buf out = {0};

	msg_put_u8(&out, (uint8_t)err->code);
	msg_put_text(&out, err->text);
	channel_send(console->channel, QUERY_REFUSED, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void call_end(struct call *call)
{
	if (call->console != NULL) {
		call->console->call = NULL;
		mime_scan_free(call->console->content);
		call->console->content = NULL;
		buf_clear(&call->console->configuration);
	}
	query_clear(&call->query);
	query_rows_clear(&call->rows);
	free(call);
}

void call_answer(struct call *call)
{
	struct buf out = {0};

	if (call->console != NULL) {
		query_rows_encode(&out, &call->rows);
		channel_send(call->console->channel, QUERY_ROWS, buf_bytes(&out), -1);
		buf_clear(&out);
	}
	call_end(call);
}

void call_refuse(struct call *call, const struct err *err)
{
	if (call->console != NULL)
		send_error(call->console, err);
	call_end(call);
}

struct mime_scan *call_content(struct call *call)
{
	struct mime_scan *scan = call->console == NULL ? NULL : call->console->content;

	if (scan != NULL)
		mime_scan_finish(scan);
	return scan;
}

/* ---- questions ---- */

struct config *call_config(struct call *call, struct err *err)
{
	struct bytes octets = call->console == NULL ? (struct bytes){0} : buf_bytes(&call->console->configuration);
	struct msg msg = msg_of(octets);
	struct snapshot *snapshot;
	struct config *config;

	if (octets.len == 0)
		return call->observe->config == NULL ? NULL : config_ref(call->observe->config);
	snapshot = snapshot_decode(&msg, err);
	config = snapshot == NULL ? NULL : config_new(snapshot, err);
	if (config == NULL)
		snapshot_free(snapshot);
	return config;
}

static const struct {
	enum query_kind kind;
	uint32_t n_columns;
	call_handler *handle;
} handlers[] = {
    {QUERY_QUEUE, QUERY_QUEUE_COLUMNS, query_queue},
    {QUERY_QUEUE_SUMMARY, QUERY_SUMMARY_COLUMNS, query_queue_summary},
    {QUERY_QUEUE_CHANGE, 1, query_queue_change},
    {QUERY_SESSIONS, QUERY_SESSION_COLUMNS, query_sessions},
    {QUERY_DELIVERIES, QUERY_DELIVERY_COLUMNS, query_deliveries},
    {QUERY_EXPLAIN, QUERY_EXPLAIN_COLUMNS, query_explain},
    {QUERY_TLS, QUERY_TLS_COLUMNS, query_tls},
    {QUERY_TLS_TOTALS, QUERY_TLS_TOTALS_COLUMNS, query_tls_totals},
    {QUERY_MONITOR, QUERY_MONITOR_COLUMNS, query_monitor},
    {QUERY_TEST_MAIL, QUERY_TEST_COLUMNS, query_test_mail},
    {QUERY_STATISTICS, QUERY_STATISTICS_COLUMNS, query_statistics},
};

static void run_call(struct call *call)
{
	struct err err;

	for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
		if (handlers[i].kind == call->query.kind) {
			call->rows.n_columns = handlers[i].n_columns;
			handlers[i].handle(call);
			return;
		}
	}
	err_set(&err, ERR_INVALID, "the relay does not know this question (%u): it is of another release", call->query.kind);
	call_refuse(call, &err);
}

static void on_ask(struct console *console, struct msg *msg)
{
	struct call *call;
	struct query query;
	struct err err;

	if (!query_decode(msg, &query, &err)) {
		send_error(console, &err);
		return;
	}
	if (console->call != NULL) {
		query_clear(&query);
		err_set(&err, ERR_UNAVAILABLE, "one question at a time");
		send_error(console, &err);
		return;
	}
	call = mem_new(sizeof *call);
	*call = (struct call){.observe = console->observe, .console = console, .query = query, .limit = query.limit};
	if (call->limit == 0 || call->limit > QUERY_ROWS_MAX)
		call->limit = QUERY_ROWS_MAX;
	console->call = call;
	run_call(call);
}

/* Scanned as it comes, so that a large message is neither kept nor holds the loop. */
static void on_content(struct console *console, struct bytes octets)
{
	struct err err;

	if (octets.len > QUERY_CONTENT_MAX_BYTES || console->call != NULL) {
		err_set(&err, ERR_LIMIT, "content out of place");
		send_error(console, &err);
		return;
	}
	if (console->content == NULL)
		console->content = mime_scan_new();
	mime_scan_feed(console->content, octets);
}

static void on_configuration(struct console *console, struct bytes octets)
{
	struct err err;

	if (console->configuration.len + octets.len > QUERY_CONFIGURATION_MAX_BYTES || console->call != NULL) {
		err_set(&err, ERR_LIMIT, "a configuration out of place, or too large");
		send_error(console, &err);
		return;
	}
	buf_put_bytes(&console->configuration, octets);
}

static void on_frame(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct console *console = arg;
	struct err err;

	(void)channel;
	if (fd >= 0)
		close(fd);
	if (type == QUERY_ASK) {
		on_ask(console, msg);
	} else if (type == QUERY_CONTENT) {
		on_content(console, msg->rest);
	} else if (type == QUERY_CONFIGURATION) {
		on_configuration(console, msg->rest);
	} else {
		err_set(&err, ERR_INVALID, "unknown frame %u", type);
		send_error(console, &err);
	}
}

static void on_closed(struct channel *channel, const struct err *why, void *arg)
{
	(void)channel;
	(void)why;
	console_free(arg);
}

/* ---- connections ---- */

void observe_add_console(struct observe *observe, int fd)
{
	struct console *console;

	if (observe->stopped || observe->n_consoles >= OBSERVE_CONSOLES_MAX) {
		log_warning("console.refused", LOG_NUMBER("consoles", observe->n_consoles));
		close(fd);
		return;
	}
	console = mem_new(sizeof *console);
	console->observe = observe;
	console->channel = channel_new(observe->context.base, fd, on_frame, on_closed, console);
	console->next = observe->consoles;
	observe->consoles = console;
	observe->n_consoles++;
}

void observe_configure(struct observe *observe, struct config *config)
{
	struct config *old = observe->config;

	observe->config = config_ref(config);
	config_unref(old);
}

static void on_step(evutil_socket_t fd, short events, void *arg)
{
	struct observe *observe = arg;
	struct history_totals totals;
	struct metrics metrics;

	(void)fd;
	(void)events;
	observe->context.read(&metrics, observe->context.arg);
	totals = observe_totals(&metrics);
	history_add(&observe->history, &totals, clock_wall_seconds());
}

struct observe *observe_new(const struct observe_context *context)
{
	struct observe *observe = mem_new(sizeof *observe);

	observe->context = *context;
	observe->step = event_new(context->base, -1, EV_PERSIST, on_step, observe);
	event_add(observe->step, &(struct timeval){.tv_sec = HISTORY_STEP_SECONDS});
	return observe;
}

void observe_stop(struct observe *observe)
{
	if (observe == NULL)
		return;
	if (!observe->stopped)
		event_free(observe->step);
	observe->stopped = true;
	test_mails_stop(observe);
	while (observe->consoles != NULL)
		console_free(observe->consoles);
	config_unref(observe->config);
	observe->config = NULL;
}
