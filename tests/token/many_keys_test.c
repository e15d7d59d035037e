/*
 * A worker on a token with a thousand keys, and with two that no back end signs with: when it is ready no key is looked for
 * any more, and no session opened, whatever key a message asks for first. Once for each back end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "tests/token/faults.h"
#include "tests/unit/test.h"

#define TEST_SECONDS 300
#define EACH 500
#define MANY (2 * EACH)
#define THREADS 4
#define SETTLED_MS 1000 /* without a key loaded */
#define CPU_LIMIT_MS 3000 /* from exec to READY; of processor time, since the machine has other work */

static const char *backend;

static struct worker_certificate items[MANY];
static struct bytes chains[MANY][2];
static uint8_t ids[MANY][3];

static const struct softhsm_key *key_of(unsigned number)
{
	return softhsm_key(number < EACH ? "rsa2048" : "p256");
}

static const struct worker_certificates *a_thousand(void)
{
	static const struct worker_certificates all = {.items = items, .count = MANY};

	for (unsigned i = 0; i < MANY; i++) {
		const struct softhsm_key *key = key_of(i);
		unsigned number = i % EACH;

		ids[i][0] = i < EACH ? 0x11 : 0x12;
		ids[i][1] = (uint8_t)(number >> 8);
		ids[i][2] = (uint8_t)number;
		chains[i][0] = buf_bytes(&key->der);
		chains[i][1] = buf_bytes(&key->issuer_der);
		items[i] = (struct worker_certificate){
		    .id = i + 1, .key_id = bytes_of(ids[i], sizeof ids[i]), .chain = chains[i], .n_chain = 2};
	}
	return &all;
}

static void make_token(void)
{
	static const uint8_t foreign[][2] = {{0x01, 0x01}, {0x01, 0x02}};
	EVP_PKEY *ed25519 = test_key("ed25519"), *p521 = test_key("p521");

	softhsm_fresh();
	softhsm_import(ed25519, foreign[0], sizeof foreign[0]);
	softhsm_import(p521, foreign[1], sizeof foreign[1]);
	softhsm_multiply(softhsm_key("rsa2048"), 0x11, EACH);
	softhsm_multiply(softhsm_key("p256"), 0x12, EACH);
	EVP_PKEY_free(ed25519);
	EVP_PKEY_free(p521);
}

static int64_t cpu_ms(pid_t pid)
{
	char *path = mem_format("/proc/%d/stat", (int)pid);
	unsigned long user = 0, system = 0;
	FILE *file = fopen(path, "r");

	if (CHECK(file != NULL)) {
		CHECK_INT(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system), 2);
		fclose(file);
	}
	free(path);
	return (int64_t)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

static void start(struct test_worker *worker)
{
	struct test_start how = {.backend = backend, .threads = THREADS, .certificates = a_thousand()};
	int64_t begin = clock_monotonic_ms();
	struct worker_ready ready;

	faults_prepare(&how);
	worker_spawn(worker, &how);
	if (!CHECK(worker_wait_ready(worker, &ready)))
		exit(1);
	printf("   %s: ready after %lld ms, %lld ms of processor\n", backend, (long long)(clock_monotonic_ms() - begin),
	       (long long)cpu_ms(worker->pid));
	CHECK(cpu_ms(worker->pid) < CPU_LIMIT_MS);
	printf("   %u keys by then\n", ready.keys_loaded);
	CHECK_INT(ready.keys_missing, 0);
	worker_ready_clear(&ready);
	worker_connect(worker);
}

/* A slow machine is ready before all keys are loaded; the rest follows without anybody asking. */
static void wait_for_the_rest(void)
{
	uint64_t last = 0, now;

	while ((now = fault_calls("C_GetAttributeValue")) != last) {
		last = now;
		usleep(SETTLED_MS * 1000);
	}
}

/* Every key once, several at a time. */
static unsigned sign_with_all(struct test_worker *worker)
{
	unsigned asked = 0, verified = 0;

	for (unsigned got = 0; got < MANY; got++) {
		struct test_answer answer;

		for (; asked < MANY && asked < got + 2 * THREADS; asked++) {
			struct sign_request request = worker_request(asked + 1, asked + 1);

			worker_ask(worker, &request);
		}
		if (!CHECK(worker_answer(worker, &answer, WORKER_WAIT_MS)))
			break;
		verified += answer.is_signed && worker_verifies(buf_bytes(&answer.cms), key_of((unsigned)answer.id - 1));
		buf_clear(&answer.cms);
	}
	return verified;
}

static void no_message_costs_a_search_or_a_session(void)
{
	static const char *const counted[] = {"C_FindObjectsInit", "C_FindObjects", "C_GetAttributeValue", "C_OpenSession",
					      "C_Login"};
	uint64_t before[sizeof counted / sizeof counted[0]];
	struct test_worker worker;
	uint64_t signatures;

	start(&worker);
	wait_for_the_rest();
	for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++)
		before[i] = fault_calls(counted[i]);
	signatures = fault_calls("C_Sign");
	CHECK_INT(sign_with_all(&worker), MANY);
	CHECK_INT(fault_calls("C_Sign") - signatures, MANY);
	for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
		test_case("%s: %s", backend, counted[i]);
		CHECK_INT(fault_calls(counted[i]) - before[i], 0);
	}
	CHECK_INT(fault_calls("C_Login"), 1);
	worker_end(&worker);
}

int main(void)
{
	static const char *const names[] = {"engine", "cryptoki"};

	(void)softhsm_keys();
	make_token();
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		backend = names[i];
		TEST_IN_CHILD(no_message_costs_a_search_or_a_session, TEST_SECONDS);
	}
	return test_finish();
}
