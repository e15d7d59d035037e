/*
 * Keys on their way to the token, so that none is left there without anybody who knows it. A row in inkan.db names the
 * CKA_ID before the key can exist; it goes in the transaction that names the key for good (a certificate, a request).
 * A lock on STATE/keys.lock is shared by all who make a key and by the HSM programs that work for them, and ends with the
 * last of them however they end. Who has it alone knows that every row left is of a making that was broken off.
 */
#ifndef INKAN_CONSOLE_KEY_MAKING_H
#define INKAN_CONSOLE_KEY_MAKING_H

#include "provisioning/console/task.h"

#define KEYS_LOCK "keys.lock"
#define KEYS_LOCK_WAIT_MS 30000 /* for a sweep to end */

struct key_making {
	uint8_t id[PROVISION_KEY_ID_BYTES]; /* the CKA_ID to be */
	int lock;
	bool clean; /* the task has failed and left nothing */
};

/* Sweeps first. Signals wait from here to key_making_end. */
bool key_making_begin(struct console *console, struct key_making *making, struct err *err) MUST_USE;

/* A task that holds the lock as well and reports to `making`. */
bool key_making_task(struct console *console, struct key_making *making, struct task *task, struct err *err) MUST_USE;

/* `named`: a certificate or a request names the key. Else the row stays for the sweep, unless the task failed cleanly. */
void key_making_end(struct console *console, struct key_making *making, bool named);

/* Destroys a key that was made and cannot be named; *why tells when that fails, too. */
void key_making_take_back(struct console *console, struct key_making *making, struct err *why);

/*
 * Removes from the token what broken-off makings left there; each leaves an audit row. Nothing is done while somebody makes
 * a key, or while the token cannot be reached: then the rows wait.
 */
void keys_sweep(struct console *console);

#endif
