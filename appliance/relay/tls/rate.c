#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/tls/tls_private.h"

#define WINDOW_MS 60000
#define SETS 1024
#define WAYS 8 /* clients of a set; the one that was seen first makes room */

struct client {
	uint64_t prefix[2];
	int64_t since_ms; /* begin of its minute */
	unsigned count; /* in it; 0: the place is free */
};

/* A fixed amount of memory, whoever comes. The salt keeps clients from choosing whose place they take. */
struct tls_rates {
	uint64_t salt;
	struct client sets[SETS][WAYS];
};

struct tls_rates *tls_rates_new(struct err *err)
{
	struct tls_rates *rates = mem_new(sizeof *rates);

	if (RAND_bytes((unsigned char *)&rates->salt, sizeof rates->salt) == 1)
		return rates;
	err_set(err, ERR_INTERNAL, "no random octets");
	free(rates);
	return NULL;
}

void tls_rates_free(struct tls_rates *rates)
{
	free(rates);
}

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static struct client *place_of(struct tls_rates *rates, const uint64_t prefix[2])
{
	struct client *set = rates->sets[mix(mix(rates->salt ^ prefix[0]) ^ prefix[1]) % SETS], *oldest = set;

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].count > 0 && memcmp(set[i].prefix, prefix, sizeof set[i].prefix) == 0)
			return &set[i];
		if (set[i].count == 0 || (oldest->count > 0 && set[i].since_ms < oldest->since_ms))
			oldest = &set[i];
	}
	*oldest = (struct client){.prefix = {prefix[0], prefix[1]}};
	return oldest;
}

bool tls_rates_take(struct tls_rates *rates, const struct in6_addr *client, unsigned most, int64_t now_ms)
{
	uint64_t prefix[2];
	struct client *place;

	memcpy(prefix, client->s6_addr, sizeof prefix);
	if (!IN6_IS_ADDR_V4MAPPED(client))
		prefix[1] = 0;
	place = place_of(rates, prefix);
	if (place->count == 0 || now_ms - place->since_ms >= WINDOW_MS)
		*place = (struct client){.prefix = {prefix[0], prefix[1]}, .since_ms = now_ms};
	if (place->count >= most)
		return false;
	place->count++;
	return true;
}
