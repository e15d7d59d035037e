#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "hsm/client/signer.h"
#include "tests/unit/test.h"

/* A fake worker is the other end of a socket pair; what it was sent is kept, and answered as the test says. */
#define FAKE_MAX 64

struct fake {
	struct channel *channel;
	uint64_t asked[FAKE_MAX];
	uint32_t budget[FAKE_MAX];
	unsigned n_asked;
	uint64_t cancelled[FAKE_MAX];
	unsigned n_cancelled;
	bool closed;
	bool obliging; /* signs at once */
};

struct answer {
	unsigned calls;
	enum signer_outcome outcome;
	char cms[64];
	char text[128];
	int64_t at_ms;
};

static struct event_base *base;
static struct signer *signer;
static struct fake fakes[3];

static void fake_sign(struct fake *fake, uint64_t id)
{
	struct buf out = {0};
	char cms[32];

	snprintf(cms, sizeof cms, "cms %u", (unsigned)id);
	sign_result_encode(&out, &(struct sign_result){.id = id, .cms = bytes_text(cms)});
	channel_send(fake->channel, SIGN_FRAME_RESULT, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void fake_fail(struct fake *fake, uint64_t id, enum sign_failure_class class, const char *text)
{
	struct buf out = {0};
	struct sign_failure failure = {.id = id, .class = class, .text = mem_string(text)};

	sign_failure_encode(&out, &failure);
	channel_send(fake->channel, SIGN_FRAME_FAILURE, buf_bytes(&out), -1);
	buf_clear(&out);
	free(failure.text);
}

static void fake_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct fake *fake = arg;
	struct sign_request request;

	(void)channel;
	(void)fd;
	if (type == SIGN_FRAME_CANCEL) {
		fake->cancelled[fake->n_cancelled++] = msg_get_u64(msg);
		return;
	}
	if (type == SIGN_FRAME_TLS ? !CHECK(sign_tls_decode(msg, &request, NULL))
				   : !CHECK_INT(type, SIGN_FRAME_REQUEST) || !CHECK(sign_request_decode(msg, &request, NULL)))
		return;
	fake->budget[fake->n_asked] = request.budget_ms;
	fake->asked[fake->n_asked++] = request.id;
	if (fake->obliging)
		fake_sign(fake, request.id);
}

static void fake_closed(struct channel *channel, const struct err *why, void *arg)
{
	struct fake *fake = arg;

	(void)channel;
	(void)why;
	fake->closed = true;
}

static void attach(unsigned number, unsigned threads)
{
	int fds[2];

	if (!CHECK(frame_socketpair(fds, true, NULL)))
		return;
	fakes[number] = (struct fake){0};
	fakes[number].channel = channel_new(base, fds[0], fake_message, fake_closed, &fakes[number]);
	signer_attach(signer, number, fds[1], threads);
}

static void kill_fake(unsigned number)
{
	channel_free(fakes[number].channel);
	fakes[number].channel = NULL;
}

static void answered(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg)
{
	struct answer *answer = arg;

	answer->calls++;
	answer->outcome = outcome;
	snprintf(answer->cms, sizeof answer->cms, "%.*s", (int)cms.len, cms.data != NULL ? (const char *)cms.data : "");
	snprintf(answer->text, sizeof answer->text, "%s", text);
	answer->at_ms = clock_monotonic_ms();
}

static uint64_t ask(struct answer *answer, int64_t within_ms)
{
	static const struct sign_request request = {.certificate = 5, .algorithm = SIGN_SHA256};

	*answer = (struct answer){0};
	return signer_request(signer, &request, clock_monotonic_ms() + within_ms, answered, answer);
}

static void stop_loop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static void run_ms(int ms)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct event *timer = evtimer_new(base, stop_loop, base);

	event_add(timer, &delay);
	event_base_dispatch(base);
	event_free(timer);
}

/* Runs until the answer is there, at most as long as given. */
static bool wait_for(const struct answer *answer, int64_t within_ms)
{
	int64_t end = clock_monotonic_ms() + within_ms;

	while (answer->calls == 0 && clock_monotonic_ms() < end)
		run_ms(5);
	return answer->calls > 0;
}

static void set_up(void)
{
	base = event_base_new();
	signer = signer_new(base);
}

static void tear_down(void)
{
	signer_free(signer);
	for (unsigned i = 0; i < 3; i++)
		kill_fake(i);
	memset(fakes, 0, sizeof fakes);
	event_base_free(base);
}

static void a_digest_comes_back_signed(void)
{
	struct answer answer;
	uint64_t id;

	set_up();
	attach(0, 2);
	fakes[0].obliging = true;
	id = ask(&answer, 5000);
	CHECK_INT(answer.calls, 0);
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	CHECK_TEXT(answer.cms, "cms 1");
	CHECK_INT(id, 1);
	CHECK(fakes[0].budget[0] > 4000 && fakes[0].budget[0] <= 5000);
	CHECK_INT(signer_state(signer).signed_total, 1);
	CHECK_INT(signer_state(signer).running, 0);
	tear_down();
}

static void work_goes_to_the_worker_with_most_free_threads(void)
{
	struct answer answers[12];
	struct signer_state state;

	set_up();
	attach(0, 2);
	attach(1, 4);
	for (unsigned i = 0; i < 6; i++)
		(void)ask(&answers[i], 5000);
	run_ms(30);
	CHECK_INT(fakes[0].n_asked, 2);
	CHECK_INT(fakes[1].n_asked, 4);
	for (unsigned i = 6; i < 12; i++)
		(void)ask(&answers[i], 5000);
	run_ms(30);
	CHECK_INT(fakes[0].n_asked, 4);
	CHECK_INT(fakes[1].n_asked, 8);
	state = signer_state(signer);
	CHECK_INT(state.workers, 2);
	CHECK_INT(state.threads, 6);
	CHECK_INT(state.running, 12);
	tear_down();
}

static void a_full_worker_is_sent_no_more_and_the_order_is_kept(void)
{
	struct answer answers[5];

	set_up();
	attach(0, 1);
	for (unsigned i = 0; i < 5; i++)
		(void)ask(&answers[i], 5000);
	run_ms(30);
	CHECK_INT(fakes[0].n_asked, 2);
	CHECK_INT(signer_state(signer).waiting, 3);
	for (unsigned i = 0; i < 5; i++) {
		fake_sign(&fakes[0], fakes[0].asked[i]);
		CHECK(wait_for(&answers[i], 2000));
		run_ms(10);
		CHECK_INT(fakes[0].asked[i], i + 1);
	}
	CHECK_INT(fakes[0].n_asked, 5);
	tear_down();
}

/* Mail and handshakes take turns, whatever came first. */
static void handshakes_do_not_wait_behind_all_the_mail(void)
{
	static const struct sign_request handshake = {.certificate = 6, .algorithm = SIGN_SHA256, .tls_len = 130};
	static const uint64_t order[] = {1, 2, 3, 7, 4, 8, 5, 6};
	struct answer answers[8] = {0};

	set_up();
	attach(0, 1);
	for (size_t i = 0; i < 6; i++)
		ask(&answers[i], 20000);
	for (size_t i = 6; i < 8; i++)
		signer_request(signer, &handshake, clock_monotonic_ms() + 20000, answered, &answers[i]);
	run_ms(20);
	CHECK_INT(fakes[0].n_asked, 2);
	for (size_t i = 0; i < 8; i++) {
		fake_sign(&fakes[0], fakes[0].asked[i]);
		run_ms(20);
	}
	CHECK_INT(fakes[0].n_asked, 8);
	for (size_t i = 0; i < 8; i++)
		CHECK_INT(fakes[0].asked[i], order[i]);
	tear_down();
}

static void requests_wait_for_the_first_worker(void)
{
	struct answer answer;

	set_up();
	(void)ask(&answer, 5000);
	run_ms(30);
	CHECK_INT(answer.calls, 0);
	attach(0, 1);
	fakes[0].obliging = true;
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	tear_down();
}

static void no_worker_before_the_deadline_is_unavailable(void)
{
	struct answer answer;
	int64_t start = clock_monotonic_ms();

	set_up();
	(void)ask(&answer, 100);
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_UNAVAILABLE);
	CHECK_TEXT(answer.text, "no HSM worker is running");
	CHECK(answer.at_ms - start >= 100 && answer.at_ms - start < 600);
	tear_down();
}

static void a_silent_worker_is_a_passed_deadline_and_its_late_answer_is_dropped(void)
{
	struct answer answer;

	set_up();
	attach(0, 1);
	(void)ask(&answer, 100);
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_DEADLINE);
	run_ms(20);
	CHECK_INT(fakes[0].n_cancelled, 1);
	fake_sign(&fakes[0], 1);
	run_ms(20);
	CHECK_INT(answer.calls, 1);
	CHECK_INT(signer_state(signer).late_total, 1);
	CHECK_INT(signer_state(signer).failed_total, 1);
	tear_down();
}

static void a_dead_workers_requests_go_to_another(void)
{
	struct answer answers[4];

	set_up();
	attach(0, 2);
	attach(1, 2);
	for (unsigned i = 0; i < 4; i++)
		(void)ask(&answers[i], 5000);
	run_ms(30);
	CHECK_INT(fakes[0].n_asked, 2);
	fakes[1].obliging = true;
	kill_fake(0);
	run_ms(30);
	fake_sign(&fakes[1], fakes[1].asked[0]);
	fake_sign(&fakes[1], fakes[1].asked[1]);
	for (unsigned i = 0; i < 4; i++) {
		test_case("request %u", i);
		CHECK(wait_for(&answers[i], 2000));
		CHECK_INT(answers[i].outcome, SIGNER_SIGNED);
		CHECK_INT(answers[i].calls, 1);
	}
	CHECK_INT(signer_state(signer).workers, 1);
	CHECK_INT(signer_state(signer).resubmitted_total, 2);
	tear_down();
}

static void the_only_worker_dies_and_comes_back(void)
{
	struct answer answer;

	set_up();
	attach(0, 1);
	(void)ask(&answer, 5000);
	run_ms(20);
	kill_fake(0);
	run_ms(20);
	CHECK_INT(signer_state(signer).waiting, 1);
	attach(0, 1);
	fakes[0].obliging = true;
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	tear_down();
}

static void a_new_connection_of_a_worker_replaces_the_old_one(void)
{
	struct answer answer;
	struct channel *old;

	set_up();
	attach(0, 1);
	(void)ask(&answer, 5000);
	run_ms(20);
	old = fakes[0].channel;
	attach(0, 1);
	fakes[0].obliging = true;
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	CHECK_INT(signer_state(signer).workers, 1);
	channel_free(old);
	tear_down();
}

static void a_stuck_workers_request_is_given_to_another_after_a_share(void)
{
	struct answer answer;
	int64_t start = clock_monotonic_ms();

	set_up();
	attach(0, 2);
	(void)ask(&answer, 1500);
	run_ms(20);
	CHECK_INT(fakes[0].n_asked, 1);
	attach(1, 1);
	fakes[1].obliging = true;
	CHECK(wait_for(&answer, 3000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	CHECK(answer.at_ms - start >= 400 && answer.at_ms - start < 1200);
	run_ms(20);
	CHECK_INT(fakes[0].n_cancelled, 1);
	CHECK_INT(signer_state(signer).resubmitted_total, 1);
	/* The stuck one is the last choice now, although it has more threads. */
	fakes[1].n_asked = 0;
	(void)ask(&answer, 1500);
	CHECK(wait_for(&answer, 1000));
	CHECK_INT(fakes[1].n_asked, 1);
	CHECK_INT(fakes[0].n_asked, 1);
	tear_down();
}

static void the_first_answer_of_two_workers_counts(void)
{
	struct answer answer;

	set_up();
	attach(0, 1);
	(void)ask(&answer, 1500);
	run_ms(20);
	attach(1, 1);
	run_ms(700);
	CHECK_INT(fakes[1].n_asked, 1);
	fake_sign(&fakes[0], 1);
	CHECK(wait_for(&answer, 300));
	run_ms(20);
	CHECK_INT(fakes[1].n_cancelled, 1);
	fake_sign(&fakes[1], 1);
	run_ms(20);
	CHECK_INT(answer.calls, 1);
	CHECK_INT(signer_state(signer).late_total, 1);
	tear_down();
}

static void a_failure_to_retry_goes_to_the_other_worker(void)
{
	struct answer answer;

	set_up();
	attach(0, 4);
	attach(1, 1);
	fakes[1].obliging = true;
	(void)ask(&answer, 5000);
	run_ms(20);
	fake_fail(&fakes[0], 1, SIGN_FAIL_RETRY, "device error");
	CHECK(wait_for(&answer, 1000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	CHECK_INT(fakes[0].n_asked, 1);
	CHECK_INT(fakes[1].n_asked, 1);
	tear_down();
}

static void a_lone_worker_is_asked_again_after_a_pause(void)
{
	struct answer answer;
	int64_t failed_at;

	set_up();
	attach(0, 1);
	(void)ask(&answer, 5000);
	run_ms(20);
	fake_fail(&fakes[0], 1, SIGN_FAIL_RETRY, "device error");
	fakes[0].obliging = true;
	failed_at = clock_monotonic_ms();
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	CHECK(answer.at_ms - failed_at >= 150);
	CHECK_INT(fakes[0].n_asked, 2);
	tear_down();
}

static void the_last_failure_is_told_at_the_deadline(void)
{
	struct answer answer;

	set_up();
	attach(0, 1);
	(void)ask(&answer, 150);
	run_ms(20);
	fake_fail(&fakes[0], 1, SIGN_FAIL_RETRY, "device error");
	CHECK(wait_for(&answer, 2000));
	CHECK_INT(answer.outcome, SIGNER_DEADLINE);
	CHECK_TEXT(answer.text, "device error");
	tear_down();
}

static void a_fault_of_the_request_is_final(void)
{
	struct answer answer;

	set_up();
	attach(0, 1);
	attach(1, 1);
	(void)ask(&answer, 5000);
	run_ms(20);
	fake_fail(&fakes[0], 1, SIGN_FAIL_REQUEST, "not allowed");
	CHECK(wait_for(&answer, 1000));
	CHECK_INT(answer.outcome, SIGNER_FAILED);
	CHECK_TEXT(answer.text, "not allowed");
	tear_down();
}

static void a_certificate_that_a_worker_does_not_know_yet_gets_some_patience(void)
{
	struct answer answer;
	int64_t start = clock_monotonic_ms();

	set_up();
	attach(0, 1);
	(void)ask(&answer, 10000);
	for (unsigned i = 0; i < FAKE_MAX && answer.calls == 0 && clock_monotonic_ms() - start < 4000;) {
		run_ms(10);
		if (fakes[0].n_asked > i) {
			fake_fail(&fakes[0], 1, SIGN_FAIL_CERTIFICATE, "no such certificate");
			i = fakes[0].n_asked;
		}
	}
	CHECK_INT(answer.calls, 1);
	CHECK_INT(answer.outcome, SIGNER_FAILED);
	CHECK_TEXT(answer.text, "no such certificate");
	CHECK(answer.at_ms - start >= 2000 && answer.at_ms - start < 3500);
	tear_down();
}

static void a_cancelled_request_has_no_callback(void)
{
	struct answer running, waiting, after;
	uint64_t first, second;

	set_up();
	attach(0, 1);
	first = ask(&running, 300);
	(void)ask(&after, 5000);
	second = ask(&waiting, 300);
	run_ms(20);
	signer_cancel(signer, first);
	signer_cancel(signer, second);
	signer_cancel(signer, 999);
	run_ms(20);
	CHECK_INT(fakes[0].n_cancelled, 1);
	CHECK_INT(fakes[0].cancelled[0], first);
	fake_fail(&fakes[0], first, SIGN_FAIL_CANCELLED, "cancelled");
	fake_sign(&fakes[0], 2);
	CHECK(wait_for(&after, 1000));
	run_ms(400);
	CHECK_INT(running.calls, 0);
	CHECK_INT(waiting.calls, 0);
	CHECK_INT(fakes[0].n_asked, 2);
	tear_down();
}

static void locked_fails_at_once_what_waits_and_what_comes(void)
{
	struct answer waiting, later, opened;

	set_up();
	(void)ask(&waiting, 5000);
	signer_set_locked(signer, true, "no PIN");
	CHECK_INT(waiting.calls, 0);
	CHECK(wait_for(&waiting, 200));
	CHECK_INT(waiting.outcome, SIGNER_LOCKED);
	CHECK_TEXT(waiting.text, "no PIN");
	attach(0, 1);
	fakes[0].obliging = true;
	(void)ask(&later, 5000);
	CHECK_INT(later.calls, 0);
	CHECK(wait_for(&later, 200));
	CHECK_INT(later.outcome, SIGNER_LOCKED);
	CHECK_INT(fakes[0].n_asked, 0);
	signer_set_locked(signer, false, NULL);
	(void)ask(&opened, 5000);
	CHECK(wait_for(&opened, 1000));
	CHECK_INT(opened.outcome, SIGNER_SIGNED);
	tear_down();
}

static void a_running_request_may_finish_while_locked(void)
{
	struct answer signed_one, lost;

	set_up();
	attach(0, 2);
	(void)ask(&signed_one, 5000);
	(void)ask(&lost, 5000);
	run_ms(20);
	signer_set_locked(signer, true, "logged out");
	fake_sign(&fakes[0], 1);
	CHECK(wait_for(&signed_one, 500));
	CHECK_INT(signed_one.outcome, SIGNER_SIGNED);
	kill_fake(0);
	CHECK(wait_for(&lost, 500));
	CHECK_INT(lost.outcome, SIGNER_LOCKED);
	tear_down();
}

static void a_worker_that_talks_nonsense_is_dropped(void)
{
	static const uint16_t types[] = {SIGN_FRAME_RESULT, SIGN_FRAME_FAILURE, SIGN_FRAME_REQUEST, 77};

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		struct answer answer;

		test_case("frame type %u", types[i]);
		set_up();
		attach(0, 1);
		(void)ask(&answer, 5000);
		run_ms(20);
		channel_send(fakes[0].channel, types[i], bytes_text("nonsense"), -1);
		run_ms(20);
		CHECK(fakes[0].closed);
		CHECK_INT(signer_state(signer).workers, 0);
		attach(1, 1);
		fakes[1].obliging = true;
		CHECK(wait_for(&answer, 1000));
		tear_down();
	}
}

static void free_the_signer(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg)
{
	(void)outcome;
	(void)cms;
	(void)text;
	(*(unsigned *)arg)++;
	signer_free(signer);
	signer = NULL;
}

static void a_callback_may_end_it_all(void)
{
	static const struct sign_request request = {.certificate = 5, .algorithm = SIGN_SHA256};
	struct answer open;
	unsigned calls = 0;

	set_up();
	attach(0, 2);
	fakes[0].obliging = true;
	(void)signer_request(signer, &request, clock_monotonic_ms() + 5000, free_the_signer, &calls);
	(void)ask(&open, 5000);
	run_ms(50);
	CHECK_INT(calls, 1);
	CHECK_INT(open.calls, 0);
	tear_down();
}

/* ---- the circuit breaker ---- */

static struct {
	unsigned suspended, resumed, wrong;
	char text[128];
} heard;

static void on_event(enum signer_event event, const char *text, void *arg)
{
	(void)arg;
	heard.suspended += event == SIGNER_EVENT_SUSPENDED;
	heard.resumed += event == SIGNER_EVENT_RESUMED;
	heard.wrong += event == SIGNER_EVENT_WRONG;
	snprintf(heard.text, sizeof heard.text, "%s", text);
}

static void set_up_watched(void)
{
	set_up();
	memset(&heard, 0, sizeof heard);
	signer_watch(signer, on_event, NULL);
}

static void a_silent_hsm_suspends_signing_until_a_probe_is_signed(void)
{
	struct answer first, second;
	int64_t asked_ms;

	set_up_watched();
	attach(0, 2);
	(void)ask(&first, 300);
	CHECK(wait_for(&first, 1000));
	CHECK_INT(first.outcome, SIGNER_DEADLINE);
	CHECK_INT(heard.suspended, 1);
	CHECK(signer_state(signer).suspended);
	for (int i = 0; i < 3; i++) {
		asked_ms = clock_monotonic_ms();
		(void)ask(&second, 9000);
		CHECK_INT(second.calls, 0);
		CHECK(wait_for(&second, 1000));
		CHECK_INT(second.outcome, SIGNER_SUSPENDED);
		CHECK(second.at_ms - asked_ms < 400);
	}
	CHECK_INT(heard.suspended, 1);
	CHECK_INT(signer_state(signer).suspended_total, 3);
	CHECK_INT(fakes[0].n_asked, 1);
	run_ms(SIGNER_PROBE_FIRST_MS + 300);
	CHECK_INT(fakes[0].n_asked, 2); /* the probe, of nobody's mail */
	fake_sign(&fakes[0], fakes[0].asked[1]);
	run_ms(30);
	CHECK_INT(heard.resumed, 1);
	fakes[0].obliging = true;
	(void)ask(&second, 2000);
	CHECK(wait_for(&second, 1000));
	CHECK_INT(second.outcome, SIGNER_SIGNED);
	tear_down();
}

static void without_any_worker_it_is_soon_unavailable_at_once_and_a_new_worker_ends_that(void)
{
	struct answer patient, quick;

	set_up_watched();
	(void)ask(&patient, 20000);
	run_ms(SIGNER_DEAD_MS - 1000);
	CHECK_INT(heard.suspended, 0);
	run_ms(2000);
	CHECK_INT(heard.suspended, 1);
	(void)ask(&quick, 20000);
	CHECK(wait_for(&quick, 500));
	CHECK_INT(quick.outcome, SIGNER_UNAVAILABLE);
	CHECK_INT(patient.calls, 0); /* asked before: it keeps its time */
	attach(0, 2);
	fakes[0].obliging = true;
	CHECK(wait_for(&patient, 1000));
	CHECK_INT(patient.outcome, SIGNER_SIGNED);
	CHECK_INT(heard.resumed, 1);
	CHECK(!signer_state(signer).suspended);
	tear_down();
}

static void a_worker_that_comes_back_is_probed_at_once(void)
{
	struct answer first;

	set_up_watched();
	attach(0, 2);
	(void)ask(&first, 250);
	CHECK(wait_for(&first, 1000));
	CHECK_INT(heard.suspended, 1);
	kill_fake(0);
	run_ms(20);
	attach(0, 2);
	fakes[0].obliging = true;
	run_ms(100);
	CHECK_INT(heard.resumed, 1);
	tear_down();
}

static void a_slow_hsm_is_not_dead(void)
{
	struct answer slow, late;

	set_up_watched();
	attach(0, 2);
	(void)ask(&slow, 600);
	(void)ask(&late, 300);
	run_ms(100);
	fake_sign(&fakes[0], fakes[0].asked[0]);
	CHECK(wait_for(&late, 1000));
	CHECK_INT(late.outcome, SIGNER_DEADLINE);
	CHECK_INT(heard.suspended, 0);
	tear_down();
}

static void locking_ends_a_suspension(void)
{
	struct answer first;

	set_up_watched();
	attach(0, 2);
	(void)ask(&first, 250);
	CHECK(wait_for(&first, 1000));
	CHECK(signer_state(signer).suspended);
	signer_set_locked(signer, true, "no PIN");
	CHECK(!signer_state(signer).suspended);
	(void)ask(&first, 2000);
	CHECK(wait_for(&first, 500));
	CHECK_INT(first.outcome, SIGNER_LOCKED);
	tear_down();
}

static void a_wrong_signature_is_counted_and_made_again_elsewhere(void)
{
	struct answer answer;
	unsigned at;

	set_up_watched();
	attach(0, 1);
	attach(1, 1);
	(void)ask(&answer, 3000);
	run_ms(20);
	at = fakes[0].n_asked > 0 ? 0 : 1;
	fake_fail(&fakes[at], fakes[at].asked[0], SIGN_FAIL_WRONG, "does not verify");
	run_ms(30);
	CHECK_INT(heard.wrong, 1);
	CHECK_INT(signer_state(signer).wrong_total, 1);
	CHECK_INT(fakes[at].n_asked, 1);
	if (CHECK_INT(fakes[1 - at].n_asked, 1))
		fake_sign(&fakes[1 - at], fakes[1 - at].asked[0]);
	CHECK(wait_for(&answer, 1000));
	CHECK_INT(answer.outcome, SIGNER_SIGNED);
	tear_down();
}

int main(void)
{
	TEST(a_digest_comes_back_signed);
	TEST(work_goes_to_the_worker_with_most_free_threads);
	TEST(a_full_worker_is_sent_no_more_and_the_order_is_kept);
	TEST(handshakes_do_not_wait_behind_all_the_mail);
	TEST(requests_wait_for_the_first_worker);
	TEST(no_worker_before_the_deadline_is_unavailable);
	TEST(a_silent_worker_is_a_passed_deadline_and_its_late_answer_is_dropped);
	TEST(a_dead_workers_requests_go_to_another);
	TEST(the_only_worker_dies_and_comes_back);
	TEST(a_new_connection_of_a_worker_replaces_the_old_one);
	TEST(a_stuck_workers_request_is_given_to_another_after_a_share);
	TEST(the_first_answer_of_two_workers_counts);
	TEST(a_failure_to_retry_goes_to_the_other_worker);
	TEST(a_lone_worker_is_asked_again_after_a_pause);
	TEST(the_last_failure_is_told_at_the_deadline);
	TEST(a_fault_of_the_request_is_final);
	TEST(a_certificate_that_a_worker_does_not_know_yet_gets_some_patience);
	TEST(a_cancelled_request_has_no_callback);
	TEST(locked_fails_at_once_what_waits_and_what_comes);
	TEST(a_running_request_may_finish_while_locked);
	TEST(a_worker_that_talks_nonsense_is_dropped);
	TEST(a_callback_may_end_it_all);
	TEST(a_silent_hsm_suspends_signing_until_a_probe_is_signed);
	TEST(without_any_worker_it_is_soon_unavailable_at_once_and_a_new_worker_ends_that);
	TEST(a_worker_that_comes_back_is_probed_at_once);
	TEST(a_slow_hsm_is_not_dead);
	TEST(locking_ends_a_suspension);
	TEST(a_wrong_signature_is_counted_and_made_again_elsewhere);
	return test_finish();
}
