/*
 * `hsm benchmark`: signatures a second by kind of key, climbing threads, then processes, to the knee: the smallest number of
 * sessions that reaches nearly the highest rate. Runs beside the workers; what the token refuses (sessions) ends a climb.
 */
#include <stdlib.h>

#include "hsm/protocol/benchmark.h"
#include "hsm/provision/benchmark_process.h"

#define PROCESSES_MAX 4
#define STEPS_MOST 7 /* of one kind of key, for sharing out the time */
#define STEP_LEAST_MS 200
#define GAIN_PERCENT 10 /* less than that is no gain */

struct climb {
	struct benchmark_process *processes;
	enum speed_kind kind;
	uint32_t step_ms;
	const struct provision *provision;
	struct benchmark_results *results;
};

/* Orders to all, then answers of all, so that they sign at the same time; a connection is never left with an answer in it. */
static bool run_step(const struct climb *climb, unsigned processes, unsigned threads, uint32_t ms, struct speed *speed,
		     struct err *err)
{
	struct benchmark_order order = {.kind = climb->kind, .threads = threads, .ms = ms};
	struct benchmark_answer answer;
	unsigned asked = 0;
	bool good = true;

	for (; good && asked < processes; asked += good)
		good = benchmark_process_order(&climb->processes[asked], &order, err);
	for (unsigned i = 0; i < asked; i++) {
		bool answered = benchmark_process_answer(&climb->processes[i], &answer, good ? err : NULL);

		if (answered)
			speed_add(speed, &answer.speed);
		good = good && answered;
	}
	return good;
}

static bool measure(const struct climb *climb, unsigned processes, unsigned threads, uint64_t *rate, struct err *err)
{
	struct benchmark_results *results = climb->results;
	struct speed speed = {0};
	struct benchmark_result *result;
	char *said;

	if (!run_step(climb, processes, threads, 0, &speed, err) ||
	    !run_step(climb, processes, threads, climb->step_ms, &speed, err))
		return false;
	results->items = mem_resize(results->items, results->count + 1, sizeof *results->items);
	result = &results->items[results->count++];
	*result = (struct benchmark_result){.key_type = mem_string(speed_kind_name(climb->kind)),
					    .processes = processes,
					    .threads = threads,
					    .signatures = speed.signatures,
					    .milliseconds = (uint32_t)(speed.elapsed_us / 1000),
					    .p50_us = speed_latency_us(&speed, 500),
					    .p99_us = speed_latency_us(&speed, 990)};
	*rate = benchmark_rate(result);
	said =
	    mem_format("%s, %u x %u: %llu signatures a second", result->key_type, processes, threads, (unsigned long long)*rate);
	provision_say(climb->provision, said);
	free(said);
	return true;
}

static bool is_gain(uint64_t rate, uint64_t best)
{
	return rate * 100 > best * (100 + GAIN_PERCENT);
}

/* False: nothing could be measured. */
static bool climb_up(const struct climb *climb, struct err *err)
{
	uint64_t best = 0, rate = 0;
	unsigned threads = 1, processes = 1;

	if (!measure(climb, 1, 1, &best, err))
		return false;
	while (threads * 2 <= SPEED_THREADS_MAX && measure(climb, 1, threads * 2, &rate, NULL) && is_gain(rate, best)) {
		threads *= 2;
		best = rate;
	}
	while (processes * 2 <= PROCESSES_MAX && measure(climb, processes * 2, threads, &rate, NULL) && is_gain(rate, best)) {
		processes *= 2;
		best = rate;
	}
	return true;
}

static bool wanted(const struct worker_certificates *certificates, enum speed_kind kind)
{
	return kind == SPEED_RSA_2048 || kind == SPEED_EC_P256 || benchmark_has_kind(certificates, kind);
}

static void end_all(struct benchmark_process *processes)
{
	for (unsigned i = 0; i < PROCESSES_MAX; i++)
		benchmark_process_end(&processes[i]);
}

/* One login after the other (pkcs11.md §8). */
static bool start_all(struct benchmark_process *processes, struct provision *provision,
		      const struct worker_certificates *certificates, struct err *err)
{
	for (unsigned i = 0; i < PROCESSES_MAX; i++) {
		struct err why = {0};

		if (benchmark_process_start(processes, i, provision, certificates, &why))
			continue;
		if (why.code == ERR_DENIED && provision->pin != NULL)
			provision->connection.exit = WORKER_EXIT_PIN_REJECTED;
		return err_set(err, why.code, "%s", why.text);
	}
	if (provision->login_is_past != NULL)
		provision->login_is_past();
	return true;
}

static bool run_all(struct climb *climb, const struct worker_certificates *certificates, uint32_t seconds, struct err *err)
{
	unsigned kinds = 0, measured = 0;

	for (enum speed_kind kind = 0; kind < SPEED_KINDS; kind++)
		kinds += wanted(certificates, kind);
	climb->step_ms = seconds * 1000 / (kinds * STEPS_MOST);
	if (climb->step_ms < STEP_LEAST_MS)
		climb->step_ms = STEP_LEAST_MS;
	for (enum speed_kind kind = 0; kind < SPEED_KINDS; kind++) {
		climb->kind = kind;
		measured += wanted(certificates, kind) && climb_up(climb, err);
	}
	return measured > 0;
}

bool task_benchmark(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct benchmark_process processes[PROCESSES_MAX] = {{0}};
	struct benchmark_results results = {0};
	struct climb climb = {.processes = processes, .provision = provision, .results = &results};
	struct benchmark_task task;
	bool good;

	if (!benchmark_task_decode(msg, &task, err))
		return false;
	good = start_all(processes, provision, &task.certificates, err) && run_all(&climb, &task.certificates, task.seconds, err);
	end_all(processes);
	if (good)
		benchmark_results_encode(result, &results);
	benchmark_results_clear(&results);
	worker_certificates_clear(&task.certificates);
	return good;
}
