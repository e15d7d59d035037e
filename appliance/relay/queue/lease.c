#include "appliance/relay/queue/lease.h"

#include <pthread.h>
#include <stdlib.h>

#include "appliance/base/bytes.h"

#define FIRST_SLOTS 256

/* Open addressing with linear probing; at most half full; ends shift the following entries back, so there are no tombstones. */
struct leases {
	pthread_mutex_t lock; /* guards changes against lease_is_held */
	struct lease *slots;
	size_t n_slots; /* a power of two */
	size_t count;
};

struct leases *leases_new(void)
{
	struct leases *leases = mem_new(sizeof *leases);

	pthread_mutex_init(&leases->lock, NULL);
	leases->n_slots = FIRST_SLOTS;
	leases->slots = mem_new_array(FIRST_SLOTS, sizeof *leases->slots);
	return leases;
}

void leases_free(struct leases *leases)
{
	if (leases == NULL)
		return;
	pthread_mutex_destroy(&leases->lock);
	free(leases->slots);
	free(leases);
}

static size_t home_of(const struct leases *leases, uint64_t recipient)
{
	return (size_t)((recipient * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (leases->n_slots - 1);
}

/* The slot that holds the recipient, or the free one where it would go. */
static size_t slot_of(const struct leases *leases, uint64_t recipient)
{
	size_t at = home_of(leases, recipient);

	while (leases->slots[at].recipient != 0 && leases->slots[at].recipient != recipient)
		at = (at + 1) & (leases->n_slots - 1);
	return at;
}

static void grow(struct leases *leases)
{
	struct lease *old = leases->slots;
	size_t n_old = leases->n_slots;

	leases->n_slots *= 2;
	leases->slots = mem_new_array(leases->n_slots, sizeof *leases->slots);
	for (size_t i = 0; i < n_old; i++)
		if (old[i].recipient != 0)
			leases->slots[slot_of(leases, old[i].recipient)] = old[i];
	free(old);
}

void lease_grant(struct leases *leases, uint64_t recipient, uint64_t message, uint64_t token)
{
	struct lease *slot;

	pthread_mutex_lock(&leases->lock);
	if (leases->count * 2 >= leases->n_slots)
		grow(leases);
	slot = &leases->slots[slot_of(leases, recipient)];
	leases->count += slot->recipient == 0;
	*slot = (struct lease){.recipient = recipient, .message = message, .token = token};
	pthread_mutex_unlock(&leases->lock);
}

static void empty_slot(struct leases *leases, size_t hole)
{
	size_t mask = leases->n_slots - 1;

	for (size_t at = (hole + 1) & mask; leases->slots[at].recipient != 0; at = (at + 1) & mask) {
		size_t home = home_of(leases, leases->slots[at].recipient);

		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		leases->slots[hole] = leases->slots[at];
		hole = at;
	}
	leases->slots[hole] = (struct lease){0};
}

void lease_end(struct leases *leases, uint64_t recipient)
{
	size_t at;

	pthread_mutex_lock(&leases->lock);
	at = slot_of(leases, recipient);
	if (leases->slots[at].recipient != 0) {
		empty_slot(leases, at);
		leases->count--;
	}
	pthread_mutex_unlock(&leases->lock);
}

struct lease *lease_find(struct leases *leases, uint64_t recipient)
{
	struct lease *slot = &leases->slots[slot_of(leases, recipient)];

	return slot->recipient != 0 ? slot : NULL;
}

bool lease_is_held(struct leases *leases, uint64_t recipient)
{
	bool held;

	pthread_mutex_lock(&leases->lock);
	held = leases->slots[slot_of(leases, recipient)].recipient != 0;
	pthread_mutex_unlock(&leases->lock);
	return held;
}

size_t lease_count(const struct leases *leases)
{
	return leases->count;
}
