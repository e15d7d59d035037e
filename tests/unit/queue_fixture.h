/* What the tests of the queue share: a loop, a queue on it, and its calls made to wait. Everything goes through queue.h. */
#ifndef INKAN_TESTS_QUEUE_FIXTURE_H
#define INKAN_TESTS_QUEUE_FIXTURE_H

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue.h"
#include "tests/unit/test.h"

#define FIXTURE_WAIT_MS 60000
#define FIXTURE_USED __attribute__((unused))

/*
 * Removing the 256 directories of a spool takes long on some disks: tests that make many small queues may use memory, unless
 * $TMPDIR says otherwise. Call it before the first test.
 */
static FIXTURE_USED void fixture_use_memory(void)
{
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
}

/* What the queue's events said; on the heap, since a fixture is handed around by value. */
struct fixture_seen {
	unsigned due_events, health_events;
	enum queue_health health;
	bool opened; /* ready was called */
	struct err ready_err, health_err;
};

struct fixture {
	const char *directory;
	struct event_base *base;
	struct queue *queue;
	struct fixture_seen *seen;
	struct err err; /* of the last operation that had one */
};

static void fixture_ready(const struct err *err, void *arg)
{
	struct fixture_seen *seen = arg;

	seen->opened = true;
	if (err != NULL)
		seen->ready_err = *err;
}

static void fixture_due(void *arg)
{
	struct fixture_seen *seen = arg;

	seen->due_events++;
}

static void fixture_health(enum queue_health health, const struct err *err, void *arg)
{
	struct fixture_seen *seen = arg;

	seen->health = health;
	seen->health_events++;
	if (err != NULL)
		seen->health_err = *err;
}

/* Runs the loop until *flag (NULL: never) or until `ms` have passed. */
static FIXTURE_USED bool fixture_run(struct fixture *f, const bool *flag, int64_t ms)
{
	const struct timeval slice = {.tv_usec = 5000};
	int64_t deadline = clock_monotonic_ms() + ms;

	while ((flag == NULL || !*flag) && clock_monotonic_ms() < deadline) {
		event_base_loopexit(f->base, &slice); /* an idle loop must not sleep for ever */
		event_base_loop(f->base, EVLOOP_ONCE);
	}
	return flag != NULL && *flag;
}

static FIXTURE_USED bool fixture_wait(struct fixture *f, const bool *flag)
{
	return fixture_run(f, flag, FIXTURE_WAIT_MS);
}

static FIXTURE_USED void fixture_run_ms(struct fixture *f, int64_t ms)
{
	fixture_run(f, NULL, ms);
}

/* True when the queue became ready; else f->err says why not. */
static FIXTURE_USED bool fixture_open_with(struct fixture *f, const struct queue_settings *settings)
{
	struct queue_events events = {.ready = fixture_ready, .due = fixture_due, .health = fixture_health};

	if (f->base == NULL)
		f->base = event_base_new();
	free(f->seen);
	f->seen = mem_new(sizeof *f->seen);
	events.arg = f->seen;
	f->queue = queue_open(f->base, settings, &events, &f->err);
	if (f->queue == NULL)
		return false;
	if (!fixture_wait(f, &f->seen->opened))
		return false;
	f->err = f->seen->ready_err;
	return f->err.code == ERR_NONE;
}

static FIXTURE_USED bool fixture_open(struct fixture *f)
{
	const struct queue_settings settings = {.directory = f->directory, .node = 7, .min_free_bytes = 1 << 20};

	return fixture_open_with(f, &settings);
}

static FIXTURE_USED void fixture_closed(void *arg)
{
	*(bool *)arg = true;
}

static FIXTURE_USED void fixture_close(struct fixture *f)
{
	bool closed = false;

	if (f->queue == NULL)
		return;
	queue_close(f->queue, fixture_closed, &closed);
	CHECK(fixture_wait(f, &closed));
	f->queue = NULL;
}

static FIXTURE_USED void fixture_end(struct fixture *f)
{
	fixture_close(f);
	event_base_free(f->base);
	free(f->seen);
}

static FIXTURE_USED struct fixture fixture_begin(void)
{
	struct fixture f = {.directory = test_directory()};

	CHECK_OK(fixture_open(&f), &f.err);
	return f;
}

/* ---- bodies ---- */

/* Octets that depend on the seed, so that a mixed-up body shows. free() them. */
static FIXTURE_USED uint8_t *fixture_octets(size_t size, uint32_t seed)
{
	uint8_t *octets = mem_new(size + 1);
	uint32_t state = seed * 2654435761u + 1;

	for (size_t i = 0; i < size; i++) {
		state = state * 1664525u + 1013904223u;
		octets[i] = (uint8_t)(state >> 24);
	}
	return octets;
}

struct fixture_flag {
	bool done;
	struct err err;
};

static FIXTURE_USED void fixture_on_done(const struct err *err, void *arg)
{
	struct fixture_flag *flag = arg;

	flag->done = true;
	if (err != NULL)
		flag->err = *err;
}

static FIXTURE_USED void fixture_on_resume(void *arg)
{
	*(bool *)arg = true;
}

static FIXTURE_USED bool fixture_append(struct fixture *f, struct queue_body *body, struct bytes data)
{
	bool resumed = false;

	queue_body_on_resume(body, fixture_on_resume, &resumed);
	switch (queue_body_append(body, data)) {
	case QUEUE_APPEND_MORE:
		return true;
	case QUEUE_APPEND_WAIT:
		return fixture_wait(f, &resumed) && queue_body_error(body) == NULL;
	default:
		return false;
	}
}

static FIXTURE_USED bool fixture_seal(struct fixture *f, struct queue_body *body)
{
	struct fixture_flag flag = {0};

	queue_body_seal(body, fixture_on_done, &flag);
	if (!fixture_wait(f, &flag.done))
		return false;
	f->err = flag.err;
	return flag.err.code == ERR_NONE;
}

/* A sealed body, fed in pieces of `piece` octets; NULL with f->err when it failed. */
static FIXTURE_USED struct queue_body *fixture_body(struct fixture *f, size_t size, uint32_t seed, size_t piece)
{
	struct queue_body *body = queue_body_begin(f->queue, 0);
	uint8_t *octets = fixture_octets(size, seed);
	bool ok = true;

	for (size_t at = 0; ok && at < size; at += piece)
		ok = fixture_append(f, body, bytes_slice(bytes_of(octets, size), at, at + piece));
	free(octets);
	if (!ok && queue_body_error(body) != NULL)
		f->err = *queue_body_error(body);
	if (ok && fixture_seal(f, body))
		return body;
	queue_body_discard(body);
	return NULL;
}

/* ---- commits ---- */

struct fixture_commit {
	bool done;
	enum queue_commit_result result;
	struct err err;
};

static FIXTURE_USED void fixture_on_commit(enum queue_commit_result result, const struct err *err, void *arg)
{
	struct fixture_commit *commit = arg;

	commit->done = true;
	commit->result = result;
	if (err != NULL)
		commit->err = *err;
}

static FIXTURE_USED struct queue_message fixture_message(struct fixture *f)
{
	return (struct queue_message){
	    .id = queue_new_id(f->queue),
	    .server = "default",
	    .sender = "sender@example.com",
	    .received = clock_wall_seconds(),
	    .expires = clock_wall_seconds() + 5 * 86400,
	    .prefix = bytes_text("Received: from test\r\n"),
	    .message_id = "<1@example.com>",
	};
}

static FIXTURE_USED const struct queue_recipient fixture_recipient = {.address = "reader@example.net", .rule = "default"};

/* Commits a message and takes the bodies. */
static FIXTURE_USED enum queue_commit_result fixture_commit_to(struct fixture *f, const struct queue_message *message,
							       const struct queue_recipient *recipients, size_t n_recipients,
							       struct queue_body *original, struct queue_body *encoded)
{
	struct fixture_commit commit = {0};

	queue_commit(f->queue, message, recipients, n_recipients, original, encoded, fixture_on_commit, &commit);
	CHECK(!commit.done); /* never from within the call */
	CHECK(fixture_wait(f, &commit.done));
	f->err = commit.err;
	return commit.result;
}

/* The same with one recipient. */
static FIXTURE_USED enum queue_commit_result fixture_commit(struct fixture *f, const struct queue_message *message,
							    struct queue_body *original, struct queue_body *encoded)
{
	return fixture_commit_to(f, message, &fixture_recipient, 1, original, encoded);
}

/* A message with one body of this size; 0 when it was not stored. */
static FIXTURE_USED uint64_t fixture_store(struct fixture *f, size_t size, uint32_t seed)
{
	struct queue_message message = fixture_message(f);
	struct queue_body *body = fixture_body(f, size, seed, 20000);

	message.plain_size = size;
	if (body == NULL || fixture_commit(f, &message, body, NULL) != QUEUE_STORED)
		return 0;
	return message.id;
}

/* ---- claims and results ---- */

struct fixture_claim {
	bool done;
	struct queue_claim *claim;
	struct err err;
};

static FIXTURE_USED void fixture_on_claim(struct queue_claim *claim, const struct err *err, void *arg)
{
	struct fixture_claim *self = arg;

	self->done = true;
	self->claim = claim;
	if (err != NULL)
		self->err = *err;
}

/* Never NULL; free it with queue_claim_free. */
static FIXTURE_USED struct queue_claim *fixture_claim(struct fixture *f, size_t limit)
{
	struct fixture_claim self = {0};

	queue_claim(f->queue, limit, fixture_on_claim, &self);
	CHECK(!self.done);
	if (fixture_wait(f, &self.done) && self.claim != NULL)
		return self.claim;
	f->err = self.err;
	CHECK_OK(false, &f->err);
	return mem_new(sizeof *self.claim);
}

static FIXTURE_USED bool fixture_report(struct fixture *f, uint64_t token, const struct queue_result *results, size_t n_results,
					const struct queue_notice *notice)
{
	struct fixture_flag flag = {0};

	queue_report(f->queue, token, results, n_results, notice, fixture_on_done, &flag);
	CHECK(!flag.done);
	if (!CHECK(fixture_wait(f, &flag.done)))
		return false;
	f->err = flag.err;
	return flag.err.code == ERR_NONE;
}

static FIXTURE_USED bool fixture_report_one(struct fixture *f, const struct queue_claim *claim, size_t i,
					    enum queue_result_kind kind, int64_t due, const char *reply)
{
	struct queue_result result = {.recipient = claim->items[i].recipient, .kind = kind, .due = due, .reply = reply};

	return fixture_report(f, claim->token, &result, 1, NULL);
}

/* ---- reading ---- */

struct fixture_open_result {
	bool done;
	struct queue_reader *reader;
	struct err err;
};

static FIXTURE_USED void fixture_on_open(struct queue_reader *reader, const struct err *err, void *arg)
{
	struct fixture_open_result *self = arg;

	self->done = true;
	self->reader = reader;
	if (err != NULL)
		self->err = *err;
}

static FIXTURE_USED struct queue_reader *fixture_reader(struct fixture *f, const struct queue_stored *stored)
{
	struct fixture_open_result self = {0};

	queue_body_open(f->queue, stored, fixture_on_open, &self);
	CHECK(!self.done);
	CHECK(fixture_wait(f, &self.done));
	f->err = self.err;
	return self.reader;
}

struct fixture_read_result {
	bool done;
	ssize_t got;
	struct err err;
};

static FIXTURE_USED void fixture_on_read(ssize_t got, const struct err *err, void *arg)
{
	struct fixture_read_result *self = arg;

	self->done = true;
	self->got = got;
	if (err != NULL)
		self->err = *err;
}

static FIXTURE_USED ssize_t fixture_read(struct fixture *f, struct queue_reader *reader, enum queue_part part, uint64_t offset,
					 void *data, size_t len)
{
	struct fixture_read_result self = {0};

	queue_reader_read(reader, part, offset, data, len, fixture_on_read, &self);
	CHECK(!self.done);
	CHECK(fixture_wait(f, &self.done));
	if (self.got < 0)
		f->err = self.err;
	return self.got;
}

static FIXTURE_USED bool fixture_verify(struct fixture *f, struct queue_reader *reader)
{
	struct fixture_flag flag = {0};

	queue_reader_verify(reader, fixture_on_done, &flag);
	CHECK(!flag.done);
	CHECK(fixture_wait(f, &flag.done));
	f->err = flag.err;
	return flag.err.code == ERR_NONE;
}

static FIXTURE_USED bool fixture_read_all(struct fixture *f, struct queue_reader *reader, enum queue_part part, struct buf *out)
{
	uint8_t chunk[65536];
	ssize_t got;

	while ((got = fixture_read(f, reader, part, out->len, chunk, sizeof chunk)) > 0)
		buf_put(out, chunk, (size_t)got);
	return got == 0;
}

/* ---- the operator ---- */

struct fixture_set_result {
	bool done;
	uint64_t changed;
	struct err err;
};

static FIXTURE_USED void fixture_on_set(uint64_t changed, const struct err *err, void *arg)
{
	struct fixture_set_result *self = arg;

	self->done = true;
	self->changed = changed;
	if (err != NULL)
		self->err = *err;
}

static FIXTURE_USED uint64_t fixture_set(struct fixture *f, uint64_t message, enum queue_action action)
{
	const struct queue_filter filter = {.message = message};
	struct fixture_set_result self = {0};

	queue_set(f->queue, &filter, action, fixture_on_set, &self);
	CHECK(!self.done);
	CHECK(fixture_wait(f, &self.done));
	f->err = self.err;
	CHECK_OK(self.err.code == ERR_NONE, &f->err);
	return self.changed;
}

struct fixture_list_result {
	bool done;
	size_t count;
	char *states[16]; /* of the first rows; free() them */
	uint64_t last;
	struct err err;
};

static FIXTURE_USED void fixture_on_list(const struct queue_row *rows, size_t count, const struct err *err, void *arg)
{
	struct fixture_list_result *self = arg;

	self->done = true;
	self->count = count;
	for (size_t i = 0; i < count; i++) {
		if (i < sizeof self->states / sizeof *self->states)
			self->states[i] =
			    mem_format("%s %s %s", rows[i].address, rows[i].state, rows[i].reply != NULL ? rows[i].reply : "-");
		self->last = rows[i].recipient;
	}
	if (err != NULL)
		self->err = *err;
}

static FIXTURE_USED struct fixture_list_result fixture_list(struct fixture *f, uint64_t message, uint64_t after, size_t limit)
{
	const struct queue_filter filter = {.message = message};
	struct fixture_list_result self = {0};

	queue_list(f->queue, &filter, after, limit, fixture_on_list, &self);
	CHECK(!self.done);
	CHECK(fixture_wait(f, &self.done));
	CHECK_OK(self.err.code == ERR_NONE, &self.err);
	return self;
}

static FIXTURE_USED void fixture_list_clear(struct fixture_list_result *list)
{
	for (size_t i = 0; i < sizeof list->states / sizeof *list->states; i++)
		free(list->states[i]);
}

/* How many files are in the spool. */
static FIXTURE_USED unsigned fixture_files(const struct fixture *f)
{
	char *command = mem_format("find '%s/spool' -type f | wc -l", f->directory);
	FILE *pipe = popen(command, "r");
	unsigned count = 0;

	CHECK(pipe != NULL && fscanf(pipe, "%u", &count) == 1);
	if (pipe != NULL)
		pclose(pipe);
	free(command);
	return count;
}

#endif
