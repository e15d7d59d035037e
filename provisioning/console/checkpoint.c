#include "provisioning/console/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/task.h"
#include "provisioning/store/audit_chain.h"

#define LOCK_FILE "checkpoint.lock"

/* No process is started for nothing: the PIN is there, and what uses the token is well. */
static bool token_signs(struct console *console, struct err *err)
{
	struct supervisor_status status = {0};
	struct control_client client;
	bool signs;

	if (!control_open(&client, console->state, err))
		return false;
	signs = control_status(&client, &status, err);
	control_close(&client);
	if (!signs)
		return false;
	signs = strcmp(status.pin, "held") == 0 && strcmp(status.signing, "on") == 0;
	for (size_t i = 0; signs && i < status.n_children; i++) /* one that starts has the token's login */
		signs = strncmp(status.children[i].name, "worker", 6) != 0 || strcmp(status.children[i].state, "running") == 0;
	supervisor_status_clear(&status);
	return signs || err_set(err, ERR_UNAVAILABLE, "the token does not sign now");
}

static bool sign(struct console *console, const struct checkpoint_task *wanted, struct checkpoint_result *result, struct err *err)
{
	struct task task;
	bool done;

	if (!token_signs(console, err) || !task_open(console, &task, err))
		return false;
	task.call.progress = NULL;
	task.call.deadline_ms = clock_monotonic_ms() + CHECKPOINT_TASK_MS;
	done = provision_checkpoint(&task.call, wanted, result, err);
	task_close(&task);
	return done;
}

static bool make(struct console *console, struct err *err)
{
	struct checkpoint_task wanted = {.time_ms = clock_wall_ms()};
	struct audit_checkpoint checkpoint = {0};
	struct checkpoint_result result;
	bool stored;

	if (!store_audit_read_up(console->store, err) ||
	    !store_audit_head(console->store, &checkpoint.number, &checkpoint.link, err))
		return false;
	wanted.rows = checkpoint.number;
	memcpy(wanted.hash, checkpoint.link.hash, sizeof wanted.hash);
	if (!sign(console, &wanted, &result, err))
		return false;
	checkpoint.time_ms = wanted.time_ms;
	checkpoint.signature = result.signature;
	checkpoint.key = audit_fingerprint(result.public_key);
	stored = store_checkpoint_add(console->store, &checkpoint, result.public_key, err);
	checkpoint_result_clear(&result);
	return stored;
}

bool checkpoint_make(struct console *console, struct err *err)
{
	char *path = mem_format("%s/" LOCK_FILE, console->state);
	int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool made;

	if (lock < 0)
		err_errno(err, "%s", path);
	free(path);
	if (lock < 0)
		return false;
	made = flock(lock, LOCK_EX | LOCK_NB) == 0 ? make(console, err) : errno == EWOULDBLOCK;
	close(lock);
	return made;
}

static bool is_due(const struct console *console, const struct audit_unsigned *since)
{
	if (since->rows >= CHECKPOINT_ROWS)
		return true;
	if (since->changes == 0)
		return false;
	return console->interactive || console->committed || clock_wall_ms() - since->last_ms >= CHECKPOINT_SCRIPT_MS;
}

void checkpoint_at_logout(struct console *console)
{
	struct audit_unsigned since;

	if (store_audit_unsigned(console->store, &since, NULL) && is_due(console, &since))
		(void)!checkpoint_make(console, NULL);
}
