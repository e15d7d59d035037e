/* The octets of a frame, for frame.c and channel.c alone. The layout is in frame.h. */
#ifndef INKAN_BASE_FRAME_WIRE_H
#define INKAN_BASE_FRAME_WIRE_H

#include "appliance/base/frame.h"

struct frame_header {
	uint32_t length;
	uint16_t type;
	bool has_fd;
};

/* Descriptors that have arrived and wait for their frame, in order. */
struct frame_fds {
	int fd[FRAME_FDS_WAITING_MAX];
	size_t count;
};

void frame_header_encode(uint8_t out[static FRAME_HEADER_BYTES], const struct frame_header *header);
bool frame_header_decode(const uint8_t in[static FRAME_HEADER_BYTES], struct frame_header *header, struct err *err) MUST_USE;

/* One non-blocking sendmsg/recvmsg; the result and errno are the system call's. */
ssize_t frame_sendmsg(int fd, const void *data, size_t len, int pass_fd);
ssize_t frame_recvmsg(int fd, void *data, size_t len, struct frame_fds *fds);

int frame_fds_take(struct frame_fds *fds); /* -1 when none waits */
void frame_fds_close(struct frame_fds *fds);

#endif
