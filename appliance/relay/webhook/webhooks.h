/*
 * Webhooks: the events of a server's mail, posted to a program of the customer in batches. Events are read from the store behind
 * a durable place of each webhook, and the place moves on only when a batch was answered with 2xx, so that every event arrives at
 * least once, in order; after a failure the same events are posted again, later each time up to WEBHOOK_RETRY_MAX_MS. More than
 * `backlog` waiting events: the oldest are dropped, and counted. Mail waits for none of it. Loop's thread.
 *
 * Headers of a request: X-Inkan-Delivery names what it holds ("TYPE-FIRSTEVENT-LASTEVENT"; equal for a repetition of the
 * same events), X-Inkan-Timestamp is when it was sent (seconds since 1970), and where there is a secret X-Inkan-Signature is
 * webhook_sign of both the timestamp and the body: a receiver refuses old timestamps and ids that it has had.
 */
#ifndef INKAN_RELAY_WEBHOOK_WEBHOOKS_H
#define INKAN_RELAY_WEBHOOK_WEBHOOKS_H

#include "appliance/base/secret.h"
#include "appliance/relay/policy/config.h"
#include "appliance/relay/queue/events.h"

#define WEBHOOK_POLL_MS 1000 /* looks for new events */
#define WEBHOOK_RETRY_MAX_MS 300000

struct webhooks;

struct webhooks_state {
	uint64_t posts_total, failed_posts_total;
	uint64_t events_total; /* taken by receivers */
	uint64_t dropped_total; /* passed over, as too many waited */
};

struct webhooks *webhooks_new(struct event_base *base, struct queue *queue);
void webhooks_configure(struct webhooks *webhooks, const struct config *config);
void webhooks_set_password(struct webhooks *webhooks, const char *sealed, struct secret *secret); /* takes the secret */
void webhooks_forget_passwords(struct webhooks *webhooks); /* wipes them all; receivers that need one wait */
void webhooks_stop(struct webhooks *webhooks); /* asks and posts nothing more; before the queue is closed */
struct webhooks_state webhooks_state(const struct webhooks *webhooks);

#endif
