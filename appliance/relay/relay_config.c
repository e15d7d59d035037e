#include "appliance/relay/relay_private.h"

#include <stdlib.h>

#include "appliance/base/control.h"
#include "appliance/base/log.h"

void relay_end_trial(struct relay *relay)
{
	tls_trial_free(relay->trial);
	config_unref(relay->trying);
	relay->trial = NULL;
	relay->trying = NULL;
}

static void answer_configured(struct relay *relay, uint64_t revision, const struct err *err)
{
	struct buf out = {0};

	msg_put_u64(&out, revision);
	msg_put_u8(&out, err == NULL);
	msg_put_text(&out, err == NULL ? "" : err->text);
	channel_send(relay->supervisor, RELAY_CONFIGURED, buf_bytes(&out), -1);
	buf_clear(&out);
}

static void tell_ready(struct relay *relay)
{
	if (relay->ready_told)
		return;
	relay->ready_told = true;
	channel_send(relay->supervisor, RELAY_READY, (struct bytes){0}, -1);
	log_info("relay.ready", LOG_NUMBER("revision", relay->config->snapshot->revision));
}

static bool check_api_tls(struct relay *relay, const struct config *config, struct err *err)
{
	struct api_tls *all = api_tls_new(relay->tls, config, err);

	api_tls_free(all);
	return all != NULL;
}

static void limit_tls(struct relay *relay, const struct config *config)
{
	const struct tls_limits limits = {.handshake_ms = config->tls_handshake_ms,
					  .handshakes = config->tls_handshakes,
					  .per_client = config->tls_handshakes_per_client,
					  .per_minute = config->tls_handshakes_per_minute};

	tls_set_limits(relay->tls, &limits);
}

static bool apply_config(struct relay *relay, struct config *config, struct err *err)
{
	struct api_tls *api_tls = api_tls_new(relay->tls, config, err);

	if (api_tls == NULL)
		return false;
	if (!smtp_server_configure(relay->smtp, config, false, err) || !api_server_configure(relay->api, config, false, err)) {
		api_tls_free(api_tls);
		return false;
	}
	api_tls_free(relay->api_tls);
	relay->api_tls = api_tls;
	limit_tls(relay, config);
	delivery_configure(relay->delivery, config);
	observe_configure(relay->observe, config);
	metrics_server_configure(relay->metrics, config);
	expiry_configure(relay->expiry, config);
	webhooks_configure(relay->webhooks, config);
	config_unref(relay->config);
	relay->config = config_ref(config);
	log_info("configuration.applied", LOG_NUMBER("revision", config->snapshot->revision),
		 LOG_NUMBER("servers", config->n_servers));
	return true;
}

/* Checks everything that can refuse before it changes anything, so that a refused revision leaves the old one whole. */
static bool run_config(struct relay *relay, struct config *config, bool check_only, struct err *err)
{
	if (!delivery_check(config, err) || !smtp_server_configure(relay->smtp, config, true, err) ||
	    !api_server_configure(relay->api, config, true, err))
		return false;
	return check_only ? config_check(config, err) && check_api_tls(relay, config, err) : apply_config(relay, config, err);
}

static void refuse_config(struct relay *relay, const struct config *config, const struct err *err)
{
	log_warning("configuration.refused", LOG_NUMBER("revision", config->snapshot->revision), LOG_ERR(err));
	answer_configured(relay, config->snapshot->revision, err);
}

static void run_and_answer(struct relay *relay, struct config *config, bool check_only)
{
	struct err err;

	if (!run_config(relay, config, check_only, &err)) {
		refuse_config(relay, config, &err);
		return;
	}
	answer_configured(relay, config->snapshot->revision, NULL);
	if (!check_only)
		tell_ready(relay);
}

static void on_keys_tried(const struct err *refused, void *arg)
{
	struct relay *relay = arg;
	struct config *config = config_ref(relay->trying);

	if (refused != NULL)
		refuse_config(relay, config, refused);
	else
		run_and_answer(relay, config, false);
	config_unref(config);
	relay_end_trial(relay);
}

/* The TLS certificates of a configuration that the running one does not show. */
static const struct certificate **new_certificates(const struct relay *relay, const struct config *config, size_t *count)
{
	size_t n_running, n_next, kept = 0;
	const struct certificate **next = config_tls_certificates(config, &n_next);
	const struct certificate **running = config_tls_certificates(relay->config, &n_running);

	for (size_t i = 0; i < n_next; i++) {
		size_t at = 0;

		while (at < n_running && running[at]->id != next[i]->id)
			at++;
		if (at == n_running)
			next[kept++] = next[i];
	}
	free(running);
	*count = kept;
	return next;
}

/*
 * A commit must not put a key into service that the token does not sign with. A relay that starts takes what it is given, its
 * mail flows without TLS; and a key that was lost in service keeps nobody from committing something else.
 */
static void try_keys(struct relay *relay, struct config *config)
{
	const struct certificate **certificates = NULL;
	size_t count = 0;

	relay_end_trial(relay);
	if (relay->config != NULL)
		certificates = new_certificates(relay, config, &count);
	if (count == 0) {
		run_and_answer(relay, config, false);
	} else {
		relay->trying = config_ref(config);
		relay->trial = tls_trial_new(relay->tls, certificates, count, on_keys_tried, relay);
	}
	free(certificates);
}

void relay_configure(struct relay *relay, struct config *config, bool check_only)
{
	if (!relay->store_ready && !check_only) {
		config_unref(relay->waiting);
		relay->waiting = config_ref(config);
		return; /* answered when the store is ready: no banner before recovery (queue.md §4) */
	}
	if (check_only)
		run_and_answer(relay, config, true);
	else
		try_keys(relay, config);
}

void relay_on_configure(struct relay *relay, struct msg *msg)
{
	bool check_only = msg_get_u8(msg) != 0;
	struct bytes encoded = msg_get_bytes(msg);
	struct msg inner = msg_of(encoded);
	struct snapshot *snapshot;
	struct config *config;
	struct err err;

	snapshot = snapshot_decode(&inner, &err);
	if (snapshot == NULL) {
		answer_configured(relay, 0, &err);
		return;
	}
	config = config_new(snapshot, &err);
	if (config == NULL) {
		answer_configured(relay, snapshot->revision, &err);
		snapshot_free(snapshot);
		return;
	}
	relay_configure(relay, config, check_only);
	config_unref(config);
}
