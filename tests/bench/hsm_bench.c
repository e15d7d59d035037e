/*
 * What the HSM layer costs. Three ways to the same SoftHSM key, each in processes of its own: C_SignInit and C_Sign alone
 * ("raw"), token.h through each back end, and the relay's signer before workers (CMS and verification with it). Prints
 * signatures a second, and microseconds of processor time a signature. usage: hsm_bench [SECONDS]
 */
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "hsm/client/signer.h"
#include "hsm/token/cryptoki.h"
#include "hsm/token/token.h"
#include "tests/token/worker.h"
#include "tests/unit/test.h"

#define THREADS_MAX 64
#define WORKERS_MAX 16
#define DISTANT_US "5000"
#define DISTANT_SESSIONS 64
#define DISTANT_GOAL 11000.0
#define CRYPTOKI_GOAL 0.95
#define ENGINE_GOAL 0.90
#define OVERHEAD_GOAL_US 150.0

struct result {
	uint64_t signatures;
	double seconds, cpu_us; /* of processor time for each signature, of every process that took part */
};

static double seconds_of_run = 2;

static double rate(const struct result *result)
{
	return result->seconds > 0 ? (double)result->signatures / result->seconds : 0;
}

static double cpu_seconds(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- threads on one key ---- */

typedef bool sign_once(void *arg);

struct crew {
	sign_once *sign;
	void **args; /* one a thread */
	atomic_bool stop;
	atomic_ulong number, signatures;
};

static void *sign_until_told(void *arg)
{
	struct crew *crew = arg;
	unsigned long number = atomic_fetch_add(&crew->number, 1), made = 0;

	while (!atomic_load(&crew->stop)) {
		if (!crew->sign(crew->args[number])) {
			fputs("a signature failed\n", stderr);
			_exit(1);
		}
		made++;
	}
	atomic_fetch_add(&crew->signatures, made);
	return NULL;
}

static struct result run_crew(sign_once *sign, void **args, unsigned threads)
{
	struct crew crew = {.sign = sign, .args = args};
	double cpu = cpu_seconds(RUSAGE_SELF);
	int64_t begin = clock_monotonic_ms();
	pthread_t ids[THREADS_MAX];
	struct result result;

	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, sign_until_told, &crew);
	usleep((useconds_t)(seconds_of_run * 1e6));
	atomic_store(&crew.stop, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	result.seconds = (double)(clock_monotonic_ms() - begin) / 1e3;
	result.signatures = crew.signatures;
	result.cpu_us = (cpu_seconds(RUSAGE_SELF) - cpu) * 1e6 / (double)(result.signatures + 1);
	return result;
}

/* ---- raw ---- */

struct raw {
	struct session session;
	CK_OBJECT_HANDLE key;
	bool ec;
};

static bool sign_raw(void *arg)
{
	struct raw *raw = arg;
	CK_FUNCTION_LIST *p11 = session_functions(&raw->session);
	CK_MECHANISM mechanism = {raw->ec ? CKM_ECDSA : CKM_RSA_PKCS, NULL, 0};
	CK_BYTE data[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
			    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20},
		signature[1024];
	CK_ULONG len = sizeof signature;

	return p11->C_SignInit(raw->session.handle, &mechanism, raw->key) == CKR_OK &&
	       p11->C_Sign(raw->session.handle, data, raw->ec ? 32 : sizeof data, signature, &len) == CKR_OK;
}

static struct result run_raw(const struct softhsm_key *key, unsigned threads)
{
	struct module *module = module_open(softhsm_module(), NULL);
	struct raw raw[THREADS_MAX];
	void *args[THREADS_MAX];
	struct token_info info;
	unsigned long slot, handle = 0;

	if (module == NULL || !module_find_token(module, SOFTHSM_LABEL, &slot, &info, NULL))
		_exit(1);
	for (unsigned i = 0; i < threads; i++) {
		struct template template = {0};
		size_t found = 0;

		raw[i] = (struct raw){.ec = key->type[0] == 'p'};
		args[i] = &raw[i];
		if (!session_open(module, slot, &raw[i].session, NULL) ||
		    (i == 0 && !session_login(&raw[0].session, bytes_text(SOFTHSM_PIN), NULL)))
			_exit(1);
		template_number(&template, CKA_CLASS, CKO_PRIVATE_KEY);
		template_bytes(&template, CKA_ID, bytes_of(key->id, sizeof key->id));
		if (i == 0 && (!object_find(&raw[0].session, &template, &handle, 1, &found, NULL) || found != 1))
			_exit(1);
		raw[i].key = handle;
	}
	return run_crew(sign_raw, args, threads);
}

/* ---- token.h ---- */

static bool sign_by_token(void *arg)
{
	static const uint8_t digest[32] = {1};
	struct buf signature = {0};
	enum token_fault fault;
	bool done = token_sign(arg, SIGN_SHA256, false, bytes_of(digest, sizeof digest), &signature, &fault, NULL);

	buf_clear(&signature);
	return done;
}

static struct result run_token(const char *backend, const struct softhsm_key *key, unsigned threads)
{
	struct token_place place = {.backend = backend, .module = softhsm_module(), .label = SOFTHSM_LABEL, .threads = threads};
	struct secret *pin = secret_new(bytes_text(SOFTHSM_PIN), NULL);
	enum token_fault fault;
	struct token *token = token_open(&place, pin, &fault, NULL);
	struct token_key *loaded;
	void *args[THREADS_MAX];

	loaded = token != NULL ? token_load_key(token, bytes_of(key->id, sizeof key->id), key->key, &fault, NULL) : NULL;
	if (loaded == NULL)
		_exit(1);
	for (unsigned i = 0; i < threads; i++)
		args[i] = loaded;
	return run_crew(sign_by_token, args, threads);
}

/* ---- the relay's signer and workers ---- */

struct relay {
	struct event_base *base;
	struct signer *signer;
	struct sign_request request;
	uint64_t signatures;
	bool stop;
};

static void ask(struct relay *relay);

static void on_signed(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg)
{
	struct relay *relay = arg;

	if (outcome != SIGNER_SIGNED || cms.len == 0) {
		fprintf(stderr, "a signature failed: %s\n", text != NULL ? text : "");
		_exit(1);
	}
	relay->signatures++;
	if (!relay->stop)
		ask(relay);
}

static void ask(struct relay *relay)
{
	signer_request(relay->signer, &relay->request, clock_monotonic_ms() + WORKER_WAIT_MS, on_signed, relay);
}

static double run_loop(struct relay *relay, double seconds)
{
	struct timeval limit = {.tv_sec = (time_t)seconds, .tv_usec = (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
	int64_t begin = clock_monotonic_ms();

	relay->signatures = 0;
	event_base_loopexit(relay->base, &limit);
	event_base_dispatch(relay->base);
	return (double)(clock_monotonic_ms() - begin) / 1e3;
}

static double cpu_of(const struct test_worker *workers, unsigned count)
{
	double sum = cpu_seconds(RUSAGE_SELF);

	for (unsigned i = 0; i < count; i++) {
		clockid_t clock;
		struct timespec time = {0};

		if (clock_getcpuclockid(workers[i].pid, &clock) == 0 && clock_gettime(clock, &time) == 0)
			sum += (double)time.tv_sec + (double)time.tv_nsec / 1e9;
	}
	return sum;
}

static struct result run_workers(const struct test_start *start, unsigned certificate, unsigned processes)
{
	struct test_worker workers[WORKERS_MAX];
	struct relay relay = {.base = event_base_new()};
	struct worker_ready ready;
	struct result result;
	double cpu;

	relay.signer = signer_new(relay.base);
	relay.request = worker_request(0, certificate);
	relay.request.signing_time = 0; /* so that a canned signature can be right */
	for (unsigned i = 0; i < processes; i++) {
		worker_spawn(&workers[i], start);
		if (!worker_wait_ready(&workers[i], &ready))
			_exit(1);
		signer_attach(relay.signer, i, worker_pass_channel(&workers[i]), ready.threads);
		worker_ready_clear(&ready);
	}
	for (unsigned i = 0; i < processes * start->threads * 2; i++)
		ask(&relay);
	run_loop(&relay, 0.5);
	cpu = cpu_of(workers, processes);
	result.seconds = run_loop(&relay, seconds_of_run);
	result.signatures = relay.signatures;
	result.cpu_us = (cpu_of(workers, processes) - cpu) * 1e6 / (double)(result.signatures + 1);
	for (unsigned i = 0; i < processes; i++)
		worker_end(&workers[i]);
	return result;
}

/* ---- the table ---- */

struct job {
	const char *kind; /* "raw", "engine", "cryptoki": in a process of its own; "worker": the rest counts too */
	const char *backend;
	const char *type;
	unsigned processes, threads;
	bool distant;
};

static char *distant_environment[2];

static struct result run_job(const struct job *job)
{
	const struct softhsm_key *key = softhsm_key(job->type);
	struct test_start start = {.backend = job->backend, .threads = job->threads};

	if (strcmp(job->kind, "raw") == 0)
		return run_raw(key, job->threads);
	if (strcmp(job->kind, "token") == 0)
		return run_token(job->backend, key, job->threads);
	if (job->distant) {
		start.module = getenv("INKAN_CANNED_PATH");
		start.environment[0] = distant_environment[0];
		start.environment[1] = distant_environment[1];
	}
	return run_workers(&start, (unsigned)(key - softhsm_keys()) + 1, job->processes);
}

static struct result in_child(const struct job *job)
{
	struct result result = {0};
	int fds[2], status = -1;
	pid_t pid;

	softhsm_fresh();
	fflush(NULL);
	if (pipe(fds) != 0 || (pid = fork()) < 0)
		exit(1);
	if (pid == 0) {
		result = run_job(job);
		_exit(write(fds[1], &result, sizeof result) == (ssize_t)sizeof result ? 0 : 1);
	}
	close(fds[1]);
	if (read(fds[0], &result, sizeof result) != (ssize_t)sizeof result || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "%s %s %s failed\n", job->kind, job->backend != NULL ? job->backend : "", job->type);
		exit(1);
	}
	close(fds[0]);
	return result;
}

static struct result show(const char *name, const struct job *job)
{
	struct result result = in_child(job);

	printf("%-34s %-8s %2u x %-2u %9.0f /s %8.1f us of processor\n", name, job->type, job->processes, job->threads,
	       rate(&result), result.cpu_us);
	fflush(stdout);
	return result;
}

static void judge(const char *what, double got, double goal, bool at_least)
{
	printf("%-34s %.2f, goal %s %.2f: %s\n", what, got, at_least ? ">=" : "<", goal,
	       (at_least ? got >= goal : got < goal) ? "met" : "NOT MET");
}

static double least(double a, double b)
{
	return a == 0 || b < a ? b : a;
}

/*
 * In turn, three times. SoftHSM computes on the same cores, so what limits the rate is the processor time of a signature; it
 * is what is compared, the least of each, since rates swing by half when the machine has other work.
 */
static void compare(const char *type, unsigned threads)
{
	struct job raw = {"raw", NULL, type, 1, threads, false}, engine = {"token", "engine", type, 1, threads, false},
		   cryptoki = {"token", "cryptoki", type, 1, threads, false};
	double raw_us = 0, engine_us = 0, cryptoki_us = 0;

	for (unsigned round = 0; round < 3; round++) {
		raw_us = least(raw_us, show("raw", &raw).cpu_us);
		engine_us = least(engine_us, show("engine back end", &engine).cpu_us);
		cryptoki_us = least(cryptoki_us, show("cryptoki back end", &cryptoki).cpu_us);
	}
	judge("  cryptoki / raw", raw_us / cryptoki_us, CRYPTOKI_GOAL, true);
	judge("  engine / raw", raw_us / engine_us, ENGINE_GOAL, true);
}

static void overhead(const char *type, bool with_goal)
{
	struct job raw = {"raw", NULL, type, 1, 2, false}, worker = {"worker", "cryptoki", type, 1, 2, false};
	struct result a = show("raw", &raw), b = show("relay's signer and a worker", &worker);

	if (with_goal)
		judge("  processor time beside the token", b.cpu_us - a.cpu_us, OVERHEAD_GOAL_US, false);
	else
		printf("  processor time beside the token  %.1f us\n", b.cpu_us - a.cpu_us);
}

int main(int argc, char **argv)
{
	struct job distant = {"worker", "cryptoki", "rsa2048", 4, DISTANT_SESSIONS / 4, true};
	struct result result;

	if (argc > 1)
		seconds_of_run = atof(argv[1]);
	(void)softhsm_keys();
	distant_environment[0] = mem_format("INKAN_CANNED_MODULE=%s", softhsm_module());
	distant_environment[1] = mem_string("INKAN_CANNED_US=" DISTANT_US);
	puts("SoftHSM, one process, threads with a session each");
	compare("rsa2048", 2);
	compare("rsa2048", 16);
	compare("p256", 2);
	puts("\nWith wire protocol, CMS and verification");
	overhead("rsa2048", true);
	overhead("p256", false);
	puts("\nAn HSM that takes 5 ms for a signature (canned, but right), processes x threads = 64");
	result = show("relay's signer and workers", &distant);
	judge("  signatures a second", rate(&result), DISTANT_GOAL, true);
	distant.backend = "engine";
	(void)show("the same through the engine", &distant);
	return 0;
}
