#include "appliance/supervisor/control_socket.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "appliance/base/control.h"
#include "appliance/base/log.h"
#include "appliance/supervisor/supervisor_private.h"

#define SOCKET_NAME "control.sock"

/* A connection. It outlives its socket while a request of it is under way. */
struct console {
	struct supervisor *supervisor;
	struct channel *channel; /* NULL: the console is gone */
	bool greeted;
	bool busy; /* a request is to be answered */
};

/* ---- answers ---- */

static void drop(struct console *console)
{
	struct control *control = &console->supervisor->control;

	for (size_t i = 0; i < control->count; i++) {
		if (control->consoles[i] == console) {
			control->consoles[i] = control->consoles[--control->count];
			break;
		}
	}
	channel_free(console->channel);
	free(console);
}

static void send_ok(struct console *console, struct bytes payload, int fd)
{
	channel_send(console->channel, CONTROL_OK, payload, fd);
}

static void send_error(struct console *console, const struct err *err)
{
	struct buf payload = {0};

	msg_put_u8(&payload, (uint8_t)err->code);
	msg_put_text(&payload, err->text);
	channel_send(console->channel, CONTROL_ERROR, buf_bytes(&payload), -1);
	buf_clear(&payload);
}

static void on_request_done(void *arg, const struct err *failed, int fd)
{
	struct console *console = arg;

	console->busy = false;
	if (console->channel == NULL) {
		if (fd >= 0)
			close(fd);
		drop(console);
	} else if (failed != NULL) {
		send_error(console, failed);
	} else {
		send_ok(console, (struct bytes){0}, fd);
	}
}

static struct request request_of(struct console *console)
{
	console->busy = true;
	return (struct request){.done = on_request_done, .arg = console};
}

/* ---- requests ---- */

static void on_hello(struct console *console, struct msg *msg)
{
	uint32_t version = msg_get_u32(msg);
	struct err err;

	if (msg_end(msg, "greeting", &err) && version == CONTROL_VERSION) {
		console->greeted = true;
		send_ok(console, (struct bytes){0}, -1);
		return;
	}
	err_set(&err, ERR_INVALID, "inkand speaks version %u of the control protocol, the console version %u: restart inkand",
		CONTROL_VERSION, version);
	send_error(console, &err);
}

static void on_status(struct console *console, struct msg *msg)
{
	struct supervisor_status status;
	struct buf payload = {0};

	(void)msg;
	supervisor_status_fill(console->supervisor, &status);
	supervisor_status_encode(&payload, &status);
	supervisor_status_clear(&status);
	send_ok(console, buf_bytes(&payload), -1);
	buf_clear(&payload);
}

static void on_login(struct console *console, struct msg *msg)
{
	struct bytes pin = msg_get_bytes(msg);
	unsigned flags = msg_get_u8(msg);
	struct request request;
	struct secret *secret;
	struct err err;

	secret = msg_end(msg, "login", &err) ? secret_new(pin, &err) : NULL;
	if (secret == NULL) {
		send_error(console, &err);
		return;
	}
	request = request_of(console);
	login_begin(console->supervisor, secret, flags, &request);
}

static void on_logout(struct console *console, struct msg *msg)
{
	struct request request = request_of(console);

	(void)msg;
	login_out(console->supervisor, &request);
}

static void on_apply(struct console *console, struct msg *msg)
{
	uint64_t revision = msg_get_u64(msg);
	bool check = msg_get_u8(msg) != 0;
	struct request request;
	struct err err;

	if (!msg_end(msg, "apply request", &err)) {
		send_error(console, &err);
		return;
	}
	request = request_of(console);
	apply_begin(console->supervisor, revision, check, &request);
}

static void on_provision(struct console *console, struct msg *msg)
{
	struct request request = request_of(console);

	(void)msg;
	tasks_begin(console->supervisor, &request);
}

static void on_stop(struct console *console, struct msg *msg)
{
	(void)msg;
	log_info("stop.asked", LOG_TEXT("by", "console"));
	send_ok(console, (struct bytes){0}, -1);
	supervisor_stop(console->supervisor);
}

static void on_relay(struct console *console, struct msg *msg)
{
	struct err err;
	int pair[2];

	(void)msg;
	if (!frame_socketpair(pair, false, &err)) {
		send_error(console, &err);
		return;
	}
	if (relay_send_console(console->supervisor, pair[0], &err)) {
		send_ok(console, (struct bytes){0}, pair[1]);
		return;
	}
	close(pair[1]);
	send_error(console, &err);
}

static const struct control_handler {
	enum control_frame type;
	void (*handle)(struct console *console, struct msg *msg);
} handlers[] = {
    {CONTROL_HELLO, on_hello}, {CONTROL_STATUS, on_status},	  {CONTROL_LOGIN, on_login}, {CONTROL_LOGOUT, on_logout},
    {CONTROL_APPLY, on_apply}, {CONTROL_PROVISION, on_provision}, {CONTROL_STOP, on_stop},   {CONTROL_RELAY, on_relay},
};

static const struct control_handler *find_handler(uint16_t type)
{
	for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
		if (handlers[i].type == type)
			return &handlers[i];
	return NULL;
}

static bool check_order(const struct console *console, const struct control_handler *handler, struct err *err)
{
	if (handler == NULL)
		return err_set(err, ERR_INVALID, "unknown request");
	if (!console->greeted && handler->type != CONTROL_HELLO)
		return err_set(err, ERR_INVALID, "the console did not say its version");
	if (console->busy)
		return err_set(err, ERR_UNAVAILABLE, "one request at a time");
	return true;
}

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	const struct control_handler *handler = find_handler(type);
	struct console *console = arg;
	struct err err;

	(void)channel;
	if (fd >= 0)
		close(fd);
	if (check_order(console, handler, &err))
		handler->handle(console, msg);
	else
		send_error(console, &err);
}

static void on_closed(struct channel *channel, const struct err *why, void *arg)
{
	struct console *console = arg;

	(void)why;
	if (!console->busy) {
		drop(console);
		return;
	}
	channel_free(channel);
	console->channel = NULL;
}

/* ---- connections ---- */

static bool peer_may(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	log_warning("control.denied", LOG_NUMBER("user", peer.uid), LOG_NUMBER("pid", peer.pid));
	return false;
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int len, void *arg)
{
	struct supervisor *supervisor = arg;
	struct control *control = &supervisor->control;
	struct console *console;

	(void)listener;
	(void)peer;
	(void)len;
	if (control->count >= CONTROL_CONSOLES_MAX || !peer_may(fd)) {
		close(fd);
		return;
	}
	console = mem_new(sizeof *console);
	console->supervisor = supervisor;
	console->channel = channel_new(supervisor->base, fd, on_message, on_closed, console);
	control->consoles = mem_resize(control->consoles, control->count + 1, sizeof *control->consoles);
	control->consoles[control->count++] = console;
}

/*
 * By way of a descriptor of the directory, since the name of a socket is at most 107 octets. The lock of the state
 * directory is held: a socket that is there was left by an inkand that died.
 */
static bool bind_socket(int fd, const char *run, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int directory = open(run, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool bound = false;

	if (directory >= 0) {
		snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/" SOCKET_NAME, directory);
		(void)unlink(address.sun_path);
		bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && chmod(address.sun_path, 0600) == 0;
	}
	if (!bound)
		err_errno(err, "%s/" SOCKET_NAME, run);
	if (directory >= 0)
		close(directory);
	return bound;
}

static bool listen_in(struct supervisor *supervisor, const char *run, struct err *err)
{
	struct control *control = &supervisor->control;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_errno(err, "socket");
	if (!bind_socket(fd, run, err)) {
		close(fd);
		return false;
	}
	control->path = mem_format("%s/" SOCKET_NAME, run);
	control->listener = evconnlistener_new(supervisor->base, on_connection, supervisor,
					       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, CONTROL_CONSOLES_MAX, fd);
	return control->listener != NULL ? true : err_set(err, ERR_SYSTEM, "%s: cannot listen", control->path);
}

bool control_open(struct supervisor *supervisor, struct err *err)
{
	char *run = mem_format("%s/run", supervisor->options->state);
	bool opened = listen_in(supervisor, run, err);

	free(run);
	return opened;
}

void control_close(struct supervisor *supervisor)
{
	struct control *control = &supervisor->control;

	if (control->listener != NULL)
		evconnlistener_free(control->listener);
	if (control->path != NULL)
		(void)unlink(control->path);
	while (control->count > 0)
		drop(control->consoles[0]);
	free(control->consoles);
	free(control->path);
	*control = (struct control){0};
}
