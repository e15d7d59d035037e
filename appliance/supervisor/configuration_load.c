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

bool configuration_waiting(const char *state, struct waiting *waiting, struct err *err)
{
	struct err why;
	struct store *store = store_open(state, STORE_READ_ONLY, &why);
	struct revision revision;
	bool read;

	if (store == NULL && why.code == ERR_NOT_FOUND) {
		*waiting = (struct waiting){0};
		return true;
	}
	if (store == NULL)
		return err_set(err, why.code, "%s", why.text);
	read = store_revision(store, CONFIGURATION_RUNNING, &revision, err);
	store_close(store);
	if (!read)
		return false;
	*waiting = (struct waiting){.revision = revision.number, .until_ms = revision.confirm_ms, .back = revision.confirm_back};
	revision_clear(&revision);
	return true;
}
