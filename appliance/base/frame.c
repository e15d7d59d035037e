#include "appliance/base/frame.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame_wire.h"

void frame_header_encode(uint8_t out[static FRAME_HEADER_BYTES], const struct frame_header *header)
{
	out[0] = (uint8_t)(header->length >> 24);
	out[1] = (uint8_t)(header->length >> 16);
	out[2] = (uint8_t)(header->length >> 8);
	out[3] = (uint8_t)header->length;
	out[4] = (uint8_t)(header->type >> 8);
	out[5] = (uint8_t)header->type;
	out[6] = 0;
	out[7] = header->has_fd ? 1 : 0;
}

bool frame_header_decode(const uint8_t in[static FRAME_HEADER_BYTES], struct frame_header *header, struct err *err)
{
	uint32_t length = (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];

	if (length > FRAME_PAYLOAD_MAX_BYTES || in[6] != 0 || in[7] > 1)
		return err_set(err, ERR_INVALID, "malformed frame header");
	*header = (struct frame_header){.length = length, .type = (uint16_t)(in[4] << 8 | in[5]), .has_fd = in[7] == 1};
	return true;
}

ssize_t frame_sendmsg(int fd, const void *data, size_t len, int pass_fd)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};

	if (pass_fd >= 0) {
		struct cmsghdr *cmsg;

		header.msg_control = control.space;
		header.msg_controllen = sizeof control.space;
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &pass_fd, sizeof pass_fd);
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void collect_fds(struct msghdr *header, struct frame_fds *fds)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL; cmsg = CMSG_NXTHDR(header, cmsg)) {
		size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof fd, sizeof fd);
			if (fds->count < FRAME_FDS_WAITING_MAX)
				fds->fd[fds->count++] = fd;
			else
				close(fd);
		}
	}
}

ssize_t frame_recvmsg(int fd, void *data, size_t len, struct frame_fds *fds)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int) * 4)];
	} control;
	struct msghdr header = {
	    .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
	ssize_t got = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got >= 0)
		collect_fds(&header, fds);
	return got;
}

int frame_fds_take(struct frame_fds *fds)
{
	int fd;

	if (fds->count == 0)
		return -1;
	fd = fds->fd[0];
	fds->count--;
	memmove(fds->fd, fds->fd + 1, fds->count * sizeof *fds->fd);
	return fd;
}

void frame_fds_close(struct frame_fds *fds)
{
	while (fds->count > 0)
		close(fds->fd[--fds->count]);
}

#define INTERRUPT_LOOK_MS 500 /* a signal that comes just before a wait is seen so late */

static const volatile sig_atomic_t *interrupt_flag;

void frame_set_interrupt(const volatile sig_atomic_t *flag)
{
	interrupt_flag = flag;
}

static bool wait_for(int fd, short events, int64_t deadline_ms, struct err *err)
{
	for (;;) {
		int64_t left = deadline_ms - clock_monotonic_ms();
		struct pollfd poller = {.fd = fd, .events = events};
		int most = interrupt_flag != NULL ? INTERRUPT_LOOK_MS : 60000, ready;

		if (interrupt_flag != NULL && *interrupt_flag)
			return err_set(err, ERR_CANCELLED, "interrupted");
		if (left <= 0)
			return err_set(err, ERR_TIMEOUT, "no answer in time");
		ready = poll(&poller, 1, left > most ? most : (int)left);
		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return err_errno(err, "poll");
	}
}

static bool closed_by_peer(struct err *err)
{
	return err_set(err, ERR_UNAVAILABLE, "the other side closed the connection");
}

static bool send_all(int fd, const uint8_t *data, size_t len, int pass_fd, int64_t deadline_ms, struct err *err)
{
	size_t sent = 0;

	while (sent < len) {
		ssize_t n = frame_sendmsg(fd, data + sent, len - sent, sent == 0 ? pass_fd : -1);

		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return closed_by_peer(err);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_errno(err, "sendmsg");
		if (!wait_for(fd, POLLOUT, deadline_ms, err))
			return false;
	}
	return true;
}

bool frame_send(int fd, uint16_t type, struct bytes payload, int pass_fd, int64_t deadline_ms, struct err *err)
{
	struct frame_header header = {.length = (uint32_t)payload.len, .type = type, .has_fd = pass_fd >= 0};
	struct buf out = {0};
	uint8_t encoded[FRAME_HEADER_BYTES];
	bool sent;

	if (payload.len > FRAME_PAYLOAD_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "message of %zu bytes is too large", payload.len);
	frame_header_encode(encoded, &header);
	buf_put(&out, encoded, sizeof encoded);
	buf_put_bytes(&out, payload);
	sent = send_all(fd, out.data, out.len, pass_fd, deadline_ms, err);
	buf_wipe_clear(&out);
	return sent;
}

static bool receive_all(int fd, uint8_t *data, size_t len, struct frame_fds *fds, int64_t deadline_ms, struct err *err)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = frame_recvmsg(fd, data + got, len - got, fds);

		if (n > 0) {
			got += (size_t)n;
			continue;
		}
		if (n == 0 || errno == ECONNRESET)
			return closed_by_peer(err);
		if (errno != EAGAIN && errno != EINTR)
			return err_errno(err, "recvmsg");
		if (!wait_for(fd, POLLIN, deadline_ms, err))
			return false;
	}
	return true;
}

static bool receive_frame(int fd, struct frame_header *header, struct buf *payload, struct frame_fds *fds, int64_t deadline_ms,
			  struct err *err)
{
	uint8_t encoded[FRAME_HEADER_BYTES];

	if (!receive_all(fd, encoded, sizeof encoded, fds, deadline_ms, err) || !frame_header_decode(encoded, header, err))
		return false;
	buf_reserve(payload, header->length);
	if (!receive_all(fd, payload->data, header->length, fds, deadline_ms, err))
		return false;
	payload->len = header->length;
	if (header->has_fd && fds->count == 0)
		return err_set(err, ERR_INVALID, "frame without its file descriptor");
	return true;
}

bool frame_receive(int fd, uint16_t *type, struct buf *payload, int *passed_fd, int64_t deadline_ms, struct err *err)
{
	struct frame_header header;
	struct frame_fds fds = {0};

	if (!receive_frame(fd, &header, payload, &fds, deadline_ms, err)) {
		frame_fds_close(&fds);
		return false;
	}
	*type = header.type;
	if (passed_fd != NULL)
		*passed_fd = header.has_fd ? frame_fds_take(&fds) : -1;
	frame_fds_close(&fds);
	return true;
}

bool frame_socketpair(int fds[static 2], bool nonblocking, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0, pair) != 0)
		return err_errno(err, "socketpair");
	fds[0] = pair[0];
	fds[1] = pair[1];
	return true;
}
