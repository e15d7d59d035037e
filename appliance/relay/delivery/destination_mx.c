/* The mail exchangers of a destination that is a domain. */
#include "appliance/relay/delivery/destination_private.h"

#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/relay/delivery/mx.h"

#define MX_STALE_MS 60000 /* exchangers that cannot be asked for anew are used so much longer */

static void take_exchangers(struct destination *destination, const struct mx_answer *answer)
{
	struct config_next_hop *hops = mem_new_array(answer->count, sizeof *hops);
	size_t count = answer->count;

	for (size_t i = 0; i < count; i++) {
		char *name = mem_string(answer->hosts[i].name);

		hops[i] = (struct config_next_hop){.name = name,
						   .host = name,
						   .port = destination->mx_port,
						   .priority = answer->hosts[i].preference,
						   .weight = 1,
						   .tls = destination->mx_tls};
	}
	hops_replace(&destination->hops, hops, count);
	for (size_t i = 0; i < count; i++)
		free(hops[i].host);
	free(hops);
	destination->mx_until = clock_monotonic_ms() + answer->ttl_seconds * INT64_C(1000);
}

static void on_exchangers(const struct mx_answer *answer, void *arg)
{
	struct destination *destination = arg;

	destination->lookup = NULL;
	if (answer->outcome == MX_FOUND)
		take_exchangers(destination, answer);
	else if (answer->outcome == MX_REFUSED || destination->hops.count == 0)
		destination_settle_waiting(destination, answer->outcome == MX_REFUSED ? QUEUE_PERMANENT : QUEUE_DEFERRED,
					   answer->status, answer->reason);
	else
		destination->mx_until = clock_monotonic_ms() + MX_STALE_MS; /* the old ones, while no name server answers */
	destination_pump(destination);
	destination->context->freed_lane(destination->context->arg);
}

/* Is it known where mail goes? Asks when it is not. */
bool destination_is_routed(struct destination *destination)
{
	if (destination->domain == NULL || destination->waiting.first == NULL)
		return true;
	if (destination->lookup == NULL && clock_monotonic_ms() < destination->mx_until)
		return true;
	if (destination->lookup == NULL)
		destination->lookup = mx_begin(destination->context->dns, destination->domain, destination->context->helo,
					       on_exchangers, destination);
	return false;
}
