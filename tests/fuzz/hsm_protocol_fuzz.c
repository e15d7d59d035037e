/* Every message between the programs and inkan-hsm: what is decoded is encoded again as itself. The first octet chooses one. */
#include "hsm/protocol/benchmark.h"
#include "hsm/protocol/provision.h"
#include "hsm/protocol/sign.h"
#include "hsm/protocol/worker.h"
#include "tests/fuzz/fuzz.h"

static void no_clear(void *value)
{
	(void)value;
}

static void failure_clear(struct sign_failure *failure)
{
	free(failure->text);
}

static void benchmark_task_again(struct buf *out, const struct benchmark_task *task)
{
	benchmark_task_encode(out, task->seconds, &task->certificates);
}

static void benchmark_task_clear(struct benchmark_task *task)
{
	worker_certificates_clear(&task->certificates);
}

FUZZ_CODEC(request, struct sign_request, sign_request_decode, sign_request_encode, no_clear)
FUZZ_CODEC(tls, struct sign_request, sign_tls_decode, sign_tls_encode, no_clear)
FUZZ_CODEC(result, struct sign_result, sign_result_decode, sign_result_encode, no_clear)
FUZZ_CODEC(failure, struct sign_failure, sign_failure_decode, sign_failure_encode, failure_clear)
FUZZ_CODEC(certificates, struct worker_certificates, worker_certificates_decode, worker_certificates_encode,
	   worker_certificates_clear)
FUZZ_CODEC(start, struct worker_start, worker_start_decode, worker_start_encode, worker_start_clear)
FUZZ_CODEC(ready, struct worker_ready, worker_ready_decode, worker_ready_encode, worker_ready_clear)
FUZZ_CODEC(health, struct worker_health, worker_health_decode, worker_health_encode, worker_health_clear)
FUZZ_CODEC(failed, struct worker_failed, worker_failed_decode, worker_failed_encode, worker_failed_clear)
FUZZ_CODEC(sealed, struct sealed_secret, sealed_secret_decode, sealed_secret_encode, no_clear)
FUZZ_CODEC(token, struct token_description, token_description_decode, token_description_encode, token_description_clear)
FUZZ_CODEC(initialize, struct initialize_task, initialize_task_decode, initialize_task_encode, initialize_task_clear)
FUZZ_CODEC(import, struct import_task, import_task_decode, import_task_encode, import_task_clear)
FUZZ_CODEC(key_request, struct request_task, request_task_decode, request_task_encode, request_task_clear)
FUZZ_CODEC(request_answer, struct request_result, request_result_decode, request_result_encode, request_result_clear)
FUZZ_CODEC(sweep, struct sweep_task, sweep_task_decode, sweep_task_encode, sweep_task_clear)
FUZZ_CODEC(install, struct install_task, install_task_decode, install_task_encode, install_task_clear)
FUZZ_CODEC(import_answer, struct import_result, import_result_decode, import_result_encode, import_result_clear)
FUZZ_CODEC(tests, struct test_results, test_results_decode, test_results_encode, test_results_clear)
FUZZ_CODEC(benchmark, struct benchmark_task, benchmark_task_decode, benchmark_task_again, benchmark_task_clear)
FUZZ_CODEC(benchmark_answer, struct benchmark_results, benchmark_results_decode, benchmark_results_encode,
	   benchmark_results_clear)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const codecs[])(struct bytes) = {
	    request, tls,	    result, failure,	certificates,	  start,       ready, health,
	    failed,  sealed,	    token,  initialize, import,		  key_request, sweep, request_answer,
	    install, import_answer, tests,  benchmark,	benchmark_answer,
	};

	if (size > 0)
		codecs[data[0] % (sizeof codecs / sizeof *codecs)](bytes_of(data + 1, size - 1));
	return 0;
}
