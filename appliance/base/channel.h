/*
 * A channel: frames (frame.h) on a libevent loop. All calls and callbacks on the loop's thread; nothing blocks.
 * A message callback may send and may free the channel it was called for.
 */
#ifndef INKAN_BASE_CHANNEL_H
#define INKAN_BASE_CHANNEL_H

#include "appliance/base/frame.h"
#include "appliance/base/msg.h"

struct channel;
struct event_base;

/* The other side sent a frame. `fd` is -1 or a descriptor that the callback now owns. `msg` is valid until return. */
typedef void channel_message_cb(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg);

/* The other side closed or broke the protocol; `why` says which. Called once, never from within channel_send. */
typedef void channel_closed_cb(struct channel *channel, const struct err *why, void *arg);

/* Takes ownership of `fd` (made non-blocking). */
struct channel *channel_new(struct event_base *base, int fd, channel_message_cb *message, channel_closed_cb *closed, void *arg);

/* Queues one frame. pass_fd is -1 or a descriptor whose ownership goes to the channel. After the close the frame is dropped. */
void channel_send(struct channel *channel, uint16_t type, struct bytes payload, int pass_fd);

size_t channel_pending(const struct channel *channel); /* octets not yet written: for back-pressure */
void channel_free(struct channel *channel); /* closes; no callback follows; NULL is fine */

#endif
