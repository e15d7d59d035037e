#include "appliance/relay/observe/metrics.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

/* ---- one metric after the other ---- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void label(struct buf *out, const char *value)
{
	for (; *value != '\0'; value++) {
		if (*value == '\\' || *value == '"')
			buf_put_byte(out, '\\');
		if (*value == '\n')
			buf_put_text(out, "\\n");
		else
			buf_put_byte(out, (uint8_t)*value);
	}
}

static void messages(struct buf *out, const struct submission_tally *tally)
{
	static const char *const interfaces[TALLY_INTERFACES] = {"smtp", "api"};

	head(out, "inkan_messages_accepted_total", "counter", "Messages stored, signed for at least one recipient or for none.");
	for (int i = 0; i < TALLY_INTERFACES; i++) {
		buf_printf(out, "inkan_messages_accepted_total{interface=\"%s\",rendering=\"signed\"} %" PRIu64 "\n",
			   interfaces[i], tally->signed_messages[i]);
		buf_printf(out, "inkan_messages_accepted_total{interface=\"%s\",rendering=\"plain\"} %" PRIu64 "\n",
			   interfaces[i], tally->plain_messages[i]);
	}
	head(out, "inkan_messages_refused_total", "counter", "Messages refused at their end, by reason.");
	for (int i = 0; i < TALLY_INTERFACES; i++)
		for (int reason = 0; reason < TALLY_REASONS; reason++)
			buf_printf(out, "inkan_messages_refused_total{interface=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
				   interfaces[i], tally_reason_name((enum tally_reason)reason), tally->refused[i][reason]);
	head(out, "inkan_recipients_accepted_total", "counter", "Recipients of stored messages, by what they get.");
	buf_printf(out, "inkan_recipients_accepted_total{rendering=\"signed\"} %" PRIu64 "\n", tally->signed_recipients);
	buf_printf(out, "inkan_recipients_accepted_total{rendering=\"plain\"} %" PRIu64 "\n", tally->plain_recipients);
}

static void latency(struct buf *out, const char *name, const char *help, const struct tally_latency *latency)
{
	uint64_t below = 0;

	head(out, name, "histogram", help);
	for (size_t i = 0; i < TALLY_BUCKETS; i++) {
		below += latency->buckets[i];
		buf_printf(out, "%s_bucket{le=\"%g\"} %" PRIu64 "\n", name, tally_bucket_ms[i] / 1000.0, below);
	}
	buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %" PRIu64 ".%03" PRIu64 "\n%s_count %" PRIu64 "\n", name,
		   latency->count, name, latency->sum_ms / 1000, latency->sum_ms % 1000, name, latency->count);
}

static void signing(struct buf *out, const struct metrics *metrics)
{
	const struct signer_state *signer = &metrics->signer;

	latency(out, "inkan_signing_duration_seconds", "Time from asking for a signature to having it.", &metrics->tally.signing);
	single(out, "inkan_hsm_workers", "gauge", "HSM worker processes connected.", signer->workers);
	single(out, "inkan_hsm_threads", "gauge", "Signing threads of the HSM workers connected.", signer->threads);
	single(out, "inkan_hsm_locked", "gauge", "1 while there is no PIN and nothing can be signed.", metrics->relay.locked);
	single(out, "inkan_hsm_suspended", "gauge",
	       "1 while signing is suspended after nothing was signed for a while (breaker).", signer->suspended);
	head(out, "inkan_hsm_requests", "gauge", "Signing requests under way.");
	buf_printf(out, "inkan_hsm_requests{state=\"waiting\"} %u\ninkan_hsm_requests{state=\"running\"} %u\n", signer->waiting,
		   signer->running);
	single(out, "inkan_hsm_signatures_total", "counter", "Signatures made, of S/MIME, of TLS and those that try the HSM.",
	       signer->signed_total);
	single(out, "inkan_hsm_failures_total", "counter", "Signing requests that ended without a signature.",
	       signer->failed_total);
	single(out, "inkan_hsm_resubmissions_total", "counter", "Signing requests given to another worker.",
	       signer->resubmitted_total);
	single(out, "inkan_hsm_wrong_signatures_total", "counter", "Signatures that did not verify and were kept back.",
	       signer->wrong_total);
	single(out, "inkan_hsm_suspended_requests_total", "counter", "Signing requests that ended at once while suspended.",
	       signer->suspended_total);
}

static void certificates(struct buf *out, const struct config *config)
{
	const struct snapshot *snapshot = config == NULL ? NULL : config->snapshot;

	head(out, "inkan_certificate_not_after_timestamp_seconds", "gauge",
	     "End of validity of a certificate and its chain, seconds since 1970.");
	for (size_t i = 0; snapshot != NULL && i < snapshot->n_certificates; i++) {
		const struct certificate *certificate = &snapshot->certificates[i];

		buf_put_text(out, "inkan_certificate_not_after_timestamp_seconds{name=\"");
		label(out, certificate->address);
		buf_printf(out, "\",purpose=\"%s\",id=\"%" PRIu64 "\"} %" PRId64 "\n", certificate->tls ? "tls" : "smime",
			   certificate->id, certificate->not_after);
	}
}

static void queue(struct buf *out, const struct metrics *metrics)
{
	const struct queue_count *count = &metrics->queue;

	single(out, "inkan_queue_messages", "gauge", "Messages in the queue.", count->messages);
	head(out, "inkan_queue_recipients", "gauge", "Recipients in the queue.");
	buf_printf(out, "inkan_queue_recipients{state=\"waiting\"} %" PRIu64 "\n", count->waiting);
	buf_printf(out, "inkan_queue_recipients{state=\"leased\"} %" PRIu64 "\n", count->leased);
	buf_printf(out, "inkan_queue_recipients{state=\"held\"} %" PRIu64 "\n", count->held);
	single(out, "inkan_queue_oldest_age_seconds", "gauge", "Age of the oldest message in the queue; 0 without any.",
	       count->oldest > 0 && count->oldest < metrics->now ? (uint64_t)(metrics->now - count->oldest) : 0);
	single(out, "inkan_queue_transactions_total", "counter", "Transactions of the store.", count->transactions);
	head(out, "inkan_store_state", "gauge", "1 for the state that the store is in.");
	buf_printf(out, "inkan_store_state{state=\"ok\"} %d\n", metrics->health == QUEUE_OK);
	buf_printf(out, "inkan_store_state{state=\"full\"} %d\n", metrics->health == QUEUE_FULL);
	buf_printf(out, "inkan_store_state{state=\"failed\"} %d\n", metrics->health == QUEUE_FAILED);
}

static void delivery(struct buf *out, const struct metrics *metrics)
{
	const struct delivery_state *state = &metrics->delivery;

	head(out, "inkan_delivery_results_total", "counter", "Results of delivery attempts, by recipient.");
	buf_printf(out, "inkan_delivery_results_total{result=\"delivered\"} %" PRIu64 "\n", state->delivered_total);
	buf_printf(out, "inkan_delivery_results_total{result=\"deferred\"} %" PRIu64 "\n", state->deferred_total);
	buf_printf(out, "inkan_delivery_results_total{result=\"failed\"} %" PRIu64 "\n", state->failed_total);
	single(out, "inkan_bounces_total", "counter", "Reports of failure made for senders.", state->bounced_total);
	single(out, "inkan_delivery_connections", "gauge", "Connections to next hops.", state->connections);
	single(out, "inkan_webhook_posts_total", "counter", "Requests to webhooks.", metrics->webhooks.posts_total);
	single(out, "inkan_webhook_failed_posts_total", "counter", "Requests to webhooks that were not answered with 2xx.",
	       metrics->webhooks.failed_posts_total);
	single(out, "inkan_webhook_events_total", "counter", "Events that webhooks have taken.", metrics->webhooks.events_total);
	single(out, "inkan_webhook_dropped_events_total", "counter", "Events dropped since too many waited for a webhook.",
	       metrics->webhooks.dropped_total);
}

static void clients(struct buf *out, const struct metrics *metrics)
{
	single(out, "inkan_smtp_sessions", "gauge", "SMTP sessions.", metrics->smtp.sessions);
	single(out, "inkan_smtp_sessions_total", "counter", "SMTP sessions so far, refused ones included.",
	       metrics->smtp.sessions_total);
	single(out, "inkan_api_connections", "gauge", "Connections of API clients.", metrics->api.connections);
	single(out, "inkan_api_connections_total", "counter", "Connections of API clients so far, refused ones included.",
	       metrics->api.connections_total);
	head(out, "inkan_api_requests_total", "counter", "API requests answered.");
	buf_printf(out, "inkan_api_requests_total{kind=\"send\",result=\"ok\"} %" PRIu64 "\n", metrics->api.accepted_total);
	buf_printf(out, "inkan_api_requests_total{kind=\"send\",result=\"refused\"} %" PRIu64 "\n", metrics->api.refused_total);
	buf_printf(out, "inkan_api_requests_total{kind=\"list\",result=\"ok\"} %" PRIu64 "\n", metrics->api.lists_total);
	buf_printf(out, "inkan_api_requests_total{kind=\"list\",result=\"refused\"} %" PRIu64 "\n",
		   metrics->api.lists_refused_total);
	head(out, "inkan_tls_handshakes_total", "counter", "TLS handshakes of clients.");
	buf_printf(out, "inkan_tls_handshakes_total{result=\"done\"} %" PRIu64 "\n", metrics->tls.done_total);
	buf_printf(out, "inkan_tls_handshakes_total{result=\"failed\"} %" PRIu64 "\n", metrics->tls.failed_total);
	buf_printf(out, "inkan_tls_handshakes_total{result=\"refused\"} %" PRIu64 "\n", metrics->tls.refused_total);
	single(out, "inkan_tls_resumed_handshakes_total", "counter", "TLS handshakes that resumed an earlier session.",
	       metrics->tls.resumed_total);
}

static void process(struct buf *out, const struct metrics *metrics)
{
	const struct metrics_relay *relay = &metrics->relay;

	single(out, "inkan_loop_held_up_total", "counter", "Times that the event loop was held up noticeably.",
	       relay->held_up_total);
	head(out, "inkan_loop_held_up_seconds_total", "counter", "Time for which the event loop was held up noticeably.");
	buf_printf(out, "inkan_loop_held_up_seconds_total %" PRIu64 ".%03" PRIu64 "\n", relay->held_up_ms_total / 1000,
		   relay->held_up_ms_total % 1000);
	single(out, "inkan_configuration_revision", "gauge", "Revision of the configuration that runs.",
	       metrics->config == NULL ? 0 : metrics->config->snapshot->revision);
	single(out, "inkan_start_time_seconds", "gauge", "When the relay was started, seconds since 1970.",
	       (uint64_t)relay->started);
}

void metrics_write(struct buf *out, const struct metrics *metrics)
{
	messages(out, &metrics->tally);
	signing(out, metrics);
	certificates(out, metrics->config);
	queue(out, metrics);
	delivery(out, metrics);
	clients(out, metrics);
	process(out, metrics);
}

/* ---- health ---- */

static bool anybody_signs(const struct config *config)
{
	bool signs = false;

	for (size_t i = 0; config != NULL && i < config->n_servers; i++)
		signs |= config->servers[i].smime_enabled;
	return signs;
}

static void note(json_t *reasons, bool fault, const char *reason)
{
	if (fault)
		json_array_append_new(reasons, json_string(reason));
}

static json_t *faults(const struct metrics *metrics)
{
	bool signs = anybody_signs(metrics->config);
	json_t *reasons = json_array();
	char *locked = mem_format("signing is locked: %s", metrics->relay.locked_why);

	note(reasons, metrics->relay.stopping, "the relay is being stopped");
	note(reasons, !metrics->relay.store_ready, "the store is being recovered");
	note(reasons, metrics->relay.store_ready && metrics->config == NULL, "no configuration is applied");
	note(reasons, metrics->relay.store_ready && metrics->health == QUEUE_FULL, "the store is full");
	note(reasons, metrics->relay.store_ready && metrics->health == QUEUE_FAILED, "the store has failed");
	note(reasons, signs && metrics->relay.locked, locked);
	note(reasons, signs && !metrics->relay.locked && metrics->signer.workers == 0, "no HSM worker is connected");
	note(reasons, signs && metrics->signer.suspended, "signing is suspended: the HSM does not sign");
	free(locked);
	return reasons;
}

bool metrics_health_write(struct buf *out, const struct metrics *metrics)
{
	json_t *reasons = faults(metrics), *reply = json_object();
	bool good = json_array_size(reasons) == 0;
	char *text;

	json_object_set_new(reply, "status", json_string(good ? "ok" : "unavailable"));
	if (good)
		json_decref(reasons);
	else
		json_object_set_new(reply, "reasons", reasons);
	text = json_dumps(reply, JSON_COMPACT);
	buf_put_text(out, text);
	buf_put_byte(out, '\n');
	free(text);
	json_decref(reply);
	return good;
}
