#include "appliance/base/channel.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/frame_wire.h"

#define CHANNEL_READ_BYTES 65536

/* A descriptor to pass, and how many octets of `out` are in front of its frame. */
struct outgoing_fd {
	int fd;
	size_t at;
};

struct channel {
	int fd;
	struct event *readable;
	struct event *writable;
	channel_message_cb *message;
	channel_closed_cb *closed;
	void *arg;
	struct buf in;
	struct frame_fds in_fds;
	struct buf out;
	struct outgoing_fd *out_fds;
	size_t n_out_fds;
	bool broken;
	bool dispatching;
	bool freed; /* channel_free was called from within a callback */
};

static void channel_destroy(struct channel *channel)
{
	event_free(channel->readable);
	event_free(channel->writable);
	close(channel->fd);
	for (size_t i = 0; i < channel->n_out_fds; i++)
		close(channel->out_fds[i].fd);
	free(channel->out_fds);
	frame_fds_close(&channel->in_fds);
	buf_wipe_clear(&channel->in);
	buf_wipe_clear(&channel->out);
	free(channel);
}

/* The caller returns to the loop at once: the channel may be gone. */
static void channel_break(struct channel *channel, const struct err *why)
{
	if (channel->broken)
		return;
	channel->broken = true;
	event_del(channel->readable);
	event_del(channel->writable);
	channel->closed(channel, why, channel->arg);
}

static size_t first_write_len(const struct channel *channel)
{
	if (channel->n_out_fds == 0)
		return channel->out.len;
	if (channel->out_fds[0].at > 0)
		return channel->out_fds[0].at; /* up to the frame that carries a descriptor */
	return channel->n_out_fds > 1 ? channel->out_fds[1].at : channel->out.len;
}

static void wrote(struct channel *channel, size_t len, bool passed)
{
	mem_wipe(channel->out.data, len);
	buf_consume(&channel->out, len);
	if (passed) {
		close(channel->out_fds[0].fd);
		channel->n_out_fds--;
		memmove(channel->out_fds, channel->out_fds + 1, channel->n_out_fds * sizeof *channel->out_fds);
	}
	for (size_t i = 0; i < channel->n_out_fds; i++)
		channel->out_fds[i].at -= len;
}

/* False when the socket is broken. */
static bool flush_output(struct channel *channel)
{
	while (channel->out.len > 0) {
		bool passing = channel->n_out_fds > 0 && channel->out_fds[0].at == 0;
		ssize_t n = frame_sendmsg(channel->fd, channel->out.data, first_write_len(channel),
					  passing ? channel->out_fds[0].fd : -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		wrote(channel, (size_t)n, passing);
	}
	return true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;
	struct err why;

	(void)fd;
	(void)what;
	if (!flush_output(channel)) {
		err_errno(&why, "write to a channel");
		channel_break(channel, &why);
	} else if (channel->out.len > 0) {
		event_add(channel->writable, NULL);
	}
}

/* Dispatches one whole frame if there is one. False: nothing more to do now, or the channel has broken. */
static bool dispatch_one(struct channel *channel, size_t *at)
{
	struct frame_header header;
	struct msg msg;
	struct err why;
	int fd;

	if (channel->freed || channel->broken || channel->in.len - *at < FRAME_HEADER_BYTES)
		return false;
	if (!frame_header_decode(channel->in.data + *at, &header, &why)) {
		channel_break(channel, &why);
		return false;
	}
	if (channel->in.len - *at < FRAME_HEADER_BYTES + header.length)
		return false;
	fd = header.has_fd ? frame_fds_take(&channel->in_fds) : -1;
	if (header.has_fd && fd < 0) {
		err_set(&why, ERR_INVALID, "frame without its file descriptor");
		channel_break(channel, &why);
		return false;
	}
	msg = msg_of(bytes_of(channel->in.data + *at + FRAME_HEADER_BYTES, header.length));
	channel->message(channel, header.type, &msg, fd, channel->arg);
	mem_wipe(channel->in.data + *at, FRAME_HEADER_BYTES + header.length);
	*at += FRAME_HEADER_BYTES + header.length;
	return true;
}

static void dispatch_all(struct channel *channel)
{
	size_t at = 0;

	while (dispatch_one(channel, &at))
		;
	buf_consume(&channel->in, at);
}

static void read_input(struct channel *channel)
{
	struct err why;
	ssize_t n;

	buf_reserve(&channel->in, CHANNEL_READ_BYTES);
	n = frame_recvmsg(channel->fd, channel->in.data + channel->in.len, CHANNEL_READ_BYTES, &channel->in_fds);
	if (n > 0) {
		channel->in.len += (size_t)n;
		dispatch_all(channel);
	} else if (n == 0) {
		err_set(&why, ERR_UNAVAILABLE, "the other side closed the channel");
		channel_break(channel, &why);
	} else if (errno != EAGAIN && errno != EINTR) {
		err_errno(&why, "read from a channel");
		channel_break(channel, &why);
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;

	(void)fd;
	(void)what;
	channel->dispatching = true;
	read_input(channel);
	channel->dispatching = false;
	if (channel->freed)
		channel_destroy(channel);
}

struct channel *channel_new(struct event_base *base, int fd, channel_message_cb *message, channel_closed_cb *closed, void *arg)
{
	struct channel *channel = mem_new(sizeof *channel);

	evutil_make_socket_nonblocking(fd);
	channel->fd = fd;
	channel->message = message;
	channel->closed = closed;
	channel->arg = arg;
	channel->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, channel);
	channel->writable = event_new(base, fd, EV_WRITE, on_writable, channel);
	event_add(channel->readable, NULL);
	return channel;
}

/* Written when the loop turns: frames that are sent in one turn share a system call. */
void channel_send(struct channel *channel, uint16_t type, struct bytes payload, int pass_fd)
{
	struct frame_header header = {.length = (uint32_t)payload.len, .type = type, .has_fd = pass_fd >= 0};
	uint8_t encoded[FRAME_HEADER_BYTES];

	if (channel->broken || channel->freed) {
		if (pass_fd >= 0)
			close(pass_fd);
		return;
	}
	if (pass_fd >= 0) {
		channel->out_fds = mem_resize(channel->out_fds, channel->n_out_fds + 1, sizeof *channel->out_fds);
		channel->out_fds[channel->n_out_fds++] = (struct outgoing_fd){.fd = pass_fd, .at = channel->out.len};
	}
	frame_header_encode(encoded, &header);
	buf_put(&channel->out, encoded, sizeof encoded);
	buf_put_bytes(&channel->out, payload);
	event_add(channel->writable, NULL);
}

size_t channel_pending(const struct channel *channel)
{
	return channel->out.len;
}

void channel_free(struct channel *channel)
{
	if (channel == NULL)
		return;
	if (channel->dispatching) {
		channel->freed = true;
		event_del(channel->readable);
		event_del(channel->writable);
		return;
	}
	channel_destroy(channel);
}
