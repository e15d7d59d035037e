#include "appliance/supervisor/configuration.h"
#include "provisioning/store/store.h"

static struct snapshot *read_snapshot(const char *state, uint64_t revision, struct err *err)
{
	struct store *store = store_open(state, STORE_READ_ONLY, err);
	struct snapshot *snapshot;

	if (store == NULL)
		return NULL;
	snapshot = store_snapshot(store, revision, err);
	store_close(store);
	return snapshot;
}

struct configuration *configuration_load(const char *state, uint64_t revision, struct err *err)
{
	struct err why;
	struct snapshot *snapshot = read_snapshot(state, revision, &why);

	if (snapshot != NULL)
		return configuration_new(snapshot, err);
	if (why.code == ERR_NOT_FOUND && revision == CONFIGURATION_RUNNING)
		return configuration_empty();
	err_set(err, why.code, "%s", why.text);
	return NULL;
}
