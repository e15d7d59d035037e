/*
 * Makes the notice that goes to the sender for recipients of a group that failed, are delayed, or arrived where that was asked
 * for: reads what is returned of the original, composes the DSN. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_BOUNCE_H
#define INKAN_RELAY_DELIVERY_BOUNCE_H

#include "appliance/relay/delivery/group.h"

struct event_base;
struct bounce;

/* Is there a recipient in the settled group whose sender wants to know what became of it? */
bool bounce_wanted(const struct group *group);

/* `notice` is valid until return; the bounce is freed after it. Called from the loop. */
typedef void bounce_made_cb(const struct queue_notice *notice, void *arg);

/* `group` must stay until the callback; `lifetime_ms` is how long the notice itself may wait in the queue. */
struct bounce *bounce_begin(struct event_base *base, struct queue *queue, const struct group *group, const char *host_name,
			    int64_t lifetime_ms, bounce_made_cb *made, void *arg);
void bounce_free(struct bounce *bounce); /* before the callback: it will not come; NULL is fine */

#endif
