/*
 * Delivery: claims due recipients, groups them by next hop and message, sends them by SMTP (RFC 5321, pipelined, reused
 * connections) or into a maildir, reports per-recipient results, retries by the server's schedule, bounces (RFC 3464)
 * on a permanent failure or at the end of the queue lifetime. Loop's thread; nothing blocks.
 */
#ifndef INKAN_RELAY_DELIVERY_H
#define INKAN_RELAY_DELIVERY_H

#include "appliance/relay/policy/config.h"
#include "appliance/relay/queue/queue.h"

struct delivery;
struct pool;
struct secret;

/*
 * Can this configuration be delivered with? A maildir next hop stands alone, its directories can be made and written (they are
 * made). The text names the server. Touches the file system.
 */
bool delivery_check(const struct config *config, struct err *err) MUST_USE;

struct delivery *delivery_new(struct event_base *base, struct queue *queue, struct pool *pool);

/* The applied configuration; running transactions finish on the one they began with. References it. */
void delivery_configure(struct delivery *delivery, struct config *config);

/* A next hop's password in clear (passwords.h); takes it. What waited for it is tried. */
void delivery_set_password(struct delivery *delivery, const char *sealed, struct secret *password);

/* Wipes them all and ends the connections that are logged in; mail for those next hops waits. */
void delivery_forget_passwords(struct delivery *delivery);

void delivery_wake(struct delivery *delivery); /* the queue's due event */

/*
 * Stops claiming, lets running transactions end until `deadline_ms` (monotonic), drops what still runs (it will be delivered
 * again), then calls `stopped` from the loop, once. The store may be closed from there.
 */
void delivery_stop(struct delivery *delivery, int64_t deadline_ms, void (*stopped)(void *arg), void *arg);

/* Drops what still runs: it will be delivered again. Not from one of its own callbacks but `stopped`; NULL is fine. */
void delivery_free(struct delivery *delivery);

struct delivery_state {
	uint64_t delivered_total, deferred_total, failed_total; /* recipients; damaged ones count as failed */
	uint64_t bounced_total; /* notices */
	unsigned connections; /* open or being opened, maildir writers included */
};
struct delivery_state delivery_state(const struct delivery *delivery);

#endif
