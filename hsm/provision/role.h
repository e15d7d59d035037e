/* The role "provision" of inkan-hsm: one task of the console's, then the end. */
#ifndef INKAN_HSM_PROVISION_ROLE_H
#define INKAN_HSM_PROVISION_ROLE_H

#define PROVISION_START_WAIT_MS 30000 /* for inkand's START */
#define PROVISION_TASK_WAIT_MS 120000 /* for the console's task */
#define PROVISION_SEND_WAIT_MS 30000 /* for the console to take a frame */
#define PROVISION_TASK_MAX_SECONDS 600 /* of one task; then SIGALRM ends the process, whatever the module does */

/*
 * Reads START from CHILD_CONTROL_FD, does one task on the connection that came with it, wipes, and leaves by _exit
 * with a code of enum worker_exit: never returns. Before the first thread and after log_open.
 */
int provision_role(void);

#endif
