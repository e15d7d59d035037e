/*
 * What goes with inkand when it executes itself anew (an upgrade): the listening sockets, which keep the connections that come
 * meanwhile, and an operator's PIN, which nobody could type. Both by a pipe whose descriptor the environment names: its octets
 * are in no file, and the new program takes the variable away at once. Loop's thread.
 */
#ifndef INKAN_SUPERVISOR_HANDOVER_H
#define INKAN_SUPERVISOR_HANDOVER_H

#include "appliance/supervisor/listeners.h"
#include "appliance/supervisor/pin.h"

#define HANDOVER_VARIABLE "INKAND_HANDOVER"
#define HANDOVER_MAX_BYTES 65536 /* what a pipe holds */

/* Writes it; the descriptor that it returns and those of the sockets then outlive an exec. -1 with *err. */
int handover_write(const struct listeners *listeners, const struct pin *pin, struct err *err) MUST_USE;

/* Closes the descriptor; the sockets close at an exec again. For when that has failed. */
void handover_abandon(const struct listeners *listeners, int fd);

/* Reads it. Sockets and PIN are the caller's; without a PIN *secret is NULL. Closes the descriptor. */
bool handover_read(int fd, struct listeners *listeners, struct secret **secret, struct err *err) MUST_USE;

#endif
