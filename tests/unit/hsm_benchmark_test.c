/* hsm/protocol/benchmark.h: the codecs whole and cut anywhere, and what the results speak for. */
#include <string.h>

#include "hsm/protocol/benchmark.h"
#include "tests/unit/test.h"

static struct benchmark_result row(const char *type, uint32_t processes, uint32_t threads, uint64_t rate)
{
	return (struct benchmark_result){.key_type = (char *)type,
					 .processes = processes,
					 .threads = threads,
					 .signatures = rate * 2,
					 .milliseconds = 2000,
					 .p50_us = 1500,
					 .p99_us = 9000};
}

static void results_survive_the_wire(void)
{
	struct benchmark_result rows[] = {row("RSA-2048", 1, 8, 900), row("EC-P256", 2, 4, 12000)};
	struct benchmark_results results = {.items = rows, .count = 2}, got;
	struct buf out = {0};
	struct msg msg;

	benchmark_results_encode(&out, &results);
	msg = msg_of(buf_bytes(&out));
	if (CHECK(benchmark_results_decode(&msg, &got, NULL))) {
		CHECK_INT(got.count, 2);
		CHECK_TEXT(got.items[1].key_type, "EC-P256");
		CHECK_INT(got.items[1].threads, 4);
		CHECK_INT(got.items[0].p99_us, 9000);
		CHECK_INT(benchmark_rate(&got.items[0]), 900);
		benchmark_results_clear(&got);
	}
	for (size_t len = 0; len < out.len; len++) {
		msg = msg_of(bytes_of(out.data, len));
		test_case("%zu octets", len);
		CHECK(!benchmark_results_decode(&msg, &got, NULL));
	}
	buf_clear(&out);
}

static void a_task_has_a_sensible_length(void)
{
	static const struct {
		uint32_t seconds;
		bool good;
	} cases[] = {{0, false}, {4, false}, {5, true}, {30, true}, {300, true}, {301, false}, {UINT32_MAX, false}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct benchmark_task task = {0};
		struct buf out = {0};
		struct msg msg;
		bool good;

		test_case("%u seconds", cases[i].seconds);
		benchmark_task_encode(&out, cases[i].seconds, &(struct worker_certificates){0});
		msg = msg_of(buf_bytes(&out));
		good = benchmark_task_decode(&msg, &task, NULL);
		CHECK_INT(good, cases[i].good);
		if (good)
			worker_certificates_clear(&task.certificates);
		buf_clear(&out);
	}
}

static void the_advice_is_the_knee(void)
{
	const struct {
		const char *name;
		struct benchmark_result rows[5];
		size_t count;
		unsigned processes, threads;
	} cases[] = {
	    {"one core: more gains nothing", {row("RSA-2048", 1, 1, 700), row("RSA-2048", 1, 2, 710)}, 2, 2, 1},
	    {"a distant HSM", {row("RSA-2048", 1, 1, 200), row("RSA-2048", 1, 16, 3000), row("RSA-2048", 1, 32, 3100)}, 3, 2, 8},
	    {"processes help", {row("EC-P256", 1, 2, 6000), row("EC-P256", 2, 2, 9000), row("EC-P256", 4, 2, 15000)}, 3, 4, 2},
	    {"the slower kind wants more",
	     {row("EC-P256", 1, 1, 9000), row("RSA-4096", 1, 1, 100), row("RSA-4096", 1, 8, 700)},
	     3,
	     2,
	     4},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct benchmark_results results = {.items = (struct benchmark_result *)cases[i].rows, .count = cases[i].count};
		unsigned processes, threads;

		test_case("%s", cases[i].name);
		benchmark_advise(&results, &processes, &threads);
		CHECK_INT(processes, cases[i].processes);
		CHECK_INT(threads, cases[i].threads);
	}
}

int main(void)
{
	TEST(results_survive_the_wire);
	TEST(a_task_has_a_sensible_length);
	TEST(the_advice_is_the_knee);
	return test_finish();
}
