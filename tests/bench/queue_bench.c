/*
 * How many messages a second the store makes durable, in groups as they come and one commit a message, in the same run.
 *
 *     queue_bench DIRECTORY [SECONDS] [ROUNDS]     a table; medians of ROUNDS runs of SECONDS each
 *     queue_bench DIRECTORY SECONDS SESSIONS SIZE  one run in groups, for strace -f -c
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue.h"

#define SESSIONS_MAX 256
#define ROUNDS_MAX 16
#define LATENCIES_MAX 200000

struct session {
	int64_t started_us;
};

static struct event_base *base;
static struct queue *queue;
static uint8_t *octets;
static size_t size;
static bool one_by_one, stopping;
static struct queue_body *held[SESSIONS_MAX]; /* one by one: who waits for its turn */
static struct session *turn[SESSIONS_MAX], sessions[SESSIONS_MAX];
static size_t n_held;
static bool busy;
static uint64_t stored;
static int64_t latencies_us[LATENCIES_MAX];

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static void begin(struct session *session);
static void commit(struct session *session, struct queue_body *body);

static void on_stored(enum queue_commit_result result, const struct err *err, void *arg)
{
	struct session *session = arg;

	if (result != QUEUE_STORED) {
		fprintf(stderr, "not stored: %s\n", err->text);
		exit(1);
	}
	if (stored < LATENCIES_MAX)
		latencies_us[stored] = now_us() - session->started_us;
	stored++;
	busy = false;
	if (one_by_one && n_held > 0) {
		struct session *next = turn[0];
		struct queue_body *body = held[0];

		n_held--;
		memmove(turn, turn + 1, n_held * sizeof *turn);
		memmove(held, held + 1, n_held * sizeof *held);
		commit(next, body);
	}
	if (!stopping)
		begin(session);
}

static void commit(struct session *session, struct queue_body *body)
{
	static const struct queue_recipient recipient = {.address = "reader@example.net"};
	struct queue_message message = {.id = queue_new_id(queue),
					.server = "default",
					.sender = "s@example.com",
					.message_id = "<x@y>",
					.received = 1,
					.expires = 2};

	if (one_by_one && busy) {
		turn[n_held] = session;
		held[n_held++] = body;
		return;
	}
	busy = true;
	queue_commit(queue, &message, &recipient, 1, body, NULL, on_stored, session);
}

struct sealing {
	struct session *session;
	struct queue_body *body;
};

static void on_sealed(const struct err *err, void *arg)
{
	struct sealing *sealing = arg;
	struct sealing done = *sealing;

	free(sealing);
	if (err != NULL) {
		fprintf(stderr, "not written: %s\n", err->text);
		exit(1);
	}
	commit(done.session, done.body);
}

static void begin(struct session *session)
{
	struct sealing *sealing = mem_new(sizeof *sealing);

	session->started_us = now_us();
	*sealing = (struct sealing){.session = session, .body = queue_body_begin(queue, size)};
	queue_body_append(sealing->body, bytes_of(octets, size));
	queue_body_seal(sealing->body, on_sealed, sealing);
}

static void on_ready(const struct err *err, void *arg)
{
	(void)arg;
	if (err != NULL) {
		fprintf(stderr, "%s\n", err->text);
		exit(1);
	}
	event_base_loopbreak(base);
}

static void on_closed(void *arg)
{
	(void)arg;
	event_base_loopbreak(base);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

struct figures {
	double rate, p50_ms, p99_ms, messages_a_transaction;
};

static struct figures run(const char *directory, unsigned n_sessions, double seconds)
{
	static unsigned number;
	char *path = mem_format("%s/%u", directory, number++);
	const struct queue_settings settings = {.directory = path, .min_free_bytes = 1 << 20};
	const struct queue_events events = {.ready = on_ready};
	struct timeval time = {.tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
	struct figures figures;
	uint64_t count, transactions;
	int64_t from;
	struct err err;

	queue = queue_open(base, &settings, &events, &err);
	event_base_dispatch(base);
	stored = 0;
	stopping = busy = false;
	from = now_us();
	for (unsigned i = 0; i < n_sessions; i++)
		begin(&sessions[i]);
	event_base_loopexit(base, &time);
	event_base_dispatch(base);
	count = stored;
	figures.rate = (double)count / ((double)(now_us() - from) / 1e6);
	transactions = queue_count(queue).transactions;
	qsort(latencies_us, count < LATENCIES_MAX ? count : LATENCIES_MAX, sizeof *latencies_us, compare);
	figures.p50_ms = (double)latencies_us[count / 2] / 1000;
	figures.p99_ms = (double)latencies_us[count * 99 / 100] / 1000;
	figures.messages_a_transaction = (double)count / (double)(transactions > 0 ? transactions : 1);
	stopping = true;
	time = (struct timeval){.tv_sec = 1};
	event_base_loopexit(base, &time);
	event_base_dispatch(base);
	queue_close(queue, on_closed, NULL);
	event_base_dispatch(base);
	free(path);
	path = mem_format("rm -rf '%s'/[0-9]*", directory);
	if (system(path) != 0)
		exit(1);
	free(path);
	return figures;
}

static int compare_rates(const void *a, const void *b)
{
	double x = ((const struct figures *)a)->rate, y = ((const struct figures *)b)->rate;

	return (x > y) - (x < y);
}

static void table(const char *directory, double seconds, unsigned rounds)
{
	static const size_t sizes[] = {1000, 10000, 100000};
	static const unsigned counts[] = {1, 8, 64};
	struct figures groups[ROUNDS_MAX] = {{0}}, singles[ROUNDS_MAX] = {{0}};

	printf("%7s %8s | %9s %13s %6s | %9s %13s | %5s\n", "octets", "sessions", "groups/s", "p50/p99 ms", "m/tx", "single/s",
	       "p50/p99 ms", "ratio");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
			size = sizes[i];
			for (unsigned r = 0; r < rounds; r++) {
				one_by_one = false;
				groups[r] = run(directory, counts[k], seconds);
				one_by_one = true;
				singles[r] = run(directory, counts[k], seconds);
			}
			qsort(groups, rounds, sizeof *groups, compare_rates);
			qsort(singles, rounds, sizeof *singles, compare_rates);
			printf("%7zu %8u | %9.0f %6.1f/%6.1f %6.1f | %9.0f %6.1f/%6.1f | %5.1f\n", size, counts[k],
			       groups[rounds / 2].rate, groups[rounds / 2].p50_ms, groups[rounds / 2].p99_ms,
			       groups[rounds / 2].messages_a_transaction, singles[rounds / 2].rate, singles[rounds / 2].p50_ms,
			       singles[rounds / 2].p99_ms, groups[rounds / 2].rate / singles[rounds / 2].rate);
			fflush(stdout);
		}
}

int main(int argc, char **argv)
{
	unsigned rounds;
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 1.5;

	if (argc < 2) {
		fprintf(stderr, "queue_bench DIRECTORY [SECONDS] [ROUNDS], or DIRECTORY SECONDS SESSIONS SIZE\n");
		return 2;
	}
	base = event_base_new();
	octets = mem_new(1 << 20);
	memset(octets, 'x', 1 << 20);
	if (argc == 5) {
		struct figures figures;

		size = strtoul(argv[4], NULL, 10);
		figures = run(argv[1], (unsigned)strtoul(argv[3], NULL, 10), seconds);
		printf("%llu messages, %.0f/s, %.1f a transaction\n", (unsigned long long)stored, figures.rate,
		       figures.messages_a_transaction);
		return 0;
	}
	rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 3;
	table(argv[1], seconds, rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds);
	return 0;
}
