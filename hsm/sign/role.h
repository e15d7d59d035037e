/*
 * The role `sign` of inkan-hsm: one worker, with its orders on CHILD_CONTROL_FD (hsm/protocol/worker.h) and the relay's
 * requests on the connection that inkand passes (hsm/protocol/sign.h).
 */
#ifndef INKAN_HSM_SIGN_ROLE_H
#define INKAN_HSM_SIGN_ROLE_H

/* Leaves the process by _exit with a code of enum worker_exit; a module may crash in its own exit handlers. */
int sign_role(void);

#endif
