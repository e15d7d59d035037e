/*
 * The console's side of provisioning: blocking calls with a deadline on the task connection that inkand handed out
 * (one connection, one task). `progress` may be NULL. Results are released with their _clear of provision.h.
 */
#ifndef INKAN_HSM_CLIENT_PROVISION_H
#define INKAN_HSM_CLIENT_PROVISION_H

#include "hsm/protocol/benchmark.h"
#include "hsm/protocol/provision.h"
#include "hsm/protocol/worker.h"

#define PROVISION_TELL_MS 5000 /* without a word of the task, `progress` is told that it goes on */

typedef void provision_progress(const char *text, void *arg);

struct provision_call {
	int fd; /* stays the caller's */
	int lock; /* passed along with the task, which holds it as long as it lives; 0: none. Stays the caller's */
	int64_t deadline_ms; /* clock_monotonic_ms */
	provision_progress *progress;
	void *arg;
	bool *clean; /* set when the task reported its failure and that it left nothing behind. NULL: not of interest */
};

bool provision_describe(const struct provision_call *call, struct token_description *description, struct err *err) MUST_USE;
bool provision_initialize(const struct provision_call *call, const struct initialize_task *task,
			  struct token_description *description, struct err *err) MUST_USE;
bool provision_import(const struct provision_call *call, const struct import_task *task, struct import_result *result,
		      struct err *err) MUST_USE;
bool provision_request(const struct provision_call *call, const struct request_task *task, struct request_result *result,
		       struct err *err) MUST_USE;
bool provision_install(const struct provision_call *call, const struct install_task *task, struct import_result *result,
		       struct err *err) MUST_USE;
bool provision_delete(const struct provision_call *call, struct bytes key_id, uint32_t *destroyed, struct err *err) MUST_USE;
/* destroyed[i] is for key_ids[i], destroyed[count] for unfinished objects. */
bool provision_sweep(const struct provision_call *call, const struct sweep_task *task, uint32_t *destroyed,
		     struct err *err) MUST_USE;
bool provision_benchmark(const struct provision_call *call, uint32_t seconds, const struct worker_certificates *certificates,
			 struct benchmark_results *results, struct err *err) MUST_USE;
bool provision_test(const struct provision_call *call, const struct worker_certificates *certificates,
		    struct test_results *results, struct err *err) MUST_USE;

bool provision_checkpoint(const struct provision_call *call, const struct checkpoint_task *task, struct checkpoint_result *result,
			  struct err *err) MUST_USE;

/* Seals the password of a next hop for the configuration; appends to *sealed. */
bool provision_seal(const struct provision_call *call, struct bytes context, struct bytes secret, struct buf *sealed,
		    struct err *err) MUST_USE;

#endif
