/*
 * Host names to addresses. libevent's evdns: it never blocks a thread (getaddrinfo on the pool would hold the threads that
 * re-encoding needs for as long as a name server is away), and every look-up can be given up. It reads /etc/hosts and
 * /etc/resolv.conf at the first name that needs it after resolver_configure. A numeric address needs neither. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_RESOLVER_H
#define INKAN_RELAY_DELIVERY_RESOLVER_H

#include <stdint.h>
#include <sys/socket.h>

#include "appliance/base/err.h"

#define RESOLVER_ADDRESSES_MAX 16 /* of one name; more are left out */

struct event_base;
struct resolver;
struct resolution;

struct resolver_address {
	struct sockaddr_storage sockaddr;
	socklen_t len;
};

/* Called once, from the loop. Addresses in the order in which to try them; valid until return. ERR_NOT_FOUND: there are none. */
typedef void resolver_cb(const struct resolver_address *addresses, size_t count, const struct err *err, void *arg);

struct resolver *resolver_new(struct event_base *base);

/* "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT"; none: those of /etc/resolv.conf, which is read anew. */
void resolver_configure(struct resolver *resolver, char *const *servers, size_t count);
void resolver_free(struct resolver *resolver); /* every look-up has been answered or cancelled; NULL is fine */

struct resolution *resolver_lookup(struct resolver *resolver, const char *host, uint16_t port, resolver_cb *cb, void *arg);
void resolver_cancel(struct resolution *resolution); /* no callback follows; NULL is fine */

#endif
