/*
 * The relay's signer over two real workers that a small supervisor restarts, under steady load, while the token does
 * what tokens do. Whatever happens: every request is signed within its deadline, by signatures that verify.
 */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "hsm/client/signer.h"
#include "tests/token/faults.h"
#include "tests/token/worker.h"
#include "tests/unit/test.h"

#define WORKERS 2
#define IN_FLIGHT 12
#define DEADLINE_MS 9000
#define LOAD_MS 2500

static const char *backend;
static struct event_base *base;
static struct signer *signer;
static struct test_start start;
static struct test_worker workers[WORKERS];
static unsigned starts, exits_by_code[256], exits_by_signal;

static struct {
	int64_t until_ms;
	unsigned open, signed_well, verified, others;
	int64_t worst_ms;
	char text[256];
} load;

struct asked {
	int64_t at_ms;
	unsigned key;
};

static bool start_worker(unsigned number)
{
	struct worker_ready ready;

	worker_spawn(&workers[number], &start);
	starts++;
	if (!worker_wait_ready(&workers[number], &ready))
		return false;
	worker_ready_clear(&ready);
	signer_attach(signer, number, worker_pass_channel(&workers[number]), 4);
	return true;
}

/* As inkand does: whatever ends is started again, here after a fixed pause. */
static void supervise(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		if (workers[i].pid > 0 && waitpid(workers[i].pid, &status, WNOHANG) == workers[i].pid) {
			if (WIFEXITED(status))
				exits_by_code[WEXITSTATUS(status)]++;
			else
				exits_by_signal++;
			workers[i].pid = 0;
			worker_end(&workers[i]);
		} else if (workers[i].pid == 0 && !start_worker(i)) {
			(void)worker_exit_status(&workers[i]);
			worker_end(&workers[i]);
		}
	}
}

static void ask(unsigned key);

static void answered(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg)
{
	struct asked *asked = arg;
	int64_t took = clock_monotonic_ms() - asked->at_ms;
	unsigned next = (asked->key + 1) % SOFTHSM_KEYS;

	load.open--;
	if (took > load.worst_ms)
		load.worst_ms = took;
	if (outcome == SIGNER_SIGNED) {
		load.signed_well++;
		load.verified += worker_verifies(cms, &softhsm_keys()[asked->key]);
	} else {
		load.others++;
		snprintf(load.text, sizeof load.text, "outcome %d: %s", (int)outcome, text);
	}
	free(asked);
	if (clock_monotonic_ms() < load.until_ms)
		ask(next);
}

static void ask(unsigned key)
{
	struct sign_request request = worker_request(0, key + 1);
	struct asked *asked = mem_new(sizeof *asked);

	asked->at_ms = clock_monotonic_ms();
	asked->key = key;
	load.open++;
	(void)signer_request(signer, &request, asked->at_ms + DEADLINE_MS, answered, asked);
}

static void stop_when_done(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (load.open == 0)
		event_base_loopbreak(base);
}

static struct event *every(int ms, event_callback_fn call)
{
	struct timeval interval = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct event *event = event_new(base, -1, EV_PERSIST, call, NULL);

	event_add(event, &interval);
	return event;
}

static void set_up(void)
{
	softhsm_fresh();
	start = (struct test_start){.backend = backend, .threads = 4};
	faults_prepare(&start);
	base = event_base_new();
	signer = signer_new(base);
	starts = exits_by_signal = 0;
	memset(exits_by_code, 0, sizeof exits_by_code);
	memset(&load, 0, sizeof load);
	for (unsigned i = 0; i < WORKERS; i++) {
		if (!CHECK(start_worker(i)))
			exit(1);
	}
}

static void tear_down(void)
{
	signer_free(signer);
	for (unsigned i = 0; i < WORKERS; i++)
		worker_end(&workers[i]);
	event_base_free(base);
}

struct trouble {
	int at_ms, until_ms;
	const char *fault, *value; /* of faulty_module.c */
	void (*begin)(void); /* instead */
};

static const struct trouble *trouble;

static void begin_trouble(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (trouble->begin != NULL)
		trouble->begin();
	else
		fault_on(trouble->fault, trouble->value);
}

static void end_trouble(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (trouble->fault != NULL)
		fault_off(trouble->fault);
}

static void once(int ms, event_callback_fn call)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_base_once(base, -1, EV_TIMEOUT, call, NULL, &delay);
}

/* Steady load for LOAD_MS, the trouble in the middle of it, and until every request has its answer. */
static void run_load(const struct trouble *what)
{
	struct event *supervisor = every(20, supervise), *done = every(20, stop_when_done);

	trouble = what;
	load.until_ms = clock_monotonic_ms() + LOAD_MS;
	once(what->at_ms, begin_trouble);
	once(what->until_ms, end_trouble);
	for (unsigned i = 0; i < IN_FLIGHT; i++)
		ask(i % SOFTHSM_KEYS);
	event_base_dispatch(base);
	event_free(supervisor);
	event_free(done);
	CHECK_INT(load.others, 0);
	CHECK_TEXT(load.text, "");
	CHECK(load.signed_well > 20);
	CHECK_INT(load.verified, load.signed_well);
	CHECK(load.worst_ms < DEADLINE_MS);
	printf("  %s: %u signed, worst %d ms, %u starts, %u resubmitted, %u late\n", backend, load.signed_well,
	       (int)load.worst_ms, starts, (unsigned)signer_state(signer).resubmitted_total,
	       (unsigned)signer_state(signer).late_total);
}

static void stick_one(void)
{
	fault_on("stick", "");
}

static void calm(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 1, .until_ms = 2, .fault = "nothing", .value = ""});
	CHECK_INT(starts, WORKERS);
	CHECK_INT(fault_logins(), WORKERS);
	tear_down();
}

static void kill_one(void)
{
	kill(workers[0].pid, SIGKILL);
}

static void a_worker_is_killed(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 501, .begin = kill_one});
	CHECK_INT(starts, WORKERS + 1);
	CHECK_INT(exits_by_signal, 1);
	CHECK_INT(signer_state(signer).workers, WORKERS);
	tear_down();
}

static void kill_all(void)
{
	for (unsigned i = 0; i < WORKERS; i++)
		kill(workers[i].pid, SIGKILL);
}

static void all_workers_are_killed(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 501, .begin = kill_all});
	CHECK_INT(exits_by_signal, WORKERS);
	tear_down();
}

static void the_module_crashes(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 550, .fault = "crash", .value = ""});
	CHECK(exits_by_signal >= 1);
	tear_down();
}

static void the_token_is_lost_for_a_second(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 1500, .fault = "lost", .value = ""});
	CHECK(exits_by_code[WORKER_EXIT_TOKEN_FAULT] >= 1);
	CHECK(fault_logins() <= starts);
	tear_down();
}

static void one_operation_fails(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 1000, .fault = "once", .value = ""});
	CHECK_INT(starts, WORKERS);
	/* libp11 may have repeated it by itself. */
	if (strcmp(backend, "cryptoki") == 0)
		CHECK_INT(signer_state(signer).resubmitted_total, 1);
	else
		CHECK(signer_state(signer).resubmitted_total <= 1);
	tear_down();
}

static void every_operation_fails_for_a_while(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 1500, .fault = "error", .value = "30"});
	CHECK(exits_by_code[WORKER_EXIT_TOKEN_FAULT] >= 1);
	tear_down();
}

static void signatures_come_out_wrong(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 500, .until_ms = 900, .fault = "wrong", .value = ""});
	tear_down();
}

static void a_slow_token_is_no_fault(void)
{
	set_up();
	run_load(&(struct trouble){.at_ms = 300, .until_ms = 2000, .fault = "slow", .value = "200"});
	CHECK_INT(starts, WORKERS);
	tear_down();
}

/* Its request goes to the other worker; its own worker sees that a thread is stuck, ends, and is replaced. */
static void a_thread_is_stuck_in_the_module(void)
{
	int64_t end;

	set_up();
	run_load(&(struct trouble){.at_ms = 300, .until_ms = 301, .begin = stick_one});
	CHECK(load.worst_ms >= DEADLINE_MS / 3 - 500 && load.worst_ms < DEADLINE_MS / 3 + 1500);
	for (end = clock_monotonic_ms() + DEADLINE_MS;
	     clock_monotonic_ms() < end && exits_by_code[WORKER_EXIT_TOKEN_FAULT] == 0;) {
		supervise(-1, 0, NULL);
		usleep(20000);
	}
	CHECK_INT(exits_by_code[WORKER_EXIT_TOKEN_FAULT], 1);
	tear_down();
}

int main(void)
{
	static const char *const names[] = {"engine", "cryptoki"};

	signal(SIGPIPE, SIG_IGN);
	(void)softhsm_keys();
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		backend = names[i];
		TEST(calm);
		TEST(a_worker_is_killed);
		TEST(all_workers_are_killed);
		TEST(the_module_crashes);
		TEST(the_token_is_lost_for_a_second);
		TEST(a_thread_is_stuck_in_the_module);
		TEST(one_operation_fails);
		TEST(every_operation_fails_for_a_while);
		TEST(signatures_come_out_wrong);
		TEST(a_slow_token_is_no_fault);
	}
	return test_finish();
}
