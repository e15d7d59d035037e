/* The task BENCHMARK of provision.h: how fast the token signs. Codecs are pure. */
#ifndef INKAN_HSM_PROTOCOL_BENCHMARK_H
#define INKAN_HSM_PROTOCOL_BENCHMARK_H

#include "hsm/protocol/provision.h"
#include "hsm/protocol/worker.h"

#define BENCHMARK_LEAST_SECONDS 5
#define BENCHMARK_MOST_SECONDS 300
#define BENCHMARK_SECONDS 30

struct benchmark_task {
	uint32_t seconds; /* of measuring, all together */
	struct worker_certificates certificates; /* whose keys are used where the token makes none for the purpose */
};

struct benchmark_result {
	char *key_type; /* "RSA-2048" */
	uint32_t processes, threads; /* of each */
	uint64_t signatures;
	uint32_t milliseconds;
	uint32_t p50_us, p99_us; /* of one signature */
};

struct benchmark_results {
	struct benchmark_result *items; /* in the order of measuring */
	size_t count;
};

void benchmark_task_encode(struct buf *out, uint32_t seconds, const struct worker_certificates *certificates);
bool benchmark_task_decode(struct msg *msg, struct benchmark_task *task, struct err *err) MUST_USE; /* clear `certificates` */

void benchmark_results_encode(struct buf *out, const struct benchmark_results *results);
bool benchmark_results_decode(struct msg *msg, struct benchmark_results *results, struct err *err) MUST_USE;
void benchmark_results_clear(struct benchmark_results *results);

uint64_t benchmark_rate(const struct benchmark_result *result); /* signatures a second */

/*
 * The settings that the results speak for: the fewest sessions that come within a tenth of the highest rate, of the kind of key
 * that wants most, in two processes at least, so that one may fail.
 */
void benchmark_advise(const struct benchmark_results *results, unsigned *processes, unsigned *threads);

#endif
