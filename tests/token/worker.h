/* A worker process (inkan-hsm sign) as inkand and the relay see it, for tests. Whatever cannot be had ends the test program. */
#ifndef INKAN_TESTS_WORKER_H
#define INKAN_TESTS_WORKER_H

#include "hsm/protocol/sign.h"
#include "hsm/protocol/worker.h"
#include "tests/token/softhsm.h"

#define WORKER_WAIT_MS 20000 /* for anything that a worker should say */

struct test_worker {
	pid_t pid;
	int control;
	int relay; /* -1: not connected */
};

struct test_start {
	const char *backend; /* NULL: engine */
	const char *module; /* NULL: SoftHSM */
	const char *label; /* NULL: SOFTHSM_LABEL */
	const char *pin; /* NULL: SOFTHSM_PIN; "" is none */
	unsigned threads; /* 0: 4 */
	unsigned processes; /* that share the token; 0: 1 */
	char *environment[8]; /* beside SOFTHSM2_CONF; NULL ends it */
	const struct worker_certificates *certificates; /* NULL: test_certificates() */
};

/* The certificates of softhsm_keys(), with ids 1 to SOFTHSM_KEYS. */
const struct worker_certificates *test_certificates(void);

/* Starts the program of this build and sends START. */
void worker_spawn(struct test_worker *worker, const struct test_start *start);
void worker_spawn_as(struct test_worker *worker, const struct worker_start *start); /* on any token */
bool worker_wait_ready(struct test_worker *worker, struct worker_ready *ready); /* false: it said FAILED, or died */
void worker_connect(struct test_worker *worker); /* CHANNEL, a new one each time */
int worker_pass_channel(struct test_worker *worker); /* the same, but the relay's end is the caller's */
void worker_send(struct test_worker *worker, uint16_t type, struct bytes payload);
int worker_exit_status(struct test_worker *worker); /* waits for its end; -1: by a signal, or not in time */
void worker_end(struct test_worker *worker); /* kills it where it still runs, and closes */

/* As the relay: digest of worker_content, SHA-256. */
extern const char worker_content[];
struct sign_request worker_request(uint64_t id, uint64_t certificate);
void worker_ask(struct test_worker *worker, const struct sign_request *request);

struct test_answer {
	uint64_t id;
	bool is_signed;
	struct buf cms;
	enum sign_failure_class class;
	char text[256];
};
/* False: nothing came within wait_ms, or the connection is closed. */
bool worker_answer(struct test_worker *worker, struct test_answer *answer, int64_t wait_ms);

/* By OpenSSL's own CMS_verify over the content: signature, digest and certificate. */
bool worker_verifies(struct bytes cms, const struct softhsm_key *key);

#endif
