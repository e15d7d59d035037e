/*
 * The tasks of the role "provision" (hsm/protocol/provision.h), one function each: read the frame's payload, do it, append
 * the RESULT's payload. For role.c and its tests.
 */
#ifndef INKAN_HSM_PROVISION_TASKS_H
#define INKAN_HSM_PROVISION_TASKS_H

#include "appliance/base/msg.h"
#include "hsm/provision/connection.h"

struct provision {
	const struct hsm_settings *settings;
	const struct secret *pin; /* NULL: none */
	struct connection connection;
	void (*progress)(const char *text, void *arg); /* tells the operator; NULL: nobody */
	void *arg;
	void (*login_is_past)(void); /* tells inkand; NULL: nobody */
	struct bytes undo; /* key id of what a task makes and the console must hear of: destroyed when it does not; owned */
	bool left; /* that failed: something may be left on the token */
};

void provision_say(const struct provision *provision, const char *text);

bool task_describe(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_initialize(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_import(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_request(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_install(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_delete(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_sweep(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_test(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_benchmark(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_seal(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_checkpoint(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;
bool task_unseal(struct provision *provision, struct msg *msg, struct buf *result, struct err *err) MUST_USE;

/* The audit key of the token, made when there is none. generated_key_clear it; its type and attributes are set when *made. */
struct generated_key;
bool audit_key_prepare(const struct session *session, struct generated_key *key, bool *made, struct err *err) MUST_USE;

/* `undo` names the key id from now on. ERR_EXISTS: the token holds such a key already, which is not this task's. */
bool provision_claim(struct provision *provision, struct bytes key_id, struct err *err) MUST_USE;
void provision_undo(struct provision *provision); /* destroys what `undo` names */
void provision_keep(struct provision *provision); /* forgets it */

#endif
