#include "appliance/supervisor/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "appliance/base/msg.h"

static bool set_close_on_exec(const struct listeners *listeners, int fd, bool close_on_exec)
{
	int flags = close_on_exec ? FD_CLOEXEC : 0;
	bool set = fcntl(fd, F_SETFD, flags) == 0;

	for (size_t i = 0; i < listeners->count; i++)
		set = fcntl(listeners->items[i].fd, F_SETFD, flags) == 0 && set;
	return set;
}

/* One that was typed: a PIN file is read again, and a PIN entered at the token is not here. */
static struct bytes typed_pin(const struct pin *pin)
{
	return pin->state == PIN_HELD && pin->file == NULL && pin->secret != NULL ? secret_bytes(pin->secret) : (struct bytes){0};
}

static void encode(struct buf *out, const struct listeners *listeners, const struct pin *pin)
{
	buf_reserve(out, HANDOVER_MAX_BYTES); /* never moved, so that no copy of the PIN is left behind */
	msg_put_bytes(out, typed_pin(pin));
	msg_put_u32(out, (uint32_t)listeners->count);
	for (size_t i = 0; i < listeners->count; i++) {
		msg_put_text(out, listeners->items[i].address);
		msg_put_u32(out, (uint32_t)listeners->items[i].fd);
	}
}

static bool write_all(int fd, struct bytes octets, struct err *err)
{
	if (octets.len > HANDOVER_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "too many listening sockets to hand over");
	return write(fd, octets.data, octets.len) == (ssize_t)octets.len || err_errno(err, "write what is handed over");
}

int handover_write(const struct listeners *listeners, const struct pin *pin, struct err *err)
{
	struct buf octets = {0};
	int ends[2];
	bool written;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
		err_errno(err, "pipe");
		return -1;
	}
	encode(&octets, listeners, pin);
	written = write_all(ends[1], buf_bytes(&octets), err);
	buf_wipe_clear(&octets);
	close(ends[1]);
	if (written && !set_close_on_exec(listeners, ends[0], false))
		written = err_errno(err, "keep the sockets open");
	if (written)
		return ends[0];
	handover_abandon(listeners, ends[0]);
	return -1;
}

void handover_abandon(const struct listeners *listeners, int fd)
{
	(void)set_close_on_exec(listeners, fd, true);
	close(fd);
}

static bool listens(int fd)
{
	int value = 0;
	socklen_t len = sizeof value;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len) == 0 && value != 0;
}

static bool read_listeners(struct msg *msg, struct listeners *listeners, struct err *err)
{
	uint32_t count = msg_get_count(msg, 2 * sizeof(uint32_t));

	listeners->items = mem_new_array(count, sizeof *listeners->items);
	for (uint32_t i = 0; i < count && !msg->bad; i++) {
		struct listener listener = {.address = msg_get_text(msg), .fd = (int)msg_get_u32(msg)};

		if (msg->bad || !listens(listener.fd)) {
			free(listener.address);
			return err_set(err, ERR_INVALID, "what was handed over names no listening socket");
		}
		listeners->items[listeners->count++] = listener;
	}
	return msg_end(msg, "handover", err);
}

static bool decode(struct bytes octets, struct listeners *listeners, struct secret **secret, struct err *err)
{
	struct msg msg = msg_of(octets);
	struct bytes pin = msg_get_bytes(&msg);

	if (!read_listeners(&msg, listeners, err))
		return false;
	*secret = pin.len == 0 ? NULL : secret_new(pin, err);
	return pin.len == 0 || *secret != NULL;
}

bool handover_read(int fd, struct listeners *listeners, struct secret **secret, struct err *err)
{
	struct buf octets = {0};
	uint8_t *room;
	ssize_t got;
	bool fine;

	*listeners = (struct listeners){0};
	*secret = NULL;
	buf_reserve(&octets, HANDOVER_MAX_BYTES);
	room = octets.data;
	got = read(fd, room, HANDOVER_MAX_BYTES);
	octets.len = got < 0 ? 0 : (size_t)got;
	fine = got < 0 ? err_errno(err, "read what was handed over") : decode(buf_bytes(&octets), listeners, secret, err);
	buf_wipe_clear(&octets);
	if (!set_close_on_exec(listeners, fd, true) && fine)
		fine = err_errno(err, "close the sockets at the next exec");
	close(fd);
	if (!fine)
		listeners_clear(listeners);
	return fine;
}
