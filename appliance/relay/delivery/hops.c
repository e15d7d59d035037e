#include "appliance/relay/delivery/hops.h"

#include <stdlib.h>

#include "appliance/relay/delivery/schedule.h"

void hops_init(struct hops *hops, const struct config_next_hop *next_hops, size_t count)
{
	hops->items = mem_new_array(count, sizeof *hops->items);
	hops->count = count;
	for (size_t i = 0; i < count; i++) {
		hops->items[i].host = mem_string(next_hops[i].host);
		hops->items[i].port = next_hops[i].port;
	}
}

void hops_clear(struct hops *hops)
{
	for (size_t i = 0; i < hops->count; i++)
		free(hops->items[i].host);
	free(hops->items);
	*hops = (struct hops){0};
}

struct hop *hops_usable(const struct hops *hops, int64_t now)
{
	for (size_t i = 0; i < hops->count; i++) {
		if (hops->items[i].down_until <= now)
			return &hops->items[i];
	}
	return NULL;
}

int64_t hops_next_try(const struct hops *hops)
{
	int64_t first = INT64_MAX;

	for (size_t i = 0; i < hops->count; i++) {
		if (hops->items[i].down_until < first)
			first = hops->items[i].down_until;
	}
	return first;
}

void hops_forget_failures(struct hops *hops)
{
	for (size_t i = 0; i < hops->count; i++)
		hop_answered(&hops->items[i]);
}

bool hop_failed(struct hop *hop, int64_t now)
{
	if (hop->down_until > now)
		return false;
	hop->failures++;
	hop->down_until = now + schedule_backoff_ms(hop->failures);
	return true;
}

void hop_reached(struct hop *hop)
{
	hop->down_until = 0;
}

void hop_answered(struct hop *hop)
{
	hop->failures = 0;
	hop->down_until = 0;
}
