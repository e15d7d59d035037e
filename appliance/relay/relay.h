/*
 * inkan-relay: the process that takes mail in, decides, has it signed, keeps it and delivers it. One event loop; what
 * may block runs on the threads of queue/ and of the pool. inkand is at the other end of CHILD_CONTROL_FD
 * (appliance/base/control.h): it brings listening sockets, the configuration and connections to HSM workers.
 */
#ifndef INKAN_RELAY_RELAY_H
#define INKAN_RELAY_RELAY_H

#include "appliance/base/err.h"

#define RELAY_STOP_GRACE_MS 10000 /* until the end, if nobody says otherwise: sessions in DATA have what the next two leave */
#define RELAY_STOP_DELIVERY_MS 4000 /* of it for deliveries under way, */
#define RELAY_STOP_DELIVERY_MAX_MS 8000 /* or so much where sessions did not need their share */
#define RELAY_STOP_CLOSE_MS 2000 /* of it for the store */
#define RELAY_HELD_UP_MS 15 /* of the event loop, as its gauge shows at least any hold-up of 20 ms; logged */
#define RELAY_POOL_THREADS 2 /* re-encoding, password hashes, maildir files */

/* Runs until told to stop; the process' exit status. */
int relay_run(const char *state_directory);

#endif
