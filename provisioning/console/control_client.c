#include "provisioning/console/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"

/* A state directory with a long name does not fit sun_path: the socket is then reached through a descriptor of it. */
static bool socket_address(const char *state, struct sockaddr_un *address, int *directory, struct err *err)
{
	int len;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	*directory = -1;
	len = snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", state, CONTROL_SOCKET);
	if (len > 0 && (size_t)len < sizeof address->sun_path)
		return true;
	*directory = open(state, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*directory < 0)
		return err_errno(err, "%s", state);
	snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", *directory, CONTROL_SOCKET);
	return true;
}

static bool connect_socket(const char *state, int *fd, struct err *err)
{
	struct sockaddr_un address;
	int directory, connected;

	if (!socket_address(state, &address, &directory, err))
		return false;
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connected = *fd < 0 ? -1 : connect(*fd, (struct sockaddr *)&address, sizeof address);
	if (directory >= 0)
		close(directory);
	if (connected == 0)
		return true;
	if (*fd >= 0 && (errno == ENOENT || errno == ECONNREFUSED))
		err_set(err, ERR_UNAVAILABLE, "inkand is not running (nobody answers at %s/%s)", state, CONTROL_SOCKET);
	else
		err_errno(err, "%s/%s", state, CONTROL_SOCKET);
	if (*fd >= 0)
		close(*fd);
	return false;
}

static bool read_error(struct msg *msg, struct err *err)
{
	enum err_code code = (enum err_code)msg_get_u8(msg);
	char *text = msg_get_text(msg);

	if (msg_end(msg, "answer of inkand", err))
		err_set(err, code == ERR_NONE ? ERR_INTERNAL : code, "%s", text);
	free(text);
	return false;
}

/* One request and its answer; *reply (may be NULL) takes the payload of OK. */
static bool call(struct control_client *client, enum control_frame frame, struct bytes payload, int timeout_ms, struct buf *reply,
		 int *fd, struct err *err)
{
	int64_t deadline_ms =
	    clock_monotonic_ms() + (client->most_ms > 0 && client->most_ms < timeout_ms ? client->most_ms : timeout_ms);
	struct buf answer = {0};
	uint16_t type = 0;
	bool fine;

	if (!frame_send(client->fd, (uint16_t)frame, payload, -1, deadline_ms, err) ||
	    !frame_receive(client->fd, &type, &answer, fd, deadline_ms, err)) {
		buf_wipe_clear(&answer);
		return err_prefix(err, "inkand");
	}
	fine = type == CONTROL_OK;
	if (!fine) {
		struct msg msg = msg_of(buf_bytes(&answer));

		fine = type == CONTROL_ERROR ? read_error(&msg, err)
					     : err_set(err, ERR_INVALID, "inkand answered with frame %u", type);
		if (fd != NULL && *fd >= 0)
			close(*fd);
	} else if (reply != NULL) {
		buf_put_bytes(reply, buf_bytes(&answer));
	}
	buf_wipe_clear(&answer);
	return fine;
}

bool control_open(struct control_client *client, const char *state, struct err *err)
{
	return control_open_within(client, state, 0, err);
}

bool control_open_within(struct control_client *client, const char *state, int most_ms, struct err *err)
{
	struct control_client opened = {.most_ms = most_ms};
	struct buf version = {0};
	bool fine;

	if (!connect_socket(state, &opened.fd, err))
		return false;
	msg_put_u32(&version, CONTROL_VERSION);
	fine = call(&opened, CONTROL_HELLO, buf_bytes(&version), CONTROL_CALL_MS, NULL, NULL, err);
	buf_clear(&version);
	if (fine)
		*client = opened;
	else
		close(opened.fd);
	return fine;
}

void control_close(struct control_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

bool control_status(struct control_client *client, struct supervisor_status *status, struct err *err)
{
	struct buf reply = {0};
	struct msg msg;
	bool fine = call(client, CONTROL_STATUS, (struct bytes){0}, CONTROL_CALL_MS, &reply, NULL, err);

	msg = msg_of(buf_bytes(&reply));
	fine = fine && supervisor_status_decode(&msg, status, err);
	buf_clear(&reply);
	return fine;
}

bool control_login(struct control_client *client, struct bytes pin, unsigned flags, struct err *err)
{
	struct buf payload = {0};
	bool fine;

	msg_put_bytes(&payload, pin);
	msg_put_u8(&payload, (uint8_t)flags);
	fine = call(client, CONTROL_LOGIN, buf_bytes(&payload), CONTROL_LOGIN_MS, NULL, NULL, err);
	buf_wipe_clear(&payload);
	return fine;
}

bool control_logout(struct control_client *client, struct err *err)
{
	return call(client, CONTROL_LOGOUT, (struct bytes){0}, CONTROL_LOGOUT_MS, NULL, NULL, err);
}

bool control_apply(struct control_client *client, uint64_t revision, bool check_only, struct err *err)
{
	struct buf payload = {0};
	bool fine;

	msg_put_u64(&payload, revision);
	msg_put_u8(&payload, check_only);
	fine = call(client, CONTROL_APPLY, buf_bytes(&payload), CONTROL_APPLY_MS, NULL, NULL, err);
	buf_clear(&payload);
	return fine;
}

bool control_provision(struct control_client *client, int *fd, struct err *err)
{
	int passed = -1;

	if (!call(client, CONTROL_PROVISION, (struct bytes){0}, CONTROL_CALL_MS, NULL, &passed, err))
		return false;
	if (passed < 0)
		return err_set(err, ERR_INTERNAL, "inkand passed no connection to the HSM program");
	*fd = passed;
	return true;
}

bool control_relay(struct control_client *client, int *fd, struct err *err)
{
	int passed = -1;

	if (!call(client, CONTROL_RELAY, (struct bytes){0}, CONTROL_CALL_MS, NULL, &passed, err))
		return false;
	if (passed < 0)
		return err_set(err, ERR_INTERNAL, "inkand passed no connection to the relay");
	*fd = passed;
	return true;
}
