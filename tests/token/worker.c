#include "tests/token/worker.h"

#include <fcntl.h>
#include <openssl/cms.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "tests/unit/test.h"

const char worker_content[] = "Content-Type: text/plain\r\n\r\nsigned\r\n";

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/token/worker.c: %s\n", what);
	exit(1);
}

const struct worker_certificates *test_certificates(void)
{
	static struct worker_certificate items[SOFTHSM_KEYS];
	static struct bytes chains[SOFTHSM_KEYS][2];
	static struct worker_certificates all = {.items = items, .count = SOFTHSM_KEYS};
	struct softhsm_key *keys = softhsm_keys();

	for (unsigned i = 0; i < SOFTHSM_KEYS; i++) {
		chains[i][0] = buf_bytes(&keys[i].der);
		chains[i][1] = buf_bytes(&keys[i].issuer_der);
		items[i] = (struct worker_certificate){
		    .id = i + 1, .key_id = bytes_of(keys[i].id, sizeof keys[i].id), .chain = chains[i], .n_chain = 2};
	}
	return &all;
}

/* BUILD/tests/token/THIS -> BUILD/bin/inkan-hsm */
static char *program(void)
{
	char self[4096], *slash;
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	must(len > 0, "readlink");
	self[len] = '\0';
	for (int i = 0; i < 3; i++) {
		slash = strrchr(self, '/');
		must(slash != NULL, self);
		*slash = '\0';
	}
	return mem_format("%s/bin/inkan-hsm", self);
}

static void run_program(int control)
{
	char *path = program();

	dup2(control, CHILD_CONTROL_FD); /* the copy is not close-on-exec */
	if (getenv("INKAN_TEST_VERBOSE") == NULL)
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	execl(path, "inkan-hsm", "sign", (char *)NULL);
	_exit(127);
}

void worker_spawn_as(struct test_worker *worker, const struct worker_start *start)
{
	struct buf out = {0};
	int fds[2];

	must(frame_socketpair(fds, false, NULL), "socketpair");
	*worker = (struct test_worker){.control = fds[0], .relay = -1};
	fflush(NULL);
	worker->pid = fork();
	must(worker->pid >= 0, "fork");
	if (worker->pid == 0)
		run_program(fds[1]);
	close(fds[1]);
	worker_start_encode(&out, start);
	worker_send(worker, WORKER_FRAME_START, buf_bytes(&out));
	buf_wipe_clear(&out);
}

void worker_spawn(struct test_worker *worker, const struct test_start *how)
{
	char *environment[sizeof how->environment / sizeof how->environment[0] + 1] = {mem_string(softhsm_conf())};
	char *writable[] = {mem_string(softhsm_tokens()), mem_string("/tmp")};
	const char *pin = how->pin != NULL ? how->pin : SOFTHSM_PIN;
	struct worker_start start = {
	    .settings = {.module = mem_string(how->module != NULL ? how->module : softhsm_module()),
			 .token = mem_string(how->label != NULL ? how->label : SOFTHSM_LABEL),
			 .backend = mem_string(how->backend != NULL ? how->backend : "engine"),
			 .threads = how->threads > 0 ? how->threads : 4,
			 .processes = how->processes,
			 .import_minimum = mem_string("rewrap"),
			 .environment = environment,
			 .n_environment = 1,
			 .writable = writable,
			 .n_writable = 2},
	    .certificates = how->certificates != NULL ? *how->certificates : *test_certificates(),
	    .pin = bytes_text(pin),
	    .has_pin = pin[0] != '\0',
	};

	while (how->environment[start.settings.n_environment - 1] != NULL) {
		environment[start.settings.n_environment] = how->environment[start.settings.n_environment - 1];
		start.settings.n_environment++;
	}
	worker_spawn_as(worker, &start);
	free(environment[0]);
	free(writable[0]);
	free(writable[1]);
	free(start.settings.module);
	free(start.settings.token);
	free(start.settings.backend);
	free(start.settings.import_minimum);
}

void worker_send(struct test_worker *worker, uint16_t type, struct bytes payload)
{
	must(frame_send(worker->control, type, payload, -1, clock_monotonic_ms() + WORKER_WAIT_MS, NULL), "send to the worker");
}

bool worker_wait_ready(struct test_worker *worker, struct worker_ready *ready)
{
	struct buf payload = {0};
	struct msg msg;
	uint16_t type = 0;
	bool good = frame_receive(worker->control, &type, &payload, NULL, clock_monotonic_ms() + WORKER_WAIT_MS, NULL);

	msg = msg_of(buf_bytes(&payload));
	good = good && type == WORKER_FRAME_READY && worker_ready_decode(&msg, ready, NULL);
	buf_clear(&payload);
	return good;
}

int worker_pass_channel(struct test_worker *worker)
{
	int fds[2];

	must(frame_socketpair(fds, true, NULL), "socketpair");
	must(frame_send(worker->control, WORKER_FRAME_CHANNEL, (struct bytes){0}, fds[1], clock_monotonic_ms() + WORKER_WAIT_MS,
			NULL),
	     "pass the channel");
	close(fds[1]);
	return fds[0];
}

void worker_connect(struct test_worker *worker)
{
	if (worker->relay >= 0)
		close(worker->relay);
	worker->relay = worker_pass_channel(worker);
}

int worker_exit_status(struct test_worker *worker)
{
	int64_t end = clock_monotonic_ms() + WORKER_WAIT_MS;
	int status;

	while (clock_monotonic_ms() < end) {
		if (waitpid(worker->pid, &status, WNOHANG) == worker->pid) {
			worker->pid = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		}
		usleep(5000);
	}
	return -1;
}

void worker_end(struct test_worker *worker)
{
	if (worker->pid > 0) {
		kill(worker->pid, SIGKILL);
		waitpid(worker->pid, NULL, 0);
	}
	close(worker->control);
	if (worker->relay >= 0)
		close(worker->relay);
}

struct sign_request worker_request(uint64_t id, uint64_t certificate)
{
	struct sign_request request = {.id = id, .certificate = certificate, .algorithm = SIGN_SHA256, .budget_ms = 20000};

	must(EVP_Q_digest(NULL, "SHA256", NULL, worker_content, strlen(worker_content), request.digest, NULL) == 1, "digest");
	request.signing_time = clock_wall_seconds();
	return request;
}

void worker_ask(struct test_worker *worker, const struct sign_request *request)
{
	struct buf out = {0};

	sign_request_encode(&out, request);
	must(frame_send(worker->relay, SIGN_FRAME_REQUEST, buf_bytes(&out), -1, clock_monotonic_ms() + WORKER_WAIT_MS, NULL),
	     "send a request");
	buf_clear(&out);
}

static bool decode_answer(uint16_t type, struct msg *msg, struct test_answer *answer)
{
	struct sign_result result;
	struct sign_failure failure;

	if (type == SIGN_FRAME_RESULT && sign_result_decode(msg, &result, NULL)) {
		answer->id = result.id;
		answer->is_signed = true;
		buf_put_bytes(&answer->cms, result.cms);
		return true;
	}
	if (type != SIGN_FRAME_FAILURE || !sign_failure_decode(msg, &failure, NULL))
		return false;
	answer->id = failure.id;
	answer->class = failure.class;
	snprintf(answer->text, sizeof answer->text, "%s", failure.text);
	free(failure.text);
	return true;
}

bool worker_answer(struct test_worker *worker, struct test_answer *answer, int64_t wait_ms)
{
	struct buf payload = {0};
	struct msg msg;
	uint16_t type;
	bool good;

	*answer = (struct test_answer){0};
	good = frame_receive(worker->relay, &type, &payload, NULL, clock_monotonic_ms() + wait_ms, NULL);
	msg = msg_of(buf_bytes(&payload));
	good = good && decode_answer(type, &msg, answer);
	buf_clear(&payload);
	return good;
}

bool worker_verifies(struct bytes cms, const struct softhsm_key *key)
{
	const unsigned char *at = cms.data;
	CMS_ContentInfo *parsed = d2i_CMS_ContentInfo(NULL, &at, (long)cms.len);
	BIO *content = BIO_new_mem_buf(worker_content, -1);
	STACK_OF(X509) *signers = NULL;
	bool good = parsed != NULL && CMS_verify(parsed, NULL, NULL, content, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) == 1;

	if (good)
		signers = CMS_get0_signers(parsed);
	good = good && sk_X509_num(signers) == 1 && X509_cmp(sk_X509_value(signers, 0), key->certificate) == 0;
	sk_X509_free(signers);
	BIO_free(content);
	CMS_ContentInfo_free(parsed);
	return good;
}
