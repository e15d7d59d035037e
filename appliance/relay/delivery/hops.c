#include "appliance/relay/delivery/hops.h"

#include <stdlib.h>

#include "appliance/relay/delivery/schedule.h"

static struct hop *hop_new(const struct config_next_hop *settings)
{
	struct hop *hop = mem_new(sizeof *hop);

	config_next_hop_copy(&hop->settings, settings);
	hop->references = 1;
	return hop;
}

struct hop *hop_ref(struct hop *hop)
{
	hop->references++;
	return hop;
}

void hop_unref(struct hop *hop)
{
	if (hop == NULL || --hop->references > 0)
		return;
	config_next_hop_clear(&hop->settings);
	tls_client_free(hop->tls);
	free(hop);
}

bool hop_wants_tls(const struct hop *hop)
{
	return hop->settings.tls != CONFIG_TLS_NONE;
}

bool hop_prepare_tls(struct hop *hop, struct err *err)
{
	if (hop->tls == NULL && hop_wants_tls(hop))
		hop->tls = tls_client_new(&hop->settings, err);
	return hop->tls != NULL || !hop_wants_tls(hop);
}

void hops_init(struct hops *hops, const struct config_next_hop *next_hops, size_t count)
{
	*hops = (struct hops){0};
	hops_replace(hops, next_hops, count);
}

static struct hop *find(const struct hops *hops, const struct config_next_hop *settings)
{
	for (size_t i = 0; i < hops->count; i++) {
		if (config_next_hop_equal(&hops->items[i]->settings, settings))
			return hops->items[i];
	}
	return NULL;
}

static int by_priority(const void *a, const void *b)
{
	const struct hop *const *left = a, *const *right = b;

	return ((*left)->settings.priority > (*right)->settings.priority) -
	       ((*left)->settings.priority < (*right)->settings.priority);
}

void hops_replace(struct hops *hops, const struct config_next_hop *next_hops, size_t count)
{
	struct hops next = {.items = mem_new_array(count, sizeof *next.items), .count = count};

	for (size_t i = 0; i < count; i++) {
		struct hop *known = find(hops, &next_hops[i]);

		next.items[i] = known != NULL ? hop_ref(known) : hop_new(&next_hops[i]);
	}
	if (count > 0)
		qsort(next.items, count, sizeof *next.items, by_priority);
	hops_clear(hops);
	*hops = next;
}

void hops_clear(struct hops *hops)
{
	for (size_t i = 0; i < hops->count; i++)
		hop_unref(hops->items[i]);
	free(hops->items);
	*hops = (struct hops){0};
}

/* The best priority that has a hop which is not down, and the sum of the weights there. */
static uint64_t best_weight(const struct hops *hops, int64_t now, unsigned *priority)
{
	uint64_t weight = 0;

	for (size_t i = 0; i < hops->count; i++) {
		const struct hop *hop = hops->items[i];

		if (hop->down_until > now || (weight > 0 && hop->settings.priority != *priority))
			continue;
		*priority = hop->settings.priority;
		weight += hop->settings.weight > 0 ? hop->settings.weight : 1;
	}
	return weight;
}

struct hop *hops_usable(const struct hops *hops, int64_t now, uint32_t random)
{
	unsigned priority = 0;
	uint64_t sum = best_weight(hops, now, &priority), mark = sum == 0 ? 0 : random % sum;

	for (size_t i = 0; i < hops->count; i++) {
		struct hop *hop = hops->items[i];
		unsigned weight = hop->settings.weight > 0 ? hop->settings.weight : 1;

		if (hop->down_until > now || hop->settings.priority != priority)
			continue;
		if (mark < weight)
			return hop;
		mark -= weight;
	}
	return NULL;
}

int64_t hops_next_try(const struct hops *hops)
{
	int64_t first = INT64_MAX;

	for (size_t i = 0; i < hops->count; i++) {
		if (hops->items[i]->down_until < first)
			first = hops->items[i]->down_until;
	}
	return first;
}

void hops_forget_failures(struct hops *hops)
{
	for (size_t i = 0; i < hops->count; i++)
		hop_answered(hops->items[i]);
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
	hop->unknown = false;
	hop->down_until = 0;
}

void hop_answered(struct hop *hop)
{
	hop->failures = 0;
	hop->down_until = 0;
}
