/*
 * The console's connections to the relay: answers the questions of appliance/base/query.h out of what runs. Loop's thread;
 * nothing blocks: a page comes from the queue's reading thread, or is short work.
 */
#ifndef INKAN_RELAY_OBSERVE_OBSERVE_H
#define INKAN_RELAY_OBSERVE_OBSERVE_H

#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/observe/metrics_server.h"
#include "appliance/relay/signing/submission.h"
#include "appliance/relay/smtp/server.h"
#include "appliance/relay/tls/tls.h"

#define OBSERVE_CONSOLES_MAX 32

struct observe;

/* What is asked about; all of it outlives the observer. */
struct observe_context {
	struct event_base *base;
	struct queue *queue;
	struct smtp_server *smtp;
	struct delivery *delivery;
	struct tls *tls;
	struct submission_context submission;
	metrics_read *read;
	void *arg; /* of `read` */
};

struct observe *observe_new(const struct observe_context *context);
void observe_configure(struct observe *observe, struct config *config); /* the one that runs now; referenced */
void observe_add_console(struct observe *observe, int fd); /* takes the descriptor */

/* Hangs up on every console and asks nothing more. To be called before the queue is closed. NULL is fine. */
void observe_stop(struct observe *observe);

#endif
