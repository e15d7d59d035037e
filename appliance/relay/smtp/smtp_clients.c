#include "appliance/relay/smtp/smtp_clients.h"

#include <stdlib.h>
#include <string.h>

#define CLIENTS_BUCKETS_FIRST 64 /* a power of two; doubled when there are more addresses than buckets */

struct client {
	struct client *next;
	struct in6_addr address;
	unsigned sessions;
};

struct smtp_clients {
	struct client **buckets;
	size_t n_buckets, count;
	uint64_t seed; /* so that nobody can choose addresses that share a bucket */
};

struct smtp_clients *smtp_clients_new(void)
{
	struct smtp_clients *clients = mem_new(sizeof *clients);

	clients->n_buckets = CLIENTS_BUCKETS_FIRST;
	clients->buckets = mem_new_array(clients->n_buckets, sizeof(struct client *));
	arc4random_buf(&clients->seed, sizeof clients->seed);
	return clients;
}

void smtp_clients_free(struct smtp_clients *clients)
{
	if (clients == NULL)
		return;
	for (size_t i = 0; i < clients->n_buckets; i++) {
		for (struct client *next, *client = clients->buckets[i]; client != NULL; client = next) {
			next = client->next;
			free(client);
		}
	}
	free(clients->buckets);
	free(clients);
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 32)) * 0x9e3779b97f4a7c15u;
	return (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9u;
}

static struct client **bucket_of(const struct smtp_clients *clients, const struct in6_addr *address)
{
	uint64_t halves[2];

	memcpy(halves, address, sizeof halves);
	return &clients->buckets[mix(mix(halves[0] ^ clients->seed) ^ halves[1]) >> 16 & (clients->n_buckets - 1)];
}

/* Where the pointer to the client of this address is, or would be. */
static struct client **find(const struct smtp_clients *clients, const struct in6_addr *address)
{
	struct client **at = bucket_of(clients, address);

	while (*at != NULL && memcmp(&(*at)->address, address, sizeof *address) != 0)
		at = &(*at)->next;
	return at;
}

static void grow(struct smtp_clients *clients)
{
	struct client **old = clients->buckets;
	size_t n_old = clients->n_buckets;

	clients->n_buckets *= 2;
	clients->buckets = mem_new_array(clients->n_buckets, sizeof(struct client *));
	for (size_t i = 0; i < n_old; i++) {
		for (struct client *next, *client = old[i]; client != NULL; client = next) {
			struct client **bucket = bucket_of(clients, &client->address);

			next = client->next;
			client->next = *bucket;
			*bucket = client;
		}
	}
	free(old);
}

bool smtp_clients_enter(struct smtp_clients *clients, const struct in6_addr *address, unsigned limit)
{
	struct client **at = find(clients, address);

	if ((*at == NULL ? 0 : (*at)->sessions) >= limit)
		return false;
	if (*at == NULL) {
		*at = mem_new(sizeof **at);
		(*at)->address = *address;
		clients->count++;
	}
	(*at)->sessions++;
	if (clients->count > clients->n_buckets)
		grow(clients);
	return true;
}

void smtp_clients_leave(struct smtp_clients *clients, const struct in6_addr *address)
{
	struct client **at = find(clients, address), *client = *at;

	if (client == NULL || --client->sessions > 0)
		return;
	*at = client->next;
	free(client);
	clients->count--;
}

size_t smtp_clients_count(const struct smtp_clients *clients)
{
	return clients->count;
}
