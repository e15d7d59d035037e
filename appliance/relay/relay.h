/*
 * inkan-relay: the process that takes mail in, decides, has it signed, keeps it and delivers it. One event loop; what
 * may block runs on the threads of queue/ and of the pool. inkand is at the other end of CHILD_CONTROL_FD
 * (appliance/base/control.h): it brings listening sockets, the configuration and connections to HSM workers.
 */
#ifndef INKAN_RELAY_RELAY_H
#define INKAN_RELAY_RELAY_H

#include "appliance/base/err.h"

#define RELAY_STOP_GRACE_MS 8000 /* for sessions in DATA and deliveries under way */
#define RELAY_HELD_UP_MS 15 /* of the event loop, as its gauge shows at least any hold-up of 20 ms; logged */
#define RELAY_POOL_THREADS 2 /* re-encoding, password hashes, maildir files */

/* Runs until told to stop; the process' exit status. */
int relay_run(const char *state_directory);

#endif
