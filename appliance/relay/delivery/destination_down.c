/* Next hops that are down, full or back again, and the mail that waits for them. */
#include "appliance/relay/delivery/destination_private.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"

void destination_arm_probe(struct destination *destination)
{
	int64_t wait_ms = hops_next_try(&destination->hops) - clock_monotonic_ms();
	struct timeval wait = {0};

	if (destination->stopping || !destination->has_deferred || destination->lossy)
		return;
	if (wait_ms > 0)
		wait = (struct timeval){.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
	event_add(destination->probe, &wait);
}

static void remember(struct destination *destination, uint64_t message)
{
	if (destination->n_deferred < DESTINATION_REMEMBERED_MESSAGES)
		destination->deferred[destination->n_deferred] = message;
	destination->n_deferred++;
}

static void defer_down(struct destination *destination, struct group *group)
{
	bool insecure = strncmp(destination->down_status, "4.7.", 4) == 0;
	char *reply = mem_format(insecure ? "the next hop cannot be used securely: %s" : "the next hop is down: %s",
				 destination->down_reason);

	group_settle_rest(group, QUEUE_DEFERRED, destination->down_status, reply);
	free(reply);
	destination->has_deferred = true;
	remember(destination, group->message->id);
	destination->context->settled(group, destination->context->arg);
}

/* Nothing can be sent now, and no lane is there that might tell otherwise. */
bool destination_is_down(const struct destination *destination)
{
	return destination->maildir == NULL && hops_usable(&destination->hops, clock_monotonic_ms(), arc4random()) == NULL &&
	       destination_count_lanes(destination, LANE_OPENING, NULL) + destination_count_lanes(destination, LANE_BUSY, NULL) +
		       destination_count_lanes(destination, LANE_IDLE, NULL) ==
		   0;
}

void destination_settle_waiting(struct destination *destination, enum queue_result_kind kind, const char *status,
				const char *reason)
{
	struct group *group;

	while ((group = group_list_take(&destination->waiting)) != NULL) {
		group_settle_rest(group, kind, status, reason);
		destination->context->settled(group, destination->context->arg);
	}
}

/* No mail exchanger of the domain has an address: that is no matter of time (RFC 5321 §5.1). */
static bool leads_nowhere(const struct destination *destination)
{
	for (size_t i = 0; i < destination->hops.count; i++) {
		if (!destination->hops.items[i]->unknown)
			return false;
	}
	return destination->domain != NULL && destination->hops.count > 0;
}

void destination_defer_waiting(struct destination *destination)
{
	struct group *group;

	if (leads_nowhere(destination)) {
		destination->mx_until = 0;
		destination_settle_waiting(destination, QUEUE_PERMANENT, "5.4.4", destination->down_reason);
		return;
	}
	while ((group = group_list_take(&destination->waiting)) != NULL)
		defer_down(destination, group);
	destination_arm_probe(destination);
}

void destination_fail_hop(struct destination *destination, struct hop *hop, const char *status, const struct err *why)
{
	int64_t now = clock_monotonic_ms();

	free(destination->down_reason);
	destination->down_reason = mem_string(why->text);
	snprintf(destination->down_status, sizeof destination->down_status, "%s", status);
	destination->window = 1;
	hop->unknown = why->code == ERR_NOT_FOUND;
	if (hop_failed(hop, now))
		log_warning("delivery.next-hop-down", LOG_TEXT("next_hop", hop->settings.host),
			    LOG_NUMBER("port", hop->settings.port), LOG_TEXT("status", status), LOG_ERR(why),
			    LOG_NUMBER("failures", hop->failures), LOG_NUMBER("again_in_ms", hop->down_until - now));
}

void destination_tell_recovered(struct destination *destination)
{
	if (!destination->has_deferred)
		return;
	destination->has_deferred = false;
	if (destination->domain == NULL || destination->n_deferred > DESTINATION_REMEMBERED_MESSAGES)
		destination->n_deferred = 0;
	destination->context->recovered(destination, destination->deferred, destination->n_deferred, destination->context->arg);
	destination->n_deferred = 0;
}

/* After lost connections only an answered transaction counts. */
void destination_reached(struct destination *destination, struct hop *hop)
{
	if (destination->lossy)
		return;
	if (hop->down_until > 0)
		log_info("delivery.next-hop-up", LOG_TEXT("next_hop", hop->settings.host),
			 LOG_NUMBER("port", hop->settings.port));
	hop_reached(hop);
	if (destination->window < DESTINATION_WINDOW_FIRST)
		destination->window = DESTINATION_WINDOW_FIRST;
	destination_tell_recovered(destination);
}

/* A hop that refuses one more connection while it serves others is full, not down. */
void destination_refused(struct destination *destination, struct hop *hop, const struct smtp_client_closed *how)
{
	unsigned others =
	    destination_count_lanes(destination, LANE_IDLE, hop) + destination_count_lanes(destination, LANE_BUSY, hop);

	if (others == 0) {
		destination_fail_hop(destination, hop, how->status, &how->why);
		return;
	}
	destination->window = others;
	destination->full_until = clock_monotonic_ms() + DESTINATION_FULL_MS;
}

void destination_lost(struct destination *destination, struct hop *hop, const struct err *why)
{
	if (++destination->losses < DESTINATION_LOSSES_MAX && !destination->lossy)
		return;
	destination->losses = 0;
	destination->lossy = true;
	destination_fail_hop(destination, hop, "4.4.2", why);
}
