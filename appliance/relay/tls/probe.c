#include <event2/event.h>
#include <openssl/rand.h>
#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/relay/tls/tls_private.h"
#include "hsm/protocol/tls_text.h"

#define PROBE_AGAIN_MS 5000 /* while nobody can sign */
#define PROBE_DEADLINE_MS 10000

/* First with PSS; when that is refused, whether it is the padding shows by PKCS #1 v1.5. */
struct tls_probe {
	struct tls *tls;
	uint64_t certificate;
	bool pss;
	uint64_t id; /* at the signer; 0: none */
	struct event *timer;
	void (*refused)(void *arg);
	void *arg;
};

static void again_in(struct tls_probe *probe, int64_t ms)
{
	struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(probe->timer, &wait);
}

static void on_answer(enum signer_outcome outcome, struct bytes signature, const char *text, void *arg)
{
	struct tls_probe *probe = arg;

	(void)signature;
	(void)text;
	probe->id = 0;
	if (outcome == SIGNER_FAILED && probe->pss) {
		probe->pss = false;
		again_in(probe, 0);
	} else if (outcome == SIGNER_SIGNED && !probe->pss) {
		probe->refused(probe->arg);
	} else if (outcome != SIGNER_SIGNED) {
		probe->pss = true;
		again_in(probe, PROBE_AGAIN_MS);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct tls_probe *probe = arg;
	struct sign_request request = {
	    .certificate = probe->certificate, .algorithm = SIGN_SHA256, .pss = probe->pss, .tls_len = TLS_TEXT_EXAMPLE_BYTES};
	uint8_t hash[32];

	(void)fd;
	(void)what;
	if (!signer_is_ready(probe->tls->signer) || RAND_bytes(hash, sizeof hash) != 1) {
		again_in(probe, PROBE_AGAIN_MS);
		return;
	}
	tls_text_example(request.tls_text, hash);
	probe->id = signer_request(probe->tls->signer, &request, clock_monotonic_ms() + PROBE_DEADLINE_MS, on_answer, probe);
}

struct tls_probe *tls_probe_new(struct tls *tls, uint64_t certificate, void (*refused)(void *arg), void *arg)
{
	struct tls_probe *probe = mem_new(sizeof *probe);

	probe->tls = tls;
	probe->certificate = certificate;
	probe->pss = true;
	probe->refused = refused;
	probe->arg = arg;
	probe->timer = evtimer_new(tls->base, on_timer, probe);
	again_in(probe, 0);
	return probe;
}

void tls_probe_free(struct tls_probe *probe)
{
	if (probe == NULL)
		return;
	if (probe->id != 0)
		signer_cancel(probe->tls->signer, probe->id);
	event_free(probe->timer);
	free(probe);
}
