#include "appliance/relay/signing/identities.h"

#include <stdlib.h>

struct identity {
	uint64_t certificate; /* id */
	struct cms_identity *cms;
	unsigned users;
	struct identity *next;
};

/* Newest first; what is used moves to the front. */
struct identities {
	struct identity *first;
	size_t count;
};

struct identities *identities_new(void)
{
	return mem_new(sizeof(struct identities));
}

static void identity_free(struct identity *identity)
{
	cms_identity_free(identity->cms);
	free(identity);
}

void identities_free(struct identities *identities)
{
	while (identities != NULL && identities->first != NULL) {
		struct identity *next = identities->first->next;

		identity_free(identities->first);
		identities->first = next;
	}
	free(identities);
}

static void push(struct identities *identities, struct identity *identity)
{
	identity->next = identities->first;
	identities->first = identity;
}

/* Takes the last one off the list that nobody uses. */
static void drop_one(struct identities *identities)
{
	struct identity **at = &identities->first, **last = NULL, *gone;

	for (; *at != NULL; at = &(*at)->next) {
		if ((*at)->users == 0)
			last = at;
	}
	if (last == NULL)
		return;
	gone = *last;
	*last = gone->next;
	identity_free(gone);
	identities->count--;
}

static struct identity *find(struct identities *identities, uint64_t certificate)
{
	for (struct identity **at = &identities->first; *at != NULL; at = &(*at)->next) {
		struct identity *identity = *at;

		if (identity->certificate != certificate)
			continue;
		*at = identity->next;
		push(identities, identity);
		return identity;
	}
	return NULL;
}

struct identity *identities_take(struct identities *identities, const struct certificate *certificate, struct err *err)
{
	struct identity *identity = find(identities, certificate->id);

	if (identity == NULL) {
		struct cms_identity *cms = cms_identity_new(certificate->chain, certificate->n_chain, err);

		if (cms == NULL)
			return NULL;
		identity = mem_new(sizeof *identity);
		*identity = (struct identity){.certificate = certificate->id, .cms = cms};
		push(identities, identity);
		identities->count++;
	}
	identity->users++;
	if (identities->count > IDENTITIES_KEPT_MAX)
		drop_one(identities);
	return identity;
}

void identity_give_back(struct identity *identity)
{
	if (identity != NULL)
		identity->users--;
}

const struct cms_identity *identity_cms(const struct identity *identity)
{
	return identity->cms;
}
