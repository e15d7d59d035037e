/* inkan-hsm sign as a process: what it says to inkand and to the relay. Each test runs once for each back end. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "hsm/protocol/tls_text.h"
#include "tests/token/faults.h"
#include "tests/token/worker.h"
#include "tests/unit/test.h"

static const char *backend;

static struct test_start usual(void)
{
	return (struct test_start){.backend = backend};
}

/* A worker on a fresh token, ready and connected. */
static void start_worker(struct test_worker *worker, const struct test_start *start)
{
	struct worker_ready ready;

	worker_spawn(worker, start);
	if (!CHECK(worker_wait_ready(worker, &ready)))
		exit(1);
	worker_ready_clear(&ready);
	worker_connect(worker);
}

static void ready_tells_what_it_has(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct worker_ready ready;

	softhsm_fresh();
	start.threads = 3;
	worker_spawn(&worker, &start);
	if (CHECK(worker_wait_ready(&worker, &ready))) {
		CHECK_TEXT(ready.token, SOFTHSM_LABEL);
		CHECK_TEXT(ready.model, "SoftHSM v2");
		CHECK_TEXT(ready.firmware, "2.6");
		CHECK_INT(ready.threads, 3);
		CHECK_INT(ready.keys_loaded, SOFTHSM_KEYS);
		CHECK_INT(ready.keys_missing, 0);
		worker_ready_clear(&ready);
	}
	worker_end(&worker);
}

static void threads_are_bounded_by_the_back_end(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct worker_ready ready;

	softhsm_fresh();
	start.threads = 1000;
	worker_spawn(&worker, &start);
	if (CHECK(worker_wait_ready(&worker, &ready))) {
		CHECK_INT(ready.threads, strcmp(backend, "engine") == 0 ? 16 : 64);
		worker_ready_clear(&ready);
	}
	worker_end(&worker);
}

/* All processes together leave one session to the console's tasks. */
static void threads_are_bounded_by_the_sessions_of_the_token(void)
{
	static const struct {
		const char *limit;
		unsigned processes, threads;
	} cases[] = {{"9", 2, 4}, {"8", 2, 3}, {"4", 1, 3}, {"2", 2, 1}, {"0", 2, 8}};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct test_start start = {.backend = backend, .threads = 8, .processes = cases[i].processes};
		struct test_worker worker;
		struct worker_ready ready;

		test_case("%s: %s sessions, %u processes", backend, cases[i].limit, cases[i].processes);
		softhsm_fresh();
		faults_prepare(&start);
		if (strcmp(cases[i].limit, "0") != 0)
			fault_on("session-limit", cases[i].limit);
		worker_spawn(&worker, &start);
		if (CHECK(worker_wait_ready(&worker, &ready))) {
			CHECK_INT(ready.threads, cases[i].threads);
			worker_ready_clear(&ready);
		}
		worker_end(&worker);
	}
}

#define MANY 200

static void two_hundred_signatures_verify(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	bool seen[MANY + 1] = {false};
	unsigned asked = 0, verified = 0;

	softhsm_fresh();
	start_worker(&worker, &start);
	for (unsigned got = 0; got < MANY; got++) {
		struct test_answer answer;

		while (asked < MANY && asked < got + 8) {
			struct sign_request request = worker_request(asked + 1, asked % SOFTHSM_KEYS + 1);

			request.pss = strncmp(softhsm_keys()[asked % SOFTHSM_KEYS].type, "rsa", 3) == 0 && asked % 2 == 0;
			worker_ask(&worker, &request);
			asked++;
		}
		if (!CHECK(worker_answer(&worker, &answer, WORKER_WAIT_MS)))
			break;
		test_case("request %u", (unsigned)answer.id);
		if (CHECK(answer.is_signed) && CHECK(answer.id >= 1 && answer.id <= MANY && !seen[answer.id])) {
			seen[answer.id] = true;
			verified += worker_verifies(buf_bytes(&answer.cms), &softhsm_keys()[(answer.id - 1) % SOFTHSM_KEYS]);
		}
		buf_clear(&answer.cms);
	}
	CHECK_INT(verified, MANY);
	worker_end(&worker);
}

static void a_start_that_cannot_succeed_says_why(void)
{
	const struct {
		const char *name;
		struct test_start start;
		enum worker_exit exit;
		const char *text;
	} cases[] = {
	    {"wrong PIN", {.pin = "000000"}, WORKER_EXIT_PIN_REJECTED, "PIN"},
	    {"no PIN", {.pin = ""}, WORKER_EXIT_PIN_REJECTED, "needs a PIN"},
	    {"no such token", {.label = "another"}, WORKER_EXIT_TOKEN_ABSENT, "no token labelled \"another\""},
	    {"no module", {.module = "/nowhere/module.so"}, WORKER_EXIT_MODULE, "/nowhere/module.so"},
	    {"bad environment", {.environment = {(char[]){"JUSTANAME"}}}, WORKER_EXIT_INTERNAL, "NAME=VALUE"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct test_start start = cases[i].start;
		struct worker_failed failed = {0};
		struct test_worker worker;
		struct buf payload = {0};
		uint16_t type = 0;
		struct msg msg;

		test_case("%s: %s", backend, cases[i].name);
		softhsm_fresh();
		start.backend = backend;
		worker_spawn(&worker, &start);
		CHECK(frame_receive(worker.control, &type, &payload, NULL, clock_monotonic_ms() + WORKER_WAIT_MS, NULL));
		CHECK_INT(type, WORKER_FRAME_FAILED);
		msg = msg_of(buf_bytes(&payload));
		if (CHECK(worker_failed_decode(&msg, &failed, NULL))) {
			CHECK_INT(failed.exit_code, cases[i].exit);
			CHECK_CONTAINS(failed.text, cases[i].text);
			worker_failed_clear(&failed);
		}
		CHECK_INT(worker_exit_status(&worker), cases[i].exit);
		buf_clear(&payload);
		worker_end(&worker);
	}
}

static void the_last_try_of_a_pin_is_not_taken(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct worker_ready ready;

	softhsm_fresh();
	faults_prepare(&start);
	fault_on("final-try", "");
	worker_spawn(&worker, &start);
	CHECK(!worker_wait_ready(&worker, &ready));
	CHECK_INT(worker_exit_status(&worker), WORKER_EXIT_PIN_REJECTED);
	CHECK_INT(fault_logins(), 0);
	worker_end(&worker);
}

static void a_wrong_pin_costs_one_login(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct worker_ready ready;

	softhsm_fresh();
	faults_prepare(&start);
	start.pin = "000000";
	worker_spawn(&worker, &start);
	CHECK(!worker_wait_ready(&worker, &ready));
	CHECK_INT(worker_exit_status(&worker), WORKER_EXIT_PIN_REJECTED);
	CHECK_INT(fault_logins(), 1);
	worker_end(&worker);
}

static void check_failure(struct test_worker *worker, uint64_t id, enum sign_failure_class class, const char *text)
{
	struct test_answer answer;

	if (CHECK(worker_answer(worker, &answer, WORKER_WAIT_MS)) && CHECK(!answer.is_signed)) {
		CHECK_INT(answer.id, id);
		CHECK_INT(answer.class, class);
		CHECK_CONTAINS(answer.text, text);
	}
	buf_clear(&answer.cms);
}

static void check_signed(struct test_worker *worker, uint64_t id, const struct softhsm_key *key)
{
	struct test_answer answer;

	if (CHECK(worker_answer(worker, &answer, WORKER_WAIT_MS)) && CHECK(answer.is_signed)) {
		CHECK_INT(answer.id, id);
		CHECK(worker_verifies(buf_bytes(&answer.cms), key));
	}
	buf_clear(&answer.cms);
}

static void bad_requests_get_their_class(void)
{
	struct worker_certificate items[2];
	struct worker_certificates certificates = {.items = items, .count = 2};
	struct test_start start = usual();
	struct test_worker worker;
	struct sign_request request;
	struct buf out = {0};

	softhsm_fresh();
	items[0] = test_certificates()->items[3]; /* p256 */
	items[1] = test_certificates()->items[0];
	items[1].id = 99;
	items[1].key_id = bytes_text("not on the token");
	start.certificates = &certificates;
	start_worker(&worker, &start);

	test_case("%s: unknown certificate", backend);
	request = worker_request(1, 12345);
	worker_ask(&worker, &request);
	check_failure(&worker, 1, SIGN_FAIL_CERTIFICATE, "no such certificate");
	test_case("%s: key missing", backend);
	request = worker_request(2, 99);
	worker_ask(&worker, &request);
	check_failure(&worker, 2, SIGN_FAIL_CERTIFICATE, "the key is not on the token");
	test_case("%s: PSS with an EC key", backend);
	request = worker_request(3, 4);
	request.pss = true;
	worker_ask(&worker, &request);
	check_failure(&worker, 3, SIGN_FAIL_REQUEST, "PSS");
	test_case("%s: no budget left", backend);
	request = worker_request(4, 4);
	request.budget_ms = 0;
	worker_ask(&worker, &request);
	check_failure(&worker, 4, SIGN_FAIL_CANCELLED, "time");
	test_case("%s: digest of no known algorithm", backend);
	request = worker_request(5, 4);
	sign_request_encode(&out, &request);
	out.data[16] = 9;
	CHECK(frame_send(worker.relay, SIGN_FRAME_REQUEST, buf_bytes(&out), -1, clock_monotonic_ms() + WORKER_WAIT_MS, NULL));
	check_failure(&worker, 5, SIGN_FAIL_REQUEST, "algorithm 9");
	test_case("%s: and then a good one", backend);
	request = worker_request(6, 4);
	worker_ask(&worker, &request);
	check_signed(&worker, 6, softhsm_key("p256"));
	buf_clear(&out);
	worker_end(&worker);
}

static void ask_tls(struct test_worker *worker, uint64_t id, uint64_t certificate, bool pss, struct bytes text)
{
	struct sign_request request = {
	    .id = id, .certificate = certificate, .algorithm = SIGN_SHA256, .pss = pss, .budget_ms = 20000, .tls_len = text.len};
	struct buf out = {0};

	memcpy(request.tls_text, text.data, text.len);
	sign_tls_encode(&out, &request);
	CHECK(frame_send(worker->relay, SIGN_FRAME_TLS, buf_bytes(&out), -1, clock_monotonic_ms() + WORKER_WAIT_MS, NULL));
	buf_clear(&out);
}

static void check_handshake(struct test_worker *worker, const struct softhsm_key *key, struct bytes text)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	struct test_answer answer;

	if (CHECK(worker_answer(worker, &answer, WORKER_WAIT_MS)) && CHECK(answer.is_signed)) {
		CHECK(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->key) == 1);
		CHECK(EVP_DigestVerify(context, answer.cms.data, answer.cms.len, text.data, text.len) == 1);
	}
	EVP_MD_CTX_free(context);
	buf_clear(&answer.cms);
}

static void purposes_do_not_mix(void)
{
	struct worker_certificate items[3];
	struct worker_certificates certificates = {.items = items, .count = 3};
	static const uint8_t hash[32] = {7};
	uint8_t text[TLS_TEXT_EXAMPLE_BYTES];
	struct test_start start = usual();
	struct test_worker worker;
	struct sign_request request;

	softhsm_fresh();
	tls_text_example(text, hash);
	items[0] = test_certificates()->items[3]; /* p256, id 4 */
	items[0].tls = true;
	items[1] = test_certificates()->items[0]; /* rsa2048, id 1 */
	items[1].tls = true;
	items[2] = test_certificates()->items[3];
	items[2].id = 40; /* the same key for mail, as the worker sees it: another certificate */
	start.certificates = &certificates;
	start_worker(&worker, &start);

	test_case("%s: a TLS key and mail", backend);
	request = worker_request(1, 4);
	worker_ask(&worker, &request);
	check_failure(&worker, 1, SIGN_FAIL_REQUEST, "does not sign mail");
	test_case("%s: a mail key and a handshake", backend);
	ask_tls(&worker, 2, 40, false, bytes_of(text, sizeof text));
	check_failure(&worker, 2, SIGN_FAIL_REQUEST, "does not serve TLS");
	test_case("%s: a TLS key and another text", backend);
	ask_tls(&worker, 3, 4, false, bytes_text("Pay 1000 to Mallory"));
	check_failure(&worker, 3, SIGN_FAIL_REQUEST, "nothing but the handshakes");
	test_case("%s: each does its own", backend);
	ask_tls(&worker, 4, 4, false, bytes_of(text, sizeof text));
	check_handshake(&worker, softhsm_key("p256"), bytes_of(text, sizeof text));
	ask_tls(&worker, 5, 1, false, bytes_of(text, sizeof text));
	check_handshake(&worker, softhsm_key("rsa2048"), bytes_of(text, sizeof text));
	request = worker_request(6, 40);
	worker_ask(&worker, &request);
	check_signed(&worker, 6, softhsm_key("p256"));
	worker_end(&worker);
}

static void a_missing_key_is_counted_and_found_after_the_next_commit(void)
{
	static const uint8_t id[] = {0x42, 0x43};
	struct worker_certificate items[2];
	struct worker_certificates certificates = {.items = items, .count = 2};
	struct test_start start = usual();
	struct sign_request request;
	struct test_worker worker;
	struct worker_ready ready;
	struct buf out = {0};

	softhsm_fresh();
	items[0] = test_certificates()->items[3];
	items[1] = test_certificates()->items[0];
	items[1].id = 50;
	items[1].key_id = bytes_of(id, sizeof id);
	start.certificates = &certificates;
	worker_spawn(&worker, &start);
	if (!CHECK(worker_wait_ready(&worker, &ready)))
		exit(1);
	CHECK_INT(ready.keys_loaded, 1);
	CHECK_INT(ready.keys_missing, 1);
	worker_ready_clear(&ready);
	worker_connect(&worker);
	softhsm_import(softhsm_key("rsa2048")->key, id, sizeof id);
	worker_certificates_encode(&out, &certificates);
	worker_send(&worker, WORKER_FRAME_CERTIFICATES, buf_bytes(&out));
	if (CHECK(worker_wait_ready(&worker, &ready))) {
		CHECK_INT(ready.keys_missing, 0);
		worker_ready_clear(&ready);
	}
	request = worker_request(1, 50);
	worker_ask(&worker, &request);
	check_signed(&worker, 1, softhsm_key("rsa2048"));
	request = worker_request(2, 4);
	worker_ask(&worker, &request);
	check_signed(&worker, 2, softhsm_key("p256"));
	buf_clear(&out);
	worker_end(&worker);
}

static void a_certificate_that_is_taken_away_signs_no_more(void)
{
	struct worker_certificates fewer = {.items = test_certificates()->items, .count = 1};
	struct test_start start = usual();
	struct test_worker worker;
	struct sign_request request;
	struct worker_ready ready;
	struct buf out = {0};

	softhsm_fresh();
	start_worker(&worker, &start);
	worker_certificates_encode(&out, &fewer);
	worker_send(&worker, WORKER_FRAME_CERTIFICATES, buf_bytes(&out));
	if (CHECK(worker_wait_ready(&worker, &ready))) {
		CHECK_INT(ready.keys_loaded, 1);
		worker_ready_clear(&ready);
	}
	request = worker_request(1, 4);
	worker_ask(&worker, &request);
	check_failure(&worker, 1, SIGN_FAIL_CERTIFICATE, "no such certificate");
	request = worker_request(2, 1);
	worker_ask(&worker, &request);
	check_signed(&worker, 2, softhsm_key("rsa2048"));
	buf_clear(&out);
	worker_end(&worker);
}

static void a_new_channel_replaces_the_old_one(void)
{
	struct test_start start = usual();
	struct test_worker worker, old;
	struct sign_request request;
	struct test_answer answer;

	softhsm_fresh();
	faults_prepare(&start);
	start_worker(&worker, &start);
	fault_on("slow", "300");
	request = worker_request(7, 1);
	worker_ask(&worker, &request);
	usleep(100000);
	old = worker;
	worker.relay = worker_pass_channel(&worker);
	request = worker_request(1, 4);
	worker_ask(&worker, &request);
	check_signed(&worker, 1, softhsm_key("p256"));
	usleep(300000);
	test_case("%s: the old relay hears nothing but the end", backend);
	CHECK(!worker_answer(&old, &answer, 100));
	test_case("%s: nothing of the old relay's comes to the new one", backend);
	CHECK(!worker_answer(&worker, &answer, 500));
	close(old.relay);
	worker_end(&worker);
}

static void what_is_cancelled_before_it_starts_is_not_signed(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct sign_request request;
	struct buf out = {0};

	softhsm_fresh();
	faults_prepare(&start);
	start.threads = 1;
	start_worker(&worker, &start);
	fault_on("slow", "400");
	for (uint64_t id = 1; id <= 2; id++) {
		request = worker_request(id, 1);
		worker_ask(&worker, &request);
	}
	msg_put_u64(&out, 2);
	CHECK(frame_send(worker.relay, SIGN_FRAME_CANCEL, buf_bytes(&out), -1, clock_monotonic_ms() + WORKER_WAIT_MS, NULL));
	check_signed(&worker, 1, softhsm_key("rsa2048"));
	check_failure(&worker, 2, SIGN_FAIL_CANCELLED, "cancelled");
	buf_clear(&out);
	worker_end(&worker);
}

static void a_budget_that_passes_while_waiting_is_not_signed(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct sign_request request;

	softhsm_fresh();
	faults_prepare(&start);
	start.threads = 1;
	start_worker(&worker, &start);
	fault_on("slow", "400");
	request = worker_request(1, 1);
	worker_ask(&worker, &request);
	request = worker_request(2, 1);
	request.budget_ms = 100;
	worker_ask(&worker, &request);
	check_signed(&worker, 1, softhsm_key("rsa2048"));
	check_failure(&worker, 2, SIGN_FAIL_CANCELLED, "time");
	worker_end(&worker);
}

static void stop_finishes_what_runs_and_hands_back_what_waits(void)
{
	struct test_start start = usual();
	struct test_worker worker;
	struct sign_request request;

	softhsm_fresh();
	faults_prepare(&start);
	start.threads = 1;
	start_worker(&worker, &start);
	fault_on("slow", "400");
	for (uint64_t id = 1; id <= 2; id++) {
		request = worker_request(id, 1);
		worker_ask(&worker, &request);
	}
	usleep(150000);
	worker_send(&worker, WORKER_FRAME_STOP, (struct bytes){0});
	check_signed(&worker, 1, softhsm_key("rsa2048"));
	check_failure(&worker, 2, SIGN_FAIL_RETRY, "stopping");
	CHECK_INT(worker_exit_status(&worker), WORKER_EXIT_OK);
	worker_end(&worker);
}

#define MAPPING_MAX_BYTES (1ul << 30) /* a larger one is a sanitizer's shadow */

/* How often the octets are in the memory that the process can write; -1 when it cannot be read. */
static int count_in_memory(pid_t pid, const char *needle)
{
	char *maps_path = mem_format("/proc/%d/maps", (int)pid), *mem_path = mem_format("/proc/%d/mem", (int)pid);
	FILE *maps = fopen(maps_path, "r");
	int mem = open(mem_path, O_RDONLY | O_CLOEXEC), count = maps != NULL && mem >= 0 ? 0 : -1;
	unsigned long from, to;
	char line[512], mode[8];

	while (count >= 0 && fgets(line, sizeof line, maps) != NULL) {
		uint8_t *copy, *at;
		ssize_t got;

		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' || to - from > MAPPING_MAX_BYTES)
			continue;
		copy = mem_new(to - from);
		got = pread(mem, copy, to - from, (off_t)from);
		for (at = copy; got > 0 && (at = memmem(at, (size_t)(copy + got - at), needle, strlen(needle))) != NULL; at++)
			count++;
		free(copy);
	}
	if (maps != NULL)
		fclose(maps);
	if (mem >= 0)
		close(mem);
	free(maps_path);
	free(mem_path);
	return count;
}

/* libp11 keeps copies for as long as it lives; there is no other way to give it the PIN. */
static void the_pin_is_not_kept(void)
{
	bool engine = strcmp(backend, "engine") == 0;
	struct test_start start = usual();
	struct sign_request request;
	struct test_worker worker;
	int left;

	softhsm_fresh();
	start_worker(&worker, &start);
	request = worker_request(1, 1);
	worker_ask(&worker, &request);
	check_signed(&worker, 1, softhsm_key("rsa2048"));
	if (geteuid() != 0) { /* a worker's memory is closed to its own user */
		CHECK_INT(count_in_memory(worker.pid, SOFTHSM_LABEL), -1);
		worker_end(&worker);
		return;
	}
	CHECK(count_in_memory(worker.pid, SOFTHSM_LABEL) > 0); /* what is there is found */
	left = count_in_memory(worker.pid, SOFTHSM_PIN);
	printf("  %s: %d copies of the PIN\n", backend, left);
	CHECK(engine ? left >= 0 && left <= 2 : left == 0);
	worker_end(&worker);
}

static void without_inkand_a_worker_ends(void)
{
	struct test_start start = usual();
	struct test_worker worker;

	softhsm_fresh();
	start_worker(&worker, &start);
	close(worker.control);
	worker.control = -1;
	CHECK_INT(worker_exit_status(&worker), WORKER_EXIT_OK);
	worker_end(&worker);
}

int main(void)
{
	static const char *const names[] = {"engine", "cryptoki"};

	signal(SIGPIPE, SIG_IGN);
	(void)softhsm_keys();
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		backend = names[i];
		printf("back end %s\n", backend);
		TEST(ready_tells_what_it_has);
		TEST(threads_are_bounded_by_the_back_end);
		TEST(threads_are_bounded_by_the_sessions_of_the_token);
		TEST(two_hundred_signatures_verify);
		TEST(a_start_that_cannot_succeed_says_why);
		TEST(the_last_try_of_a_pin_is_not_taken);
		TEST(a_wrong_pin_costs_one_login);
		TEST(bad_requests_get_their_class);
		TEST(purposes_do_not_mix);
		TEST(a_missing_key_is_counted_and_found_after_the_next_commit);
		TEST(a_certificate_that_is_taken_away_signs_no_more);
		TEST(a_new_channel_replaces_the_old_one);
		TEST(what_is_cancelled_before_it_starts_is_not_signed);
		TEST(a_budget_that_passes_while_waiting_is_not_signed);
		TEST(stop_finishes_what_runs_and_hands_back_what_waits);
		TEST(the_pin_is_not_kept);
		TEST(without_inkand_a_worker_ends);
	}
	return test_finish();
}
