#include "appliance/relay/api_tls.h"

#include <stdlib.h>
#include <string.h>

struct entry {
	char *address;
	struct tls_context *context;
};

struct api_tls {
	struct entry *entries;
	size_t count;
};

static bool add(struct api_tls *all, struct tls *tls, const struct config_api_listen *listen, struct err *err)
{
	struct tls_context *context = tls_context_new(tls, listen->certificates, listen->n_certificates, err);

	if (context == NULL)
		return err_prefix(err, "api listen %s", listen->address);
	all->entries = mem_resize(all->entries, all->count + 1, sizeof *all->entries);
	all->entries[all->count++] = (struct entry){.address = mem_string(listen->address), .context = context};
	return true;
}

struct api_tls *api_tls_new(struct tls *tls, const struct config *config, struct err *err)
{
	struct api_tls *all = mem_new(sizeof *all);

	for (size_t s = 0; s < config->n_servers; s++) {
		for (size_t l = 0; l < config->servers[s].n_api_listens; l++) {
			const struct config_api_listen *listen = &config->servers[s].api_listens[l];

			if (listen->tls && !add(all, tls, listen, err)) {
				err_prefix(err, "server %s", config->servers[s].name);
				api_tls_free(all);
				return NULL;
			}
		}
	}
	return all;
}

void api_tls_free(struct api_tls *all)
{
	if (all == NULL)
		return;
	for (size_t i = 0; i < all->count; i++) {
		tls_context_unref(all->entries[i].context);
		free(all->entries[i].address);
	}
	free(all->entries);
	free(all);
}

struct tls_context *api_tls_find(const struct api_tls *all, const char *address)
{
	for (size_t i = 0; all != NULL && i < all->count; i++) {
		if (strcmp(all->entries[i].address, address) == 0)
			return all->entries[i].context;
	}
	return NULL;
}
