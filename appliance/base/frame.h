/*
 * Frames: how messages and file descriptors travel over a UNIX stream socket between our processes.
 *
 *     u32 length of the payload | u16 type | u16 flags (bit 0: one file descriptor goes with it) | payload
 *
 * The header is big-endian, the payload is written and read with msg.h. A descriptor is sent with the first octet of its frame;
 * the order of frames is the order of descriptors. Two forms: `struct channel` for programs with an event loop, and
 * blocking calls with a deadline for those without one (the console, the HSM program). Payloads are wiped after use,
 * since a PIN may be in one.
 */
#ifndef INKAN_BASE_FRAME_H
#define INKAN_BASE_FRAME_H

#include <signal.h>

#include "appliance/base/bytes.h"

#define FRAME_HEADER_BYTES 8
#define FRAME_PAYLOAD_MAX_BYTES (64u << 20) /* a snapshot with thousands of certificates fits */
#define FRAME_FDS_WAITING_MAX 64 /* descriptors received ahead of their frames */

/*
 * Blocking send and receive of one frame; `fd` is the socket, blocking or not, and every wait ends at `deadline_ms`
 * (clock_monotonic_ms). pass_fd is -1 or a descriptor to send along; it stays the caller's.
 * Errors: ERR_TIMEOUT, ERR_UNAVAILABLE when the other side has closed, ERR_INVALID for a frame over the limit.
 */
/*
 * What ends the two calls below early, with ERR_CANCELLED: a flag that a signal handler sets. NULL (the start): nothing does.
 * For programs of one thread.
 */
void frame_set_interrupt(const volatile sig_atomic_t *flag);

bool frame_send(int fd, uint16_t type, struct bytes payload, int pass_fd, int64_t deadline_ms, struct err *err) MUST_USE;

/*
 * Fills *payload (appended to an empty buffer, the caller wipes and clears it) and *type. *passed_fd is -1 or a new
 * close-on-exec descriptor that the caller owns; with passed_fd NULL a descriptor is closed. Reads exactly one frame.
 */
bool frame_receive(int fd, uint16_t *type, struct buf *payload, int *passed_fd, int64_t deadline_ms, struct err *err) MUST_USE;

/* A connected pair of close-on-exec stream sockets, non-blocking when `nonblocking`. */
bool frame_socketpair(int fds[static 2], bool nonblocking, struct err *err) MUST_USE;

#endif
