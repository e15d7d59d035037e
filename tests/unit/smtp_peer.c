#include "tests/unit/smtp_peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "tests/unit/test.h"

#define PEER_WAIT_MS 5000
#define PEER_QUIET_MS 60

const char *peer_hello = "";

int peer_listen(uint16_t *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		return -1;
	*port = ntohs(address.sin_port);
	return fd;
}

bool peer_connect(struct peer *peer, struct event_base *base, uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	*peer = (struct peer){.base = base, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	return peer->fd >= 0 && connect(peer->fd, (struct sockaddr *)&address, sizeof address) == 0;
}

void peer_close(struct peer *peer)
{
	close(peer->fd);
	buf_clear(&peer->in);
	buf_clear(&peer->out);
}

void peer_turn(struct event_base *base, int64_t ms)
{
	int64_t end = clock_monotonic_ms() + ms;

	do {
		event_base_loop(base, EVLOOP_NONBLOCK);
		if (ms > 0)
			usleep(500);
	} while (clock_monotonic_ms() < end);
}

void peer_send(struct peer *peer, struct bytes octets)
{
	int64_t end = clock_monotonic_ms() + PEER_WAIT_MS;

	while (octets.len > 0 && clock_monotonic_ms() < end) {
		ssize_t sent = send(peer->fd, octets.data, octets.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent > 0)
			octets = bytes_slice(octets, (size_t)sent, octets.len);
		else if (errno != EAGAIN)
			return; /* the server closed: what it said is read next */
		peer_turn(peer->base, 0);
	}
}

void peer_finish(struct peer *peer)
{
	shutdown(peer->fd, SHUT_WR);
}

/* False at the end. */
static bool receive(struct peer *peer)
{
	char octets[4096];
	ssize_t count = recv(peer->fd, octets, sizeof octets, MSG_DONTWAIT);

	if (count > 0)
		buf_put(&peer->in, octets, (size_t)count);
	return count > 0 || (count < 0 && errno == EAGAIN);
}

const char *peer_line(struct peer *peer, int64_t wait_ms)
{
	int64_t end = clock_monotonic_ms() + wait_ms;
	bool open = true;

	buf_reset(&peer->out);
	for (;;) {
		const uint8_t *cr = peer->in.len == 0 ? NULL : memmem(peer->in.data, peer->in.len, "\r\n", 2);

		if (cr != NULL) {
			size_t len = (size_t)(cr - peer->in.data);

			buf_put(&peer->out, peer->in.data, len);
			buf_consume(&peer->in, len + 2);
			return buf_text(&peer->out);
		}
		if (!open)
			return buf_text(&peer->out);
		if (clock_monotonic_ms() >= end)
			return NULL;
		peer_turn(peer->base, 0);
		open = receive(peer);
	}
}

/* <CR> <LF> <NUL> */
static void put_raw(struct buf *out, struct bytes text)
{
	static const struct {
		const char *name;
		uint8_t octet;
	} marks[] = {{"<CR>", '\r'}, {"<LF>", '\n'}, {"<NUL>", '\0'}};

	while (text.len > 0) {
		size_t used = 1;
		uint8_t octet = text.data[0];

		for (size_t i = 0; i < 3; i++) {
			if (bytes_starts_nocase(text, marks[i].name)) {
				used = strlen(marks[i].name);
				octet = marks[i].octet;
			}
		}
		buf_put_byte(out, octet);
		text = bytes_slice(text, used, text.len);
	}
}

static bool expect(struct peer *peer, struct bytes want)
{
	char *text = bytes_string(want);
	const char *line = peer_line(peer, PEER_WAIT_MS);
	bool fine = CHECK_TEXT(line == NULL ? "(nothing)" : line, text);

	free(text);
	return fine;
}

static bool talk_lines(struct peer *peer, const char *dialogue);

static bool step(struct peer *peer, char kind, struct bytes text, struct buf *sending)
{
	if (kind == 'C' || kind == 'R') {
		put_raw(sending, text);
		buf_put_text(sending, kind == 'C' ? "\r\n" : "");
		return true;
	}
	peer_send(peer, buf_bytes(sending));
	buf_reset(sending);
	switch (kind) {
	case 'S':
		return expect(peer, text);
	case 'H':
		return talk_lines(peer, "C: EHLO client.example\n") && talk_lines(peer, peer_hello);
	case 'E':
		return expect(peer, bytes_text(""));
	case '-':
		return CHECK_TEXT(peer_line(peer, PEER_QUIET_MS), NULL);
	default:
		return CHECK(false);
	}
}

static bool talk_lines(struct peer *peer, const char *dialogue)
{
	struct buf sending = {0};
	bool fine = true;

	for (const char *line = dialogue, *next; fine && *line != '\0'; line = next) {
		size_t len = strcspn(line, "\n");

		next = line[len] == '\0' ? line + len : line + len + 1;
		fine = step(peer, line[0], bytes_slice(bytes_of(line, len), 3, len), &sending);
		if (!fine)
			CHECK_TEXT(line, ""); /* shows where */
	}
	peer_send(peer, buf_bytes(&sending));
	buf_clear(&sending);
	return fine;
}

void peer_talk(struct peer *peer, const char *dialogue)
{
	talk_lines(peer, dialogue);
}
