#include "hsm/protocol/benchmark.h"

#include <stdlib.h>
#include <string.h>

#define RESULT_LEAST_BYTES 32
#define NEARLY_PERCENT 90
#define PROCESSES_LEAST 2

void benchmark_task_encode(struct buf *out, uint32_t seconds, const struct worker_certificates *certificates)
{
	msg_put_u32(out, seconds);
	worker_certificates_encode(out, certificates);
}

bool benchmark_task_decode(struct msg *msg, struct benchmark_task *task, struct err *err)
{
	struct benchmark_task got = {.seconds = msg_get_u32(msg)};

	if (!worker_certificates_decode(msg, &got.certificates, err))
		return false;
	if (got.seconds < BENCHMARK_LEAST_SECONDS || got.seconds > BENCHMARK_MOST_SECONDS) {
		worker_certificates_clear(&got.certificates);
		return err_set(err, ERR_INVALID, "a benchmark takes %d to %d seconds", BENCHMARK_LEAST_SECONDS,
			       BENCHMARK_MOST_SECONDS);
	}
	*task = got;
	return true;
}

void benchmark_results_encode(struct buf *out, const struct benchmark_results *results)
{
	msg_put_u32(out, (uint32_t)results->count);
	for (size_t i = 0; i < results->count; i++) {
		const struct benchmark_result *result = &results->items[i];

		msg_put_text(out, result->key_type);
		msg_put_u32(out, result->processes);
		msg_put_u32(out, result->threads);
		msg_put_u64(out, result->signatures);
		msg_put_u32(out, result->milliseconds);
		msg_put_u32(out, result->p50_us);
		msg_put_u32(out, result->p99_us);
	}
}

bool benchmark_results_decode(struct msg *msg, struct benchmark_results *results, struct err *err)
{
	struct benchmark_results got = {.count = msg_get_count(msg, RESULT_LEAST_BYTES)};

	got.items = mem_new_array(got.count + 1, sizeof *got.items);
	for (size_t i = 0; i < got.count; i++) {
		struct benchmark_result *result = &got.items[i];

		result->key_type = msg_get_text(msg);
		result->processes = msg_get_u32(msg);
		result->threads = msg_get_u32(msg);
		result->signatures = msg_get_u64(msg);
		result->milliseconds = msg_get_u32(msg);
		result->p50_us = msg_get_u32(msg);
		result->p99_us = msg_get_u32(msg);
	}
	if (!msg_end(msg, "benchmark results", err)) {
		benchmark_results_clear(&got);
		return false;
	}
	*results = got;
	return true;
}

void benchmark_results_clear(struct benchmark_results *results)
{
	for (size_t i = 0; i < results->count; i++)
		free(results->items[i].key_type);
	free(results->items);
	*results = (struct benchmark_results){0};
}

uint64_t benchmark_rate(const struct benchmark_result *result)
{
	return result->milliseconds > 0 ? result->signatures * 1000 / result->milliseconds : 0;
}

static uint64_t highest_rate(const struct benchmark_results *results, const char *key_type)
{
	uint64_t highest = 0;

	for (size_t i = 0; i < results->count; i++) {
		if (strcmp(results->items[i].key_type, key_type) == 0 && benchmark_rate(&results->items[i]) > highest)
			highest = benchmark_rate(&results->items[i]);
	}
	return highest;
}

static unsigned sessions_of(const struct benchmark_result *result)
{
	return result->processes * result->threads;
}

static const struct benchmark_result *knee_of(const struct benchmark_results *results, const char *key_type)
{
	uint64_t enough = highest_rate(results, key_type) * NEARLY_PERCENT / 100;
	const struct benchmark_result *knee = NULL;

	for (size_t i = 0; i < results->count; i++) {
		const struct benchmark_result *result = &results->items[i];

		if (strcmp(result->key_type, key_type) == 0 && benchmark_rate(result) >= enough &&
		    (knee == NULL || sessions_of(result) < sessions_of(knee)))
			knee = result;
	}
	return knee;
}

void benchmark_advise(const struct benchmark_results *results, unsigned *processes, unsigned *threads)
{
	unsigned sessions = 1;

	*processes = PROCESSES_LEAST;
	for (size_t i = 0; i < results->count; i++) {
		const struct benchmark_result *knee = knee_of(results, results->items[i].key_type);

		if (knee->processes > *processes)
			*processes = knee->processes;
		if (sessions_of(knee) > sessions)
			sessions = sessions_of(knee);
	}
	*threads = (sessions + *processes - 1) / *processes;
}
