/*
 * What runs, as numbers: Prometheus text (exposition format 0.0.4), and whether mail that needs a signature can be signed. Pure.
 */
#ifndef INKAN_RELAY_OBSERVE_METRICS_H
#define INKAN_RELAY_OBSERVE_METRICS_H

#include "appliance/relay/api/api_server.h"
#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/signing/tally.h"
#include "appliance/relay/smtp/server.h"
#include "appliance/relay/tls/tls.h"
#include "appliance/relay/webhook/webhooks.h"

/* What the process itself knows. */
struct metrics_relay {
	bool store_ready, stopping;
	bool locked; /* no PIN */
	const char *locked_why;
	int64_t started; /* wall seconds */
	uint64_t held_up_total, held_up_ms_total; /* of the event loop */
};

struct metrics {
	struct metrics_relay relay;
	const struct config *config; /* NULL: none runs yet */
	struct submission_tally tally;
	struct smtp_server_state smtp;
	struct api_server_state api;
	struct tls_state tls;
	struct delivery_state delivery;
	struct signer_state signer;
	struct queue_count queue;
	enum queue_health health;
	struct webhooks_state webhooks;
	int64_t now; /* wall seconds */
};

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

void metrics_write(struct buf *out, const struct metrics *metrics);

/*
 * True: mail that needs a signature can be signed, or no server signs and mail can be taken. Appends {"status":"ok"} or
 * {"status":"unavailable","reasons":["…"]}.
 */
bool metrics_health_write(struct buf *out, const struct metrics *metrics);

#endif
