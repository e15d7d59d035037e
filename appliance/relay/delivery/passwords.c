#include "appliance/relay/delivery/passwords.h"

#include <stdlib.h>
#include <string.h>

struct password {
	char *sealed;
	struct secret *secret;
};

static struct password *find(const struct passwords *passwords, const char *sealed)
{
	for (size_t i = 0; i < passwords->count; i++) {
		if (strcmp(passwords->items[i].sealed, sealed) == 0)
			return &passwords->items[i];
	}
	return NULL;
}

void passwords_put(struct passwords *passwords, const char *sealed, struct secret *secret)
{
	struct password *password = find(passwords, sealed);

	if (password == NULL) {
		passwords->items = mem_resize(passwords->items, passwords->count + 1, sizeof *passwords->items);
		password = &passwords->items[passwords->count++];
		*password = (struct password){.sealed = mem_string(sealed)};
	}
	secret_free(password->secret);
	password->secret = secret;
}

const struct secret *passwords_find(const struct passwords *passwords, const char *sealed)
{
	const struct password *password = find(passwords, sealed);

	return password == NULL ? NULL : password->secret;
}

void passwords_clear(struct passwords *passwords)
{
	for (size_t i = 0; i < passwords->count; i++) {
		free(passwords->items[i].sealed);
		secret_free(passwords->items[i].secret);
	}
	free(passwords->items);
	*passwords = (struct passwords){0};
}
