#include "appliance/relay/smtp/smtp_clients.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/relay/smtp/smtp_limits.h"

#define CLIENTS_BUCKETS_FIRST 64 /* a power of two; doubled when there are more addresses than buckets */
#define MINUTE_MS 60000

struct client {
	struct client *next;
	struct in6_addr address;
	unsigned sessions;
	unsigned failures; /* logins in a row */
	int64_t failed_ms; /* the last one */
	unsigned messages; /* since minute_ms, within a minute */
	int64_t minute_ms;
	int64_t next_ms; /* the next message not before */
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

static bool is_live(const struct client *client, int64_t now_ms)
{
	return client->sessions > 0 || (client->failures > 0 && now_ms - client->failed_ms < SMTP_LOGIN_MEMORY_MS) ||
	       (client->messages > 0 && now_ms - client->minute_ms < MINUTE_MS) || client->next_ms > now_ms;
}

static void drop(struct smtp_clients *clients, struct client **at)
{
	struct client *client = *at;

	*at = client->next;
	free(client);
	clients->count--;
}

static void make_room(struct smtp_clients *clients, int64_t now_ms)
{
	for (size_t i = 0; i < clients->n_buckets; i++) {
		for (struct client **at = &clients->buckets[i]; *at != NULL;) {
			if (is_live(*at, now_ms))
				at = &(*at)->next;
			else
				drop(clients, at);
		}
	}
	if (clients->count > clients->n_buckets / 2)
		grow(clients);
}

bool smtp_clients_enter(struct smtp_clients *clients, const struct in6_addr *address, unsigned limit, int64_t now_ms)
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
		make_room(clients, now_ms);
	return true;
}

void smtp_clients_leave(struct smtp_clients *clients, const struct in6_addr *address, int64_t now_ms)
{
	struct client **at = find(clients, address);

	if (*at == NULL)
		return;
	(*at)->sessions--;
	if (!is_live(*at, now_ms))
		drop(clients, at);
}

bool smtp_clients_message(struct smtp_clients *clients, const struct in6_addr *address, unsigned per_minute, int64_t interval_ms,
			  int64_t now_ms, int64_t *wait_ms)
{
	struct client *client = *find(clients, address);
	int64_t turn;

	*wait_ms = 0;
	if (client == NULL || (per_minute == 0 && interval_ms == 0))
		return true;
	if (client->messages == 0 || now_ms - client->minute_ms >= MINUTE_MS) {
		client->minute_ms = now_ms;
		client->messages = 0;
	}
	turn = client->next_ms > now_ms ? client->next_ms : now_ms;
	if ((per_minute > 0 && client->messages >= per_minute) ||
	    (interval_ms > 0 && turn - now_ms > SMTP_INTERVAL_WAIT_MAX_MS && turn - now_ms > interval_ms))
		return false;
	client->messages++;
	client->next_ms = turn + interval_ms;
	*wait_ms = turn - now_ms;
	return true;
}

void smtp_clients_login(struct smtp_clients *clients, const struct in6_addr *address, bool right, int64_t now_ms)
{
	struct client *client = *find(clients, address);

	if (client == NULL)
		return;
	if (right || now_ms - client->failed_ms >= SMTP_LOGIN_MEMORY_MS)
		client->failures = 0;
	if (right)
		return;
	client->failures++;
	client->failed_ms = now_ms;
}

bool smtp_clients_may_log_in(const struct smtp_clients *clients, const struct in6_addr *address, unsigned failures,
			     int64_t now_ms)
{
	const struct client *client = *find(clients, address);
	int64_t wait_ms = 1000;

	if (client == NULL || client->failures < failures)
		return true;
	for (unsigned i = failures; i < client->failures && wait_ms < SMTP_LOGIN_WAIT_MAX_MS; i++)
		wait_ms *= 2;
	if (wait_ms > SMTP_LOGIN_WAIT_MAX_MS)
		wait_ms = SMTP_LOGIN_WAIT_MAX_MS;
	return now_ms - client->failed_ms >= wait_ms;
}

size_t smtp_clients_count(const struct smtp_clients *clients)
{
	return clients->count;
}
