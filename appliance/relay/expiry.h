/* Warns in the log, at each new configuration and every day, of certificates in operation that end soon. Loop's thread. */
#ifndef INKAN_RELAY_EXPIRY_H
#define INKAN_RELAY_EXPIRY_H

#include "appliance/relay/policy/config.h"

struct event_base;
struct expiry;

struct expiry *expiry_new(struct event_base *base);
void expiry_configure(struct expiry *expiry, struct config *config); /* the one that runs now; referenced */

#endif
