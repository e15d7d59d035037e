#include <event2/event.h>
#include <stdlib.h>

#include "appliance/relay/tls/tls_private.h"

struct tls_trial {
	struct part {
		struct tls_trial *trial;
		struct tls_probe *probe;
		char *address;
	} * parts;
	size_t count, left; /* that have not answered */
	bool failed;
	struct err refused;
	struct event *over;
	tls_trial_cb *done;
	void *arg;
};

static void on_over(evutil_socket_t fd, short what, void *arg)
{
	struct tls_trial *trial = arg;

	(void)fd;
	(void)what;
	trial->done(trial->failed ? &trial->refused : NULL, trial->arg);
}

static void on_tried(enum tls_key_state state, const char *why, void *arg)
{
	struct part *part = arg;
	struct tls_trial *trial = part->trial;

	if (state == TLS_KEY_FAILS && !trial->failed) {
		trial->failed = true;
		err_set(
		    &trial->refused, ERR_UNAVAILABLE,
		    "the token does not sign with the key of the TLS certificate %s: %s (see certificate reinstall, hsm test)",
		    part->address, why);
	}
	if (--trial->left == 0)
		event_active(trial->over, EV_TIMEOUT, 0);
}

struct tls_trial *tls_trial_new(struct tls *tls, const struct certificate *const *certificates, size_t count, tls_trial_cb *done,
				void *arg)
{
	static const struct timeval longest = {.tv_sec = TLS_TRIAL_MS / 1000};
	struct tls_trial *trial = mem_new(sizeof *trial);

	*trial = (struct tls_trial){.parts = mem_new_array(count, sizeof *trial->parts),
				    .count = count,
				    .left = count,
				    .over = evtimer_new(tls->base, on_over, trial),
				    .done = done,
				    .arg = arg};
	for (size_t i = 0; i < count; i++)
		trial->parts[i] = (struct part){.trial = trial,
						.address = mem_string(certificates[i]->address),
						.probe = tls_probe_new(tls, certificates[i], true, on_tried, &trial->parts[i])};
	event_add(trial->over, &longest);
	if (count == 0)
		event_active(trial->over, EV_TIMEOUT, 0);
	return trial;
}

void tls_trial_free(struct tls_trial *trial)
{
	if (trial == NULL)
		return;
	for (size_t i = 0; i < trial->count; i++) {
		tls_probe_free(trial->parts[i].probe);
		free(trial->parts[i].address);
	}
	event_free(trial->over);
	free(trial->parts);
	free(trial);
}
