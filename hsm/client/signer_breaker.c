#include <event2/event.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "hsm/client/signer_private.h"

#define JUDGE_MS 500

static void tell(struct signer *signer, enum signer_event event, const char *text)
{
	if (signer->breaker.watch != NULL)
		signer->breaker.watch(event, text, signer->breaker.watch_arg);
}

static void in_ms(struct breaker *breaker, int64_t ms)
{
	struct timeval delay = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(breaker->timer, &delay);
}

/* ---- closed: is the HSM dead? ---- */

static void suspend(struct signer *signer, const char *why)
{
	struct breaker *breaker = &signer->breaker;

	if (breaker->open || signer->locked)
		return;
	breaker->open = true;
	breaker->opened_ms = clock_monotonic_ms();
	breaker->refused = 0;
	breaker->probe_pause_ms = SIGNER_PROBE_FIRST_MS;
	in_ms(breaker, breaker->probe_pause_ms);
	tell(signer, SIGNER_EVENT_SUSPENDED, why);
}

/* Since when somebody has waited and nobody was served. */
static int64_t starved_ms(const struct signer *signer)
{
	const struct request *oldest = TAILQ_FIRST(&signer->requests);
	int64_t since;

	if (oldest == NULL)
		return 0;
	since = oldest->asked_ms > signer->breaker.good_ms ? oldest->asked_ms : signer->breaker.good_ms;
	return clock_monotonic_ms() - since;
}

static void judge(struct signer *signer)
{
	struct breaker *breaker = &signer->breaker;
	bool nobody = TAILQ_EMPTY(&signer->workers);

	if (starved_ms(signer) >= SIGNER_DEAD_MS && (nobody || breaker->failed_ms > breaker->good_ms))
		suspend(signer, nobody ? "no HSM worker is running" : "the HSM workers only fail");
	else if (!TAILQ_EMPTY(&signer->requests))
		in_ms(breaker, JUDGE_MS);
}

/* ---- open: is it back? ---- */

static void on_probed(enum signer_outcome outcome, struct bytes cms, const char *text, void *arg)
{
	struct signer *signer = arg;

	(void)outcome; /* a good one has closed the breaker already */
	(void)cms;
	(void)text;
	signer->breaker.probe = 0;
}

/* The same request of other content: of a handshake, the end of the text is a hash or a point, and may be anything. */
static bool vary(struct sign_request *sample)
{
	if (sample->tls_len >= SHA256_DIGEST_LENGTH)
		return RAND_bytes(sample->tls_text + sample->tls_len - SHA256_DIGEST_LENGTH, SHA256_DIGEST_LENGTH) == 1;
	return RAND_bytes(sample->digest, sizeof sample->digest) == 1;
}

static void probe(struct signer *signer)
{
	struct breaker *breaker = &signer->breaker;

	if (breaker->probe != 0 || !breaker->has_sample || TAILQ_EMPTY(&signer->workers))
		return;
	if (!vary(&breaker->sample))
		return;
	breaker->probe = request_make(signer, &breaker->sample, clock_monotonic_ms() + SIGNER_PROBE_BUDGET_MS, on_probed, signer);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct signer *signer = arg;
	struct breaker *breaker = &signer->breaker;

	(void)fd;
	(void)what;
	if (!breaker->open) {
		judge(signer);
		return;
	}
	probe(signer);
	breaker->probe_pause_ms *= 2;
	if (breaker->probe_pause_ms > SIGNER_PROBE_LONGEST_MS)
		breaker->probe_pause_ms = SIGNER_PROBE_LONGEST_MS;
	in_ms(breaker, breaker->probe_pause_ms);
}

void breaker_worker_came(struct signer *signer)
{
	if (signer->breaker.open)
		probe(signer);
}

void breaker_good(struct signer *signer)
{
	struct breaker *breaker = &signer->breaker;
	int64_t lasted_ms = clock_monotonic_ms() - breaker->opened_ms;
	char *text;

	breaker->good_ms = clock_monotonic_ms();
	if (!breaker->open)
		return;
	breaker->open = false;
	event_del(breaker->timer);
	text = mem_format("after %lld.%lld s; %llu requests were refused at once", (long long)(lasted_ms / 1000),
			  (long long)(lasted_ms % 1000 / 100), (unsigned long long)breaker->refused);
	tell(signer, SIGNER_EVENT_RESUMED, text);
	free(text);
}

/* ---- what the others report ---- */

void breaker_asked(struct signer *signer, const struct sign_request *request)
{
	struct breaker *breaker = &signer->breaker;

	breaker->sample = *request;
	breaker->has_sample = true;
	if (breaker->open) {
		breaker->refused++;
		signer->state.suspended_total++;
	} else if (!event_pending(breaker->timer, EV_TIMEOUT, NULL)) {
		in_ms(breaker, JUDGE_MS);
	}
}

void breaker_failed(struct signer *signer)
{
	signer->breaker.failed_ms = clock_monotonic_ms();
}

void breaker_wrong(struct signer *signer, const char *text)
{
	signer->state.wrong_total++;
	tell(signer, SIGNER_EVENT_WRONG, text);
}

void breaker_out_of_time(struct signer *signer, const struct request *request)
{
	if (request->cb != on_probed && signer->breaker.good_ms < request->asked_ms)
		suspend(signer, request->text != NULL ? request->text : "the HSM signs nothing");
}

void breaker_reset(struct signer *signer)
{
	struct breaker *breaker = &signer->breaker;

	if (breaker->open)
		event_del(breaker->timer);
	breaker->open = false;
	breaker->good_ms = clock_monotonic_ms();
}

void signer_watch(struct signer *signer, signer_watch_cb *cb, void *arg)
{
	signer->breaker.watch = cb;
	signer->breaker.watch_arg = arg;
}

void breaker_init(struct signer *signer)
{
	signer->breaker.timer = evtimer_new(signer->base, on_timer, signer);
}

void breaker_clear(struct signer *signer)
{
	event_free(signer->breaker.timer);
}
