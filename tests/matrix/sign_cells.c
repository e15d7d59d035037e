/* The rows of signing: each is done by a process `inkan-hsm sign`, asked as the relay asks it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "tests/matrix/matrix.h"
#include "tests/token/provisioning.h"
#include "tests/token/worker.h"
#include "tests/unit/test.h"

#define SIGNATURES 1000
#define THREADS 8
#define AHEAD 64 /* requests that wait in the worker */
#define RECOVERY_MS 20000

enum { ID_RSA = 1, ID_EC = 2 }; /* ids of the certificates */

static const struct matrix_key *keys[ID_EC + 1];

static void spawn(const struct matrix_token *token, const char *backend, struct test_worker *worker)
{
	struct worker_start start = {.pin = bytes_text(MATRIX_PIN), .has_pin = true};
	struct worker_certificate items[ID_EC];
	struct bytes chains[ID_EC + 1][2];

	matrix_settings(token, &start.settings);
	provisioning_set(&start.settings.backend, backend);
	start.settings.threads = THREADS;
	start.certificates.items = items;
	for (uint64_t i = ID_RSA; i <= ID_EC; i++) {
		if (keys[i]->type[0] == '\0')
			continue;
		chains[i][0] = buf_bytes(&keys[i]->leaf);
		chains[i][1] = buf_bytes(&keys[i]->issuer);
		items[start.certificates.count++] = (struct worker_certificate){
		    .id = i, .key_id = bytes_of(keys[i]->id, sizeof keys[i]->id), .chain = chains[i], .n_chain = 2};
	}
	worker_spawn_as(worker, &start);
	hsm_settings_clear(&start.settings);
}

/* False when it did not get ready; it is ended then. */
static bool start_worker(const struct matrix_token *token, const char *backend, struct test_worker *worker)
{
	struct worker_ready ready = {0};
	bool good;

	spawn(token, backend, worker);
	good = worker_wait_ready(worker, &ready);
	worker_ready_clear(&ready);
	if (good)
		worker_connect(worker);
	else
		worker_end(worker);
	return good;
}

static void stop_worker(struct test_worker *worker)
{
	worker_send(worker, WORKER_FRAME_STOP, (struct bytes){0});
	(void)worker_exit_status(worker);
	worker_end(worker);
}

static bool is_verified(const struct test_answer *answer, uint64_t certificate)
{
	const struct softhsm_key as_key = {.certificate = keys[certificate]->certificate};

	return answer->is_signed && worker_verifies(buf_bytes(&answer->cms), &as_key);
}

/* One signature; "" or why not, to free. */
static char *sign_one(struct test_worker *worker, uint64_t certificate, bool pss)
{
	struct sign_request request = worker_request(certificate, certificate);
	struct test_answer answer;
	struct buf out = {0};
	char *why;
	bool sent;

	request.pss = pss;
	sign_request_encode(&out, &request);
	sent = frame_send(worker->relay, SIGN_FRAME_REQUEST, buf_bytes(&out), -1, clock_monotonic_ms() + WORKER_WAIT_MS, NULL);
	buf_clear(&out);
	if (!sent || !worker_answer(worker, &answer, WORKER_WAIT_MS))
		return mem_string("the worker is gone");
	why = mem_string(is_verified(&answer, certificate) ? "" : answer.is_signed ? "does not verify" : answer.text);
	buf_clear(&answer.cms);
	return why;
}

/* ---- what each back end signs ---- */

static void add_kind(struct buf *text, struct test_worker *worker, const char *name, uint64_t certificate, bool pss)
{
	char *why = keys[certificate]->type[0] != '\0' ? sign_one(worker, certificate, pss) : mem_string("no key");

	buf_printf(text, "%s%s%s", text->len > 0 ? ", " : "", why[0] != '\0' ? "not " : "", name);
	if (why[0] != '\0' && getenv("INKAN_TEST_VERBOSE") != NULL)
		fprintf(stderr, "%s: %s\n", name, why);
	free(why);
}

static void try_kinds(const struct matrix_token *token, const char *backend, const char *row)
{
	struct test_worker worker;
	struct buf text = {0};

	if (start_worker(token, backend, &worker)) {
		add_kind(&text, &worker, "RSA", ID_RSA, false);
		add_kind(&text, &worker, "PSS", ID_RSA, true);
		add_kind(&text, &worker, "ECDSA", ID_EC, false);
		stop_worker(&worker);
	} else {
		buf_put_text(&text, "does not start");
	}
	matrix_cell(row, bytes_string(buf_bytes(&text)));
	buf_clear(&text);
}

/* ---- many ---- */

static unsigned take_answers(struct test_worker *worker, unsigned *waiting, unsigned leave, uint64_t certificate)
{
	unsigned good = 0;

	while (*waiting > leave) {
		struct test_answer answer;

		if (!worker_answer(worker, &answer, WORKER_WAIT_MS)) {
			*waiting = 0;
			return good;
		}
		good += is_verified(&answer, certificate);
		buf_clear(&answer.cms);
		--*waiting;
	}
	return good;
}

static unsigned sign_many(struct test_worker *worker, unsigned count, uint64_t certificate)
{
	unsigned good = 0, waiting = 0;

	for (unsigned i = 0; i < count; i++) {
		struct sign_request request = worker_request(i + 1, certificate);

		worker_ask(worker, &request);
		waiting++;
		good += take_answers(worker, &waiting, AHEAD - 1, certificate);
	}
	return good + take_answers(worker, &waiting, 0, certificate);
}

static void try_many(const struct matrix_token *token, const char *backend, const char *row)
{
	struct test_worker worker;
	unsigned good = 0;

	if (start_worker(token, backend, &worker)) {
		int64_t began = clock_monotonic_ms();

		good = sign_many(&worker, SIGNATURES, ID_RSA);
		printf("%s, %s: %u signatures in %lld ms\n", token->column, backend, good,
		       (long long)(clock_monotonic_ms() - began));
		stop_worker(&worker);
	}
	matrix_cell(row, mem_format("%u", good));
}

/* ---- loss and recovery ---- */

/* As inkand does it: a worker that has gone is started again, until it signs. False: not within RECOVERY_MS. */
static bool recovers(const struct matrix_token *token, const char *backend, struct test_worker *worker, unsigned *restarts)
{
	int64_t end = clock_monotonic_ms() + RECOVERY_MS;

	while (clock_monotonic_ms() < end) {
		char *why = worker->pid > 0 ? sign_one(worker, ID_RSA, false) : mem_string("no worker");
		bool good = why[0] == '\0';

		free(why);
		if (good)
			return true;
		usleep(100000);
		if (worker->pid > 0 && kill(worker->pid, 0) == 0 && waitpid(worker->pid, NULL, WNOHANG) == 0)
			continue;
		if (worker->pid > 0) {
			worker->pid = 0;
			worker_end(worker);
		}
		++*restarts;
		if (!start_worker(token, backend, worker))
			worker->pid = 0;
	}
	return false;
}

/* The cell of it; the worker is ended. */
static char *recovery(const struct matrix_token *token, const char *backend, struct test_worker *worker, unsigned *restarts)
{
	bool good = recovers(token, backend, worker, restarts);

	if (worker->pid > 0)
		stop_worker(worker);
	return mem_string(!good ? "no" : *restarts > 0 ? "another worker" : "same worker");
}

static void try_kill(const struct matrix_token *token, const char *backend, const char *row)
{
	struct test_worker worker;
	unsigned restarts = 0;

	if (!CHECK(start_worker(token, backend, &worker)))
		return;
	(void)sign_many(&worker, 20, ID_RSA);
	worker_end(&worker);
	worker.pid = 0;
	matrix_cell(row, recovery(token, backend, &worker, &restarts));
}

/* tests/token/faulty_module.c stands before the token's own module: all its sessions are gone, the login stays. */
static void try_expiry(const struct matrix_token *token, const char *backend, const char *row)
{
	const char *directory = test_directory();
	char *expire = mem_format("%s/expire", directory);
	struct matrix_token behind = *token;
	struct test_worker worker;
	unsigned restarts = 0;
	size_t n = 0, w = 0;

	while (behind.environment[n] != NULL)
		n++;
	while (behind.writable[w] != NULL)
		w++;
	behind.module = provisioning_module("../token/faulty_module");
	behind.environment[n] = mem_format("INKAN_FAULTY_MODULE=%s", token->module);
	behind.environment[n + 1] = mem_format("INKAN_FAULTY_DIRECTORY=%s", directory);
	behind.writable[w] = (char *)directory;
	if (CHECK(start_worker(&behind, backend, &worker))) {
		free(sign_one(&worker, ID_RSA, false));
		CHECK(test_write_file(expire, bytes_text("1")));
		matrix_cell(row, recovery(&behind, backend, &worker, &restarts));
	}
	free((char *)behind.module);
	free(behind.environment[n]);
	free(behind.environment[n + 1]);
	free(expire);
}

static void try_loss(const struct matrix_token *token, const char *backend, const char *row)
{
	struct test_worker worker;
	unsigned restarts = 0;
	char *why;

	if (token->lose == NULL || !start_worker(token, backend, &worker)) {
		matrix_cell(row, mem_string("-"));
		return;
	}
	free(sign_one(&worker, ID_RSA, false));
	token->lose();
	why = sign_one(&worker, ID_RSA, false);
	printf("%s, %s, without its token: \"%s\"\n", token->column, backend, why);
	free(why);
	token->restore();
	matrix_cell(row, recovery(token, backend, &worker, &restarts));
}

void matrix_sign(const struct matrix_token *token, const struct matrix_key *rsa, const struct matrix_key *ec)
{
	keys[ID_RSA] = rsa;
	keys[ID_EC] = ec;
	try_kinds(token, "engine", "signs through `engine`");
	try_kinds(token, "cryptoki", "signs through `cryptoki`");
	try_many(token, "engine", "1,000 by 8 threads, `engine`");
	try_many(token, "cryptoki", "1,000 by 8 threads, `cryptoki`");
	try_expiry(token, "engine", "sessions lost, `engine`");
	try_expiry(token, "cryptoki", "sessions lost, `cryptoki`");
	try_kill(token, "engine", "worker killed, `engine`");
	try_kill(token, "cryptoki", "worker killed, `cryptoki`");
	try_loss(token, "engine", "token lost and back, `engine`");
	try_loss(token, "cryptoki", "token lost and back, `cryptoki`");
}
