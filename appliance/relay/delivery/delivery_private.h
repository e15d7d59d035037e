/* For tests alone: a delivery with waits of their own. */
#ifndef INKAN_RELAY_DELIVERY_DELIVERY_PRIVATE_H
#define INKAN_RELAY_DELIVERY_DELIVERY_PRIVATE_H

#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/delivery/smtp_client.h"

/* Before the first delivery_configure. `timeouts` must live as long as the delivery. */
void delivery_set_timeouts(struct delivery *delivery, const struct smtp_timeouts *timeouts);

#endif
