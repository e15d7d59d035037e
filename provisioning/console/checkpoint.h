/* Checkpoints of the audit: the token signs how long the chain is and how it ends. */
#ifndef INKAN_CONSOLE_CHECKPOINT_H
#define INKAN_CONSOLE_CHECKPOINT_H

#include "provisioning/console/console.h"

#define CHECKPOINT_ROWS 100 /* unsigned ones, then any login makes one when it ends */
#define CHECKPOINT_SCRIPT_MS 60000 /* scripts come often: one a minute is enough, but for a commit */
#define CHECKPOINT_TASK_MS 10000

/* ERR_UNAVAILABLE: the token does not sign now; a later one covers the same rows. Another console that makes one is as good. */
bool checkpoint_make(struct console *console, struct err *err) MUST_USE;

/* At the end of a login: when something has changed since the last one. Silent: what cannot be signed now is signed later. */
void checkpoint_at_logout(struct console *console);

#endif
