#include "appliance/relay/api/login_failures.h"

#include <stdio.h>
#include <string.h>

static struct login_failing *find(struct login_failures *failures, const char *client)
{
	for (size_t i = 0; i < LOGIN_FAILING_CLIENTS_MAX; i++) {
		if (failures->clients[i].count > 0 && strcmp(failures->clients[i].client, client) == 0)
			return &failures->clients[i];
	}
	return NULL;
}

static struct login_failing *make_room(struct login_failures *failures, const char *client)
{
	struct login_failing *oldest = failures->clients;

	for (size_t i = 0; i < LOGIN_FAILING_CLIENTS_MAX && oldest->count > 0; i++) {
		if (failures->clients[i].count == 0 || failures->clients[i].last < oldest->last)
			oldest = &failures->clients[i];
	}
	*oldest = (struct login_failing){0};
	snprintf(oldest->client, sizeof oldest->client, "%s", client);
	return oldest;
}

unsigned login_failures_add(struct login_failures *failures, const char *client, int64_t now)
{
	struct login_failing *failing = find(failures, client);
	unsigned wait_ms = LOGIN_WRONG_MS;

	if (failing == NULL)
		failing = make_room(failures, client);
	if (now - failing->last > LOGIN_FAILURE_MEMORY_MS)
		failing->count = 0;
	failing->last = now;
	failing->count++;
	for (unsigned i = LOGIN_WRONG_FREE; i < failing->count && wait_ms < LOGIN_WRONG_MAX_MS; i++)
		wait_ms *= 2;
	return wait_ms;
}

void login_failures_forget(struct login_failures *failures, const char *client)
{
	struct login_failing *failing = find(failures, client);

	if (failing != NULL)
		*failing = (struct login_failing){0};
}
