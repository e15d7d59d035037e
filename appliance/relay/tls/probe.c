#include <event2/event.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/tls/tls_private.h"
#include "hsm/protocol/tls_text.h"

#define PROBE_AGAIN_MS 5000 /* while nobody can sign */
#define PROBE_FAILED_AGAIN_MS 60000 /* while the token has no such key */

/* An RSA key first with PSS; when that is refused, whether it is the padding shows by PKCS #1 v1.5. */
struct tls_probe {
	struct tls *tls;
	uint64_t certificate;
	enum sign_digest digest;
	bool rsa, pss, once;
	uint64_t id; /* at the signer; 0: none */
	struct event *timer;
	tls_probe_cb *done;
	void *arg;
};

/* ---- what is known ---- */

static struct tls_key_record *find_record(const struct tls *tls, uint64_t certificate)
{
	for (size_t i = 0; i < tls->n_records; i++) {
		if (tls->records[i].certificate == certificate)
			return &tls->records[i];
	}
	return NULL;
}

static void record(struct tls *tls, uint64_t certificate, enum tls_key_state state, const char *why)
{
	struct tls_key_record *found = find_record(tls, certificate);

	if (found == NULL) {
		tls->records = mem_resize(tls->records, tls->n_records + 1, sizeof *tls->records);
		found = &tls->records[tls->n_records++];
		*found = (struct tls_key_record){.certificate = certificate};
	}
	free(found->why);
	found->state = state;
	found->why = mem_string(why);
}

enum tls_key_state tls_key_state(const struct tls *tls, uint64_t certificate, const char **why)
{
	const struct tls_key_record *found = find_record(tls, certificate);

	*why = found == NULL ? "" : found->why;
	return found == NULL ? TLS_KEY_UNTRIED : found->state;
}

/* ---- trying ---- */

static void again_in(struct tls_probe *probe, int64_t ms)
{
	struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(probe->timer, &wait);
}

/* The callback may free the probe. */
static void end(struct tls_probe *probe, enum tls_key_state state, const char *why)
{
	record(probe->tls, probe->certificate, state, why);
	if (state == TLS_KEY_SIGNS || state == TLS_KEY_NO_PSS || probe->once) {
		probe->done(state, why, probe->arg);
		return;
	}
	probe->pss = probe->rsa;
	again_in(probe, state == TLS_KEY_FAILS ? PROBE_FAILED_AGAIN_MS : PROBE_AGAIN_MS);
}

static void on_answer(enum signer_outcome outcome, struct bytes signature, const char *text, void *arg)
{
	struct tls_probe *probe = arg;

	(void)signature;
	probe->id = 0;
	if (outcome == SIGNER_FAILED && probe->pss) {
		probe->pss = false;
		again_in(probe, 0);
	} else if (outcome == SIGNER_SIGNED) {
		end(probe, probe->rsa && !probe->pss ? TLS_KEY_NO_PSS : TLS_KEY_SIGNS, "");
	} else {
		end(probe, outcome == SIGNER_FAILED ? TLS_KEY_FAILS : TLS_KEY_UNTRIED, text);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct tls_probe *probe = arg;
	struct sign_request request = {
	    .certificate = probe->certificate, .algorithm = probe->digest, .pss = probe->pss, .tls_len = TLS_TEXT_EXAMPLE_BYTES};
	uint8_t hash[32];

	(void)fd;
	(void)what;
	/* The one try may wait for a worker that is on its way; without a PIN the answer comes at once. */
	if ((!probe->once && !signer_is_ready(probe->tls->signer)) || RAND_bytes(hash, sizeof hash) != 1) {
		end(probe, TLS_KEY_UNTRIED, "nothing can be signed now");
		return;
	}
	tls_text_example(request.tls_text, hash);
	probe->id = signer_request(probe->tls->signer, &request, clock_monotonic_ms() + TLS_TRIAL_MS, on_answer, probe);
}

struct tls_probe *tls_probe_new(struct tls *tls, const struct certificate *certificate, bool once, tls_probe_cb *done, void *arg)
{
	struct tls_probe *probe = mem_new(sizeof *probe);

	probe->tls = tls;
	probe->certificate = certificate->id;
	probe->rsa = probe->pss = strncmp(certificate->key_type, "RSA", 3) == 0;
	probe->digest = strcmp(certificate->key_type, "EC-P384") == 0 ? SIGN_SHA384 : SIGN_SHA256;
	probe->once = once;
	probe->done = done;
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
