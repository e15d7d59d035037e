/*
 * A process of the benchmark: forked before any module is loaded, with a connection of its own. One order at a time. Its
 * parent is the provisioning process; when that ends, it ends too.
 */
#ifndef INKAN_HSM_PROVISION_BENCHMARK_PROCESS_H
#define INKAN_HSM_PROVISION_BENCHMARK_PROCESS_H

#include <sys/types.h>

#include "hsm/provision/tasks.h"
#include "hsm/token/speed.h"

struct benchmark_process {
	pid_t pid; /* 0: none */
	int fd;
};

struct benchmark_order {
	enum speed_kind kind;
	uint32_t threads, ms; /* ms 0: only make the key ready */
};

struct benchmark_answer {
	bool good;
	struct speed speed;
	enum err_code code; /* not good */
	char text[ERR_TEXT_MAX];
};

/* Returns when number `number`, after those before it, has logged in. */
bool benchmark_process_start(struct benchmark_process *processes, unsigned number, const struct provision *provision,
			     const struct worker_certificates *certificates, struct err *err) MUST_USE;
bool benchmark_process_order(const struct benchmark_process *process, const struct benchmark_order *order,
			     struct err *err) MUST_USE;
bool benchmark_process_answer(const struct benchmark_process *process, struct benchmark_answer *answer, struct err *err) MUST_USE;
/* Is there one with a key of that kind? */
bool benchmark_has_kind(const struct worker_certificates *certificates, enum speed_kind kind);

void benchmark_process_end(struct benchmark_process *process); /* waits for it */

#endif
