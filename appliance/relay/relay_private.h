/* The parts of a running relay, and what the files of relay.h share of them. Loop's thread. */
#ifndef INKAN_RELAY_RELAY_PRIVATE_H
#define INKAN_RELAY_RELAY_PRIVATE_H

#include "appliance/base/channel.h"
#include "appliance/base/lag.h"
#include "appliance/relay/api/api_server.h"
#include "appliance/relay/api_tls.h"
#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/expiry.h"
#include "appliance/relay/observe/metrics_server.h"
#include "appliance/relay/observe/observe.h"
#include "appliance/relay/relay.h"
#include "appliance/relay/smtp/server.h"
#include "appliance/relay/tls/tls.h"
#include "appliance/relay/webhook/webhooks.h"

struct relay {
	struct event_base *base;
	struct channel *supervisor;
	struct event *terminate, *interrupt, *prune;
	struct pool *pool;
	struct lag *lag;
	struct signer *signer;
	struct queue *queue;
	struct tls *tls;
	struct smtp_server *smtp;
	struct api_server *api;
	struct api_tls *api_tls;
	struct delivery *delivery;
	struct observe *observe;
	struct webhooks *webhooks;
	struct metrics_server *metrics;
	struct submission_tally tally;
	struct metrics_relay state; /* as the metrics show it */
	char *locked_why;
	struct expiry *expiry;
	struct config *config; /* that runs */
	struct config *trying; /* to be run when the keys of its TLS certificates have been tried */
	struct tls_trial *trial;
	struct config *waiting; /* came before the store was ready */
	bool store_ready;
	bool ready_told;
	bool stopping;
	int64_t intake_deadline; /* for sessions and requests under way */
	int status;
};

/* relay.c: the server first, then deliveries, then the store; once. `status` is what the process will exit with. */
void relay_stop(struct relay *relay, int64_t grace_ms, int status);

/*
 * relay_config.c: tries the keys of new TLS certificates, then runs the configuration or keeps the old one, and answers inkand.
 * Before the store is ready it is kept for relay_configure to be called again.
 */
void relay_configure(struct relay *relay, struct config *config, bool check_only);
void relay_on_configure(struct relay *relay, struct msg *msg); /* RELAY_CONFIGURE */
void relay_end_trial(struct relay *relay); /* forgets the configuration whose keys are being tried */

/* relay_supervisor.c: what inkand says, and what it is told. */
channel_message_cb relay_frame;
channel_closed_cb relay_supervisor_gone;
void relay_signer_event(enum signer_event event, const char *text, void *arg);

#endif
