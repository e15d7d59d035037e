/*
 * Stand-ins for inkan-relay and inkan-hsm: a copy of the test program under one of these names, in a directory of its
 * own. They speak the frames of control.h and worker.h, and write what they are told, one line each, to DIRECTORY/events,
 * where the order of lines is the order in which things happened. DIRECTORY/token says how the token behaves: its PIN,
 * or "absent", or "slow" (for as long as that is there).
 */
#ifndef INKAN_TESTS_SUPERVISOR_FAKES_H
#define INKAN_TESTS_SUPERVISOR_FAKES_H

#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/control.h"
#include "appliance/base/frame.h"
#include "hsm/protocol/provision.h"
#include "hsm/protocol/worker.h"
#include "provisioning/store/snapshot.h"

#define FAKE_WAIT_MS 120000
#define FAKE_REFUSED_HOST "refused.example"

/* The directory of this program: the copy's, not the test's. */
static inline const char *fake_directory(void)
{
	static char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);

	path[len > 0 ? len : 0] = '\0';
	*strrchr(path, '/') = '\0';
	return path;
}

static inline void fake_event(const char *format, ...) PRINTF_LIKE(1, 2);

static inline void fake_event(const char *format, ...)
{
	char path[PATH_MAX + 16], line[512];
	va_list args;
	int fd, len;

	va_start(args, format);
	len = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	line[len++] = '\n';
	snprintf(path, sizeof path, "%s/events", fake_directory());
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, (size_t)len) != len)
		_exit(99);
	close(fd);
}

static inline void fake_token(char *out, size_t size)
{
	char path[PATH_MAX + 16];
	FILE *file;

	snprintf(path, sizeof path, "%s/token", fake_directory());
	file = fopen(path, "re");
	if (file == NULL || fgets(out, (int)size, file) == NULL)
		*out = '\0';
	if (file != NULL)
		fclose(file);
}

static inline bool fake_receive(uint16_t *type, struct buf *payload, int *fd)
{
	buf_reset(payload);
	return frame_receive(CHILD_CONTROL_FD, type, payload, fd, clock_monotonic_ms() + FAKE_WAIT_MS, NULL);
}

static inline void fake_send(int to, uint16_t type, struct buf *payload)
{
	if (!frame_send(to, type, buf_bytes(payload), -1, clock_monotonic_ms() + FAKE_WAIT_MS, NULL))
		_exit(98);
	buf_clear(payload);
}

/* As long as DIRECTORY/silent is not there. */
static inline void fake_pong(uint16_t type, uint64_t number, bool with_lag)
{
	char path[PATH_MAX + 16];
	struct buf payload = {0};

	snprintf(path, sizeof path, "%s/silent", fake_directory());
	if (access(path, F_OK) == 0)
		return;
	msg_put_u64(&payload, number);
	if (with_lag)
		msg_put_u32(&payload, 3);
	else
		msg_put_u64(&payload, 0);
	fake_send(CHILD_CONTROL_FD, type, &payload);
}

/* ---- inkan-relay ---- */

static inline void fake_relay_configure(struct msg *msg)
{
	static bool configured;
	bool check = msg_get_u8(msg) != 0;
	struct msg encoded = msg_of(msg_get_bytes(msg));
	struct snapshot *snapshot = snapshot_decode(&encoded, NULL);
	const char *host = settings_value(&snapshot->settings, "system host-name");
	bool ok = host == NULL || strcmp(host, FAKE_REFUSED_HOST) != 0;
	struct buf answer = {0};

	fake_event("relay %s %u", check ? "check" : "configure", (unsigned)snapshot->revision);
	msg_put_u64(&answer, snapshot->revision);
	msg_put_u8(&answer, ok ? 1 : 0);
	msg_put_text(&answer, ok ? "" : "the fake relay refuses this host name");
	fake_send(CHILD_CONTROL_FD, RELAY_CONFIGURED, &answer);
	if (!check && !configured)
		fake_send(CHILD_CONTROL_FD, RELAY_READY, &answer);
	configured |= !check;
	snapshot_free(snapshot);
}

static inline void fake_relay_frame(uint16_t type, struct msg *msg, int fd)
{
	struct buf hello = {0};
	char *text;

	switch (type) {
	case RELAY_LISTENER:
		text = msg_get_text(msg);
		fake_event("relay listener %s", text);
		free(text);
		close(fd); /* it accepts nothing: what can be reached is inkand's own socket */
		break;
	case RELAY_CONFIGURE:
		fake_relay_configure(msg);
		break;
	case RELAY_WORKER:
		fake_event("relay worker %u", (unsigned)msg_get_u32(msg));
		break;
	case RELAY_LOCKED:
		fake_event("relay %s", msg_get_u8(msg) != 0 ? "locked" : "unlocked");
		break;
	case RELAY_CONSOLE:
		fake_send(fd, 77, &hello);
		break;
	case RELAY_PING:
		fake_pong(RELAY_PONG, msg_get_u64(msg), true);
		break;
	case RELAY_STOP:
		fake_event("relay stop");
		_exit(0);
	default:
		fake_event("relay unknown frame %u", type);
	}
}

static inline int fake_relay(void)
{
	struct buf payload = {0};
	uint16_t type;
	int fd;

	fake_event("relay start");
	while (fake_receive(&type, &payload, &fd)) {
		struct msg msg = msg_of(buf_bytes(&payload));

		fake_relay_frame(type, &msg, fd);
	}
	return 0;
}

/* ---- inkan-hsm ---- */

static inline void fake_ready(void)
{
	struct worker_ready ready = {.token = (char *)(uintptr_t) "fake",
				     .model = (char *)(uintptr_t) "paper",
				     .serial = (char *)(uintptr_t) "007",
				     .firmware = (char *)(uintptr_t) "1.0",
				     .threads = 4};
	struct buf payload = {0};

	worker_ready_encode(&payload, &ready);
	fake_send(CHILD_CONTROL_FD, WORKER_FRAME_READY, &payload);
}

static inline void fake_failed(uint32_t code, const char *text)
{
	struct worker_failed failed = {.exit_code = code, .text = (char *)(uintptr_t)text};
	struct buf payload = {0};

	worker_failed_encode(&payload, &failed);
	fake_send(CHILD_CONTROL_FD, WORKER_FRAME_FAILED, &payload);
	_exit((int)code);
}

static inline void fake_log_in(const struct worker_start *start)
{
	char token[64];

	fake_token(token, sizeof token);
	while (strcmp(token, "slow") == 0) {
		usleep(20000);
		fake_token(token, sizeof token);
	}
	if (strcmp(token, "absent") == 0)
		fake_failed(WORKER_EXIT_TOKEN_ABSENT, "no token of that label");
	if (!start->has_pin || !bytes_equal_text(start->pin, token))
		fake_failed(WORKER_EXIT_PIN_REJECTED, "the token refused the PIN");
	fake_ready();
}

static inline void fake_sign_frame(uint16_t type, struct msg *msg)
{
	struct worker_certificates certificates;

	if (type == WORKER_FRAME_CHANNEL) {
		fake_event("worker channel");
	} else if (type == WORKER_FRAME_CERTIFICATES && worker_certificates_decode(msg, &certificates, NULL)) {
		fake_event("worker certificates");
		fake_ready();
	} else if (type == WORKER_FRAME_PING) {
		fake_pong(WORKER_FRAME_PONG, msg_get_u64(msg), false);
	} else if (type == WORKER_FRAME_STOP) {
		fake_event("worker stop");
		_exit(0);
	} else {
		fake_event("worker unknown frame %u", type);
	}
}

static inline int fake_sign(void)
{
	struct buf payload = {0};
	struct worker_start start;
	struct msg msg;
	uint16_t type;
	int fd;

	if (!fake_receive(&type, &payload, &fd) || type != WORKER_FRAME_START)
		return 97;
	msg = msg_of(buf_bytes(&payload));
	if (!worker_start_decode(&msg, &start, NULL))
		return 96;
	fake_event("worker start %s", start.settings.backend);
	fake_log_in(&start);
	while (fake_receive(&type, &payload, &fd)) {
		msg = msg_of(buf_bytes(&payload));
		fake_sign_frame(type, &msg);
	}
	return 0;
}

static inline int fake_provision(void)
{
	struct buf payload = {0}, result = {0};
	struct worker_start start;
	struct msg msg;
	uint16_t type;
	int task = -1;

	if (!fake_receive(&type, &payload, &task) || type != WORKER_FRAME_START || task < 0)
		return 97;
	msg = msg_of(buf_bytes(&payload));
	if (!worker_start_decode(&msg, &start, NULL))
		return 96;
	fake_event("task start");
	msg_put_text(&result, start.has_pin ? "with a PIN" : "without a PIN");
	fake_send(task, PROVISION_FRAME_RESULT, &result);
	return 0;
}

/* The exit status when this is a stand-in; -1: it is the test. */
static inline int fake_run(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];

	if (strcmp(name, "inkan-relay") == 0)
		return fake_relay();
	if (strcmp(name, "inkan-hsm") == 0 && argc > 1)
		return strcmp(argv[1], "sign") == 0 ? fake_sign() : fake_provision();
	return -1;
}

#endif
