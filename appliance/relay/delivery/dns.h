/*
 * The name servers: one c-ares channel on the event loop. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_DNS_H
#define INKAN_RELAY_DELIVERY_DNS_H

#include <ares.h>

#include "appliance/base/err.h"

#define DNS_TIMEOUT_MS 3000 /* of one query to one server; doubled with each round */
#define DNS_TRIES 3

struct event_base;
struct dns;

struct dns *dns_new(struct event_base *base);

/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT"; none: those of /etc/resolv.conf. Queries that run go on where they are. */
void dns_set_servers(struct dns *dns, char *const *servers, size_t count);
void dns_free(struct dns *dns); /* running queries end as cancelled; NULL is fine */

/* For queries; after each one that was made call dns_started. NULL: no channel, *err says why. */
ares_channel dns_channel(struct dns *dns, struct err *err);
void dns_started(struct dns *dns);
struct event_base *dns_base(const struct dns *dns);

#endif
