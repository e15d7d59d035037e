#include "appliance/relay/api/api_users.h"

#include <stdlib.h>
#include <string.h>

/* A list: it holds the users that send at this moment, a handful. */
struct api_user {
	char *server, *name;
	unsigned requests;
	struct api_user *next;
};

struct api_users {
	struct api_user *first;
};

struct api_users *api_users_new(void)
{
	return mem_new(sizeof(struct api_users));
}

static void user_free(struct api_user *user)
{
	free(user->server);
	free(user->name);
	free(user);
}

void api_users_free(struct api_users *users)
{
	while (users != NULL && users->first != NULL) {
		struct api_user *next = users->first->next;

		user_free(users->first);
		users->first = next;
	}
	free(users);
}

/* Where it is linked, or where it would be. */
static struct api_user **find(struct api_users *users, const char *server, const char *name)
{
	struct api_user **at = &users->first;

	while (*at != NULL && (strcmp((*at)->name, name) != 0 || strcmp((*at)->server, server) != 0))
		at = &(*at)->next;
	return at;
}

bool api_users_enter(struct api_users *users, const char *server, const char *user, unsigned limit)
{
	struct api_user **at = find(users, server, user);

	if (*at == NULL) {
		*at = mem_new(sizeof **at);
		(*at)->server = mem_string(server);
		(*at)->name = mem_string(user);
	}
	if ((*at)->requests >= limit)
		return false;
	(*at)->requests++;
	return true;
}

void api_users_leave(struct api_users *users, const char *server, const char *user)
{
	struct api_user **at = find(users, server, user), *gone = *at;

	if (--gone->requests > 0)
		return;
	*at = gone->next;
	user_free(gone);
}
