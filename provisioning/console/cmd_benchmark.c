#include <stdlib.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/task.h"

static void show_results(struct console *console, const struct benchmark_results *results)
{
	static const struct report_column columns[] = {{"KEY", "key", false},	     {"PROCESSES", "processes", true},
						       {"THREADS", "threads", true}, {"SIGNATURES/S", "rate", true},
						       {"P50 US", "p50_us", true},   {"P99 US", "p99_us", true}};
	struct report report = report_of(REPORT_TABLE, columns, sizeof columns / sizeof *columns);

	for (size_t i = 0; i < results->count; i++) {
		const struct benchmark_result *result = &results->items[i];

		report_cell(&report, "%s", result->key_type);
		report_cell(&report, "%u", result->processes);
		report_cell(&report, "%u", result->threads);
		report_cell(&report, "%llu", (unsigned long long)benchmark_rate(result));
		report_cell(&report, "%u", result->p50_us);
		report_cell(&report, "%u", result->p99_us);
	}
	console_show(console, &report);
	report_clear(&report);
}

static void advise(struct console *console, const struct benchmark_results *results)
{
	unsigned processes, threads;

	benchmark_advise(results, &processes, &threads);
	console_say(console, "More sessions than this gain less than a tenth: set hsm processes %u, set hsm threads %u",
		    processes, threads);
	if (threads > 16)
		console_say(console, "The engine back end has 16 sessions in a process: set hsm backend cryptoki for more");
}

static bool benchmark(struct console *console, uint32_t seconds, const struct stored_certificates *certificates, struct err *err)
{
	struct worker_certificates keys = {0};
	struct benchmark_results results;
	struct task task;
	bool done;

	if (!task_open(console, &task, err))
		return false;
	list_keys(certificates, &keys);
	done = provision_benchmark(&task.call, seconds, &keys, &results, err);
	free(keys.items);
	task_close(&task);
	if (!done)
		return false;
	show_results(console, &results);
	advise(console, &results);
	benchmark_results_clear(&results);
	return true;
}

bool hsm_benchmark(struct console *console, const struct parsed *parsed, struct err *err)
{
	unsigned long seconds = parsed->n_typed > 0 ? strtoul(parsed->typed[0], NULL, 10) : BENCHMARK_SECONDS;
	struct stored_certificates certificates;
	bool done;

	if (seconds < BENCHMARK_LEAST_SECONDS || seconds > BENCHMARK_MOST_SECONDS)
		return err_set(err, ERR_INVALID, "a benchmark takes %d to %d seconds", BENCHMARK_LEAST_SECONDS,
			       BENCHMARK_MOST_SECONDS);
	if (!store_certificates(console->store, NULL, &certificates, err))
		return false;
	done = benchmark(console, (uint32_t)seconds, &certificates, err);
	stored_certificates_clear(&certificates);
	return done;
}
