/*
 * A revision as inkand uses it: the snapshot that goes to the relay, and what inkand itself reads out of it. Immutable
 * once made. Pure, but for configuration_load.
 */
#ifndef INKAN_SUPERVISOR_CONFIGURATION_H
#define INKAN_SUPERVISOR_CONFIGURATION_H

#include "hsm/protocol/worker.h"
#include "provisioning/store/snapshot.h"

struct configuration {
	struct snapshot *snapshot;
	struct hsm_settings hsm;
	unsigned processes; /* HSM workers */
	char *pin_file; /* NULL: the operator logs in */
	char **listens; /* NULL-terminated addresses for the relay's sockets */
};

#define CONFIGURATION_RUNNING 0 /* in place of a revision: the one that was applied last */

/* Takes the snapshot, also when it fails. */
struct configuration *configuration_new(struct snapshot *snapshot, struct err *err);
struct configuration *configuration_empty(void); /* revision 0: nothing is set */
void configuration_free(struct configuration *configuration);

/* Reads a revision from inkan.db of the state directory; without database or applied revision the empty one. */
struct configuration *configuration_load(const char *state, uint64_t revision, struct err *err);

/* The running revision of inkan.db; all 0 without a database. */
struct waiting {
	uint64_t revision;
	int64_t until_ms; /* wall time until which it waits for its confirmation; 0: it does not */
	uint64_t back; /* the revision that runs again without one */
};
bool configuration_waiting(const char *state, struct waiting *waiting, struct err *err) MUST_USE;

/* Must workers be started anew to follow from `a` to `b`? */
bool configuration_same_hsm(const struct configuration *a, const struct configuration *b);
bool configuration_has_hsm(const struct configuration *configuration); /* module and token are set */

/*
 * The certificates that workers must know: those of `running`, and those of `other` (may be NULL) that it lacks, since
 * mail in flight is finished with the revision that it began with. Views into both: free only `items`.
 */
struct worker_certificates configuration_certificates(const struct configuration *running, const struct configuration *other);

#endif
