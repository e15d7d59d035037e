#include "tests/unit/delivery_stage.h"

#include <event2/event.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/base/pool.h"
#include "appliance/relay/delivery/delivery_private.h"

static const struct smtp_timeouts short_timeouts = {.connect = 1000,
						    .greeting = 500,
						    .hello = 500,
						    .envelope = 500,
						    .data = 500,
						    .block = 500,
						    .final = 500,
						    .reset = 500,
						    .prepare = 5000,
						    .quit = 200,
						    .idle = 200};

/* ---- Running the loop ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

static void run_once(struct stage *stage)
{
	struct event *tick = event_new(stage->base, -1, 0, on_tick, NULL);
	const struct timeval wait = {.tv_usec = 5000};

	event_add(tick, &wait);
	event_base_loop(stage->base, EVLOOP_ONCE);
	event_free(tick);
}

bool stage_run_until(struct stage *stage, stage_condition *condition, const void *arg)
{
	int64_t deadline = clock_monotonic_ms() + STAGE_WAIT_MS;

	while (!condition(stage, arg)) {
		if (clock_monotonic_ms() > deadline)
			return false;
		run_once(stage);
	}
	return true;
}

void stage_run_for(struct stage *stage, int64_t ms)
{
	int64_t deadline = clock_monotonic_ms() + ms;

	while (clock_monotonic_ms() < deadline)
		run_once(stage);
}

/* ---- Opening and closing ---- */

static void on_ready(const struct err *err, void *arg)
{
	struct stage *stage = arg;

	CHECK_OK(err == NULL, err);
	stage->queue_ready = true;
}

static void on_due(void *arg)
{
	struct stage *stage = arg;

	if (stage->delivery != NULL)
		delivery_wake(stage->delivery);
}

static void on_health(enum queue_health health, const struct err *err, void *arg)
{
	(void)arg;
	CHECK_OK(health == QUEUE_OK, err);
}

static bool is_ready(struct stage *stage, const void *arg)
{
	(void)arg;
	return stage->queue_ready;
}

static void open_queue(struct stage *stage)
{
	const struct queue_settings settings = {.directory = stage->directory, .min_free_bytes = 1};
	const struct queue_events events = {.ready = on_ready, .due = on_due, .health = on_health, .arg = stage};
	struct err err;

	stage->queue_ready = false;
	stage->queue = queue_open(stage->base, &settings, &events, &err);
	CHECK_OK(stage->queue != NULL, &err);
	CHECK(stage_run_until(stage, is_ready, NULL));
	stage->delivery = delivery_new(stage->base, stage->queue, stage->pool);
	delivery_set_timeouts(stage->delivery, &stage->timeouts);
}

void stage_open(struct stage *stage)
{
	struct err err;

	signal(SIGPIPE, SIG_IGN); /* as the relay does */
	log_open("test", LOG_FORMAT_TEXT, LOG_DEBUG);
	*stage = (struct stage){.timeouts = short_timeouts, .directory = test_directory(), .base = event_base_new()};
	stage->snapshot = snapshot_new();
	stage->pool = pool_new(stage->base, 2, &err);
	CHECK_OK(stage->pool != NULL, &err);
	stage_set(stage, "mx1.example.co.jp", "system host-name");
	open_queue(stage);
}

void stage_set(struct stage *stage, const char *value, const char *path, ...)
{
	struct buf whole = {0};
	char text[512];
	va_list args;

	va_start(args, path);
	vsnprintf(text, sizeof text, path, args);
	va_end(args);
	buf_put_text(&whole, text);
	settings_add(&stage->snapshot->settings, buf_text(&whole), value);
	buf_clear(&whole);
}

void stage_be_patient(struct stage *stage)
{
	struct smtp_timeouts *timeouts = &stage->timeouts;

	timeouts->greeting = timeouts->hello = timeouts->envelope = timeouts->data = STAGE_WAIT_MS;
	timeouts->block = timeouts->final = timeouts->reset = timeouts->quit = STAGE_WAIT_MS;
}

void stage_next_hop(struct stage *stage, const char *server, const struct sink *sink)
{
	stage_set(stage, "", "server %s next-hop 127.0.0.1:%u", server, sink->port);
}

void stage_configure(struct stage *stage)
{
	struct err err;
	struct config *config = config_new(stage->snapshot, &err);

	if (!CHECK_OK(config != NULL, &err))
		return;
	stage->snapshot = snapshot_new();
	CHECK_OK(delivery_check(config, &err), &err);
	delivery_configure(stage->delivery, config);
	config_unref(stage->config);
	stage->config = config;
}

static void on_stopped(void *arg)
{
	struct stage *stage = arg;

	CHECK(!stage->stopped);
	stage->stopped = true;
}

static bool is_stopped(struct stage *stage, const void *arg)
{
	(void)arg;
	return stage->stopped;
}

void stage_stop_delivery(struct stage *stage, int64_t grace_ms)
{
	stage->stopped = false;
	delivery_stop(stage->delivery, clock_monotonic_ms() + grace_ms, on_stopped, stage);
	CHECK(stage_run_until(stage, is_stopped, NULL));
	delivery_free(stage->delivery);
	stage->delivery = NULL;
}

static void on_closed(void *arg)
{
	struct stage *stage = arg;

	stage->closed = true;
}

static bool is_closed(struct stage *stage, const void *arg)
{
	(void)arg;
	return stage->closed;
}

static void close_queue(struct stage *stage)
{
	stage->closed = false;
	queue_close(stage->queue, on_closed, stage);
	CHECK(stage_run_until(stage, is_closed, NULL));
	stage->queue = NULL;
}

void stage_restart(struct stage *stage)
{
	if (stage->delivery != NULL)
		stage_stop_delivery(stage, 0);
	close_queue(stage);
	open_queue(stage);
	delivery_configure(stage->delivery, stage->config);
}

void stage_close(struct stage *stage)
{
	if (stage->delivery != NULL)
		stage_stop_delivery(stage, 1000);
	close_queue(stage);
	pool_free(stage->pool);
	config_unref(stage->config);
	snapshot_free(stage->snapshot);
	stage_run_for(stage, 10);
	event_base_free(stage->base);
}

/* ---- Posting ---- */

static void on_committed(enum queue_commit_result result, const struct err *err, void *arg)
{
	struct stage *stage = arg;

	CHECK_OK(result == QUEUE_STORED, err);
	stage->committing--;
}

static void on_sealed(const struct err *err, void *arg)
{
	CHECK_OK(err == NULL, err);
	*(bool *)arg = true;
}

static bool is_true(struct stage *stage, const void *arg)
{
	(void)stage;
	return *(const bool *)arg;
}

static void on_resume(void *arg)
{
	*(bool *)arg = true;
}

static struct queue_body *make_body(struct stage *stage, struct bytes octets)
{
	struct queue_body *body = queue_body_begin(stage->queue, octets.len);
	bool resumed = false, sealed = false;

	queue_body_on_resume(body, on_resume, &resumed);
	for (size_t at = 0; at < octets.len; at += 30000) {
		resumed = false;
		if (queue_body_append(body, bytes_slice(octets, at, at + 30000)) == QUEUE_APPEND_WAIT)
			CHECK(stage_run_until(stage, is_true, &resumed));
	}
	queue_body_seal(body, on_sealed, &sealed);
	CHECK(stage_run_until(stage, is_true, &sealed));
	return body;
}

static size_t split_recipients(const struct post *post, char *text, struct queue_recipient *out, size_t most)
{
	size_t count = 0;
	char *rest;

	for (char *word = strtok_r(text, " ", &rest); word != NULL && count < most; word = strtok_r(NULL, " ", &rest))
		out[count++] = (struct queue_recipient){.address = word,
							.rendering = post->is_signed ? QUEUE_SIGNED : QUEUE_PLAIN,
							.rule = "test",
							.notify = post->notify};
	return count;
}

void stage_post(struct stage *stage, const struct post *post)
{
	static struct queue_recipient recipients[1024];
	char *text = mem_string(post->recipients);
	size_t count = split_recipients(post, text, recipients, sizeof recipients / sizeof recipients[0]);
	struct bytes prefix = bytes_text(post->prefix);
	int64_t now = clock_wall_seconds();
	const struct queue_message message = {
	    .id = queue_new_id(stage->queue),
	    .server = post->server == NULL ? "default" : post->server,
	    .sender = post->sender == NULL ? "a@example.com" : post->sender,
	    .ret = post->ret,
	    .smtputf8 = post->smtputf8,
	    .body_type = post->body_type,
	    .received = now,
	    .expires = now + (post->lifetime_s == 0 ? 86400 : post->lifetime_s),
	    .prefix = prefix,
	    .addition = post->addition,
	    .plain_size = prefix.len + post->body.len,
	    .signed_size = post->is_signed ? post->signed_size : 0,
	    .message_id = "",
	};

	stage->committing++;
	queue_commit(stage->queue, &message, recipients, count, make_body(stage, post->body), NULL, on_committed, stage);
	free(text);
}

bool stage_committed(struct stage *stage, const void *arg)
{
	(void)arg;
	return stage->committing == 0;
}

/* ---- Looking ---- */

bool stage_empty(struct stage *stage, const void *arg)
{
	(void)arg;
	return stage->committing == 0 && queue_count(stage->queue).messages == 0;
}

bool stage_drain(struct stage *stage)
{
	return stage_run_until(stage, stage_empty, NULL);
}

static bool has_results(struct stage *stage, const void *arg)
{
	struct delivery_state state = delivery_state(stage->delivery);
	struct queue_count count = queue_count(stage->queue);

	return state.delivered_total + state.deferred_total + state.failed_total >= *(const uint64_t *)arg && count.leased == 0;
}

bool stage_settle(struct stage *stage, uint64_t results)
{
	return stage_run_until(stage, has_results, &results);
}

struct lookup {
	const char *address;
	struct stage_row row;
	bool done;
};

static void on_list(const struct queue_row *rows, size_t count, const struct err *err, void *arg)
{
	struct lookup *lookup = arg;

	CHECK_OK(err == NULL, err);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(rows[i].address, lookup->address) != 0)
			continue;
		lookup->row = (struct stage_row){.found = true, .due = rows[i].due, .attempts = rows[i].attempts};
		snprintf(lookup->row.state, sizeof lookup->row.state, "%s", rows[i].state);
		snprintf(lookup->row.reply, sizeof lookup->row.reply, "%s", rows[i].reply == NULL ? "" : rows[i].reply);
	}
	lookup->done = true;
}

static bool is_listed(struct stage *stage, const void *arg)
{
	(void)stage;
	return ((const struct lookup *)arg)->done;
}

struct stage_row stage_row(struct stage *stage, const char *address)
{
	struct lookup lookup = {.address = address};
	const struct queue_filter everything = {0};

	queue_list(stage->queue, &everything, 0, 1000, on_list, &lookup);
	CHECK(stage_run_until(stage, is_listed, &lookup));
	return lookup.row;
}
