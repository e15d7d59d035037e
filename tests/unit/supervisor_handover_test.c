/* What inkand hands to the program that replaces it. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "appliance/base/msg.h"
#include "appliance/supervisor/handover.h"
#include "tests/unit/test.h"

static struct listeners one_listener(void)
{
	struct listeners listeners = {.items = mem_new(sizeof *listeners.items), .count = 1};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(listen(fd, 1) == 0); /* on a port of the kernel's choice */
	listeners.items[0] = (struct listener){.address = mem_string("api 127.0.0.1:8443"), .fd = fd};
	return listeners;
}

static bool closes_on_exec(int fd)
{
	return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static struct secret *secret_of(const char *text)
{
	struct err err;

	return secret_new(bytes_text(text), &err);
}

static void sockets_and_pin_arrive(void)
{
	struct listeners listeners = one_listener(), got;
	struct pin pin = {.state = PIN_HELD, .secret = secret_of("1234")};
	struct secret *secret;
	struct err err;
	int fd = handover_write(&listeners, &pin, &err);

	CHECK(fd >= 0);
	CHECK(!closes_on_exec(fd));
	CHECK(!closes_on_exec(listeners.items[0].fd));
	CHECK(handover_read(fd, &got, &secret, &err));
	CHECK_INT(got.count, 1);
	CHECK_TEXT(got.items[0].address, "api 127.0.0.1:8443");
	CHECK_INT(got.items[0].fd, listeners.items[0].fd);
	CHECK(closes_on_exec(got.items[0].fd));
	CHECK_TEXT(secret_text(secret), "1234");
	secret_free(secret);
	secret_free(pin.secret);
	listeners_clear(&got);
	free(listeners.items[0].address);
	free(listeners.items);
}

/* A PIN file is read again; what the token rejected or nobody has proven goes nowhere. */
static void only_a_typed_pin_goes_along(void)
{
	char file[] = "/etc/inkan/pin";
	struct pin pins[] = {{.state = PIN_NONE},
			     {.state = PIN_HELD},
			     {.state = PIN_TRIED, .secret = secret_of("1234")},
			     {.state = PIN_HELD, .secret = secret_of("1234"), .file = file}};

	for (size_t i = 0; i < sizeof pins / sizeof *pins; i++) {
		struct listeners none = {0}, got;
		struct secret *secret;
		struct err err;
		int fd = handover_write(&none, &pins[i], &err);

		test_case("%zu", i);
		CHECK(handover_read(fd, &got, &secret, &err));
		CHECK(secret == NULL);
		CHECK_INT(got.count, 0);
		listeners_clear(&got);
		secret_free(pins[i].secret);
	}
}

static void abandoned_sockets_close_at_an_exec_again(void)
{
	struct listeners listeners = one_listener();
	struct pin pin = {.state = PIN_NONE};
	struct err err;
	int fd = handover_write(&listeners, &pin, &err);

	handover_abandon(&listeners, fd);
	CHECK(closes_on_exec(listeners.items[0].fd));
	CHECK_INT(fcntl(fd, F_GETFD), -1);
	listeners_clear(&listeners);
}

static bool read_octets(struct bytes octets, struct err *err)
{
	struct listeners got;
	struct secret *secret;
	int ends[2];
	bool fine;

	CHECK(pipe(ends) == 0);
	CHECK_INT(write(ends[1], octets.data, octets.len), (int)octets.len);
	close(ends[1]);
	fine = handover_read(ends[0], &got, &secret, err);
	secret_free(secret);
	listeners_clear(&got);
	return fine;
}

static void nonsense_is_refused(void)
{
	struct buf octets = {0};
	struct err err;

	msg_put_text(&octets, "1234");
	msg_put_u32(&octets, 1);
	msg_put_text(&octets, "127.0.0.1:25");
	msg_put_u32(&octets, STDERR_FILENO); /* no listening socket */
	CHECK(!read_octets(buf_bytes(&octets), &err));
	CHECK_CONTAINS(err.text, "no listening socket");
	for (size_t len = 0; len < octets.len; len++) {
		test_case("cut at %zu", len);
		CHECK(!read_octets(bytes_slice(buf_bytes(&octets), 0, len), &err));
	}
	buf_clear(&octets);
}

int main(void)
{
	TEST(sockets_and_pin_arrive);
	TEST(only_a_typed_pin_goes_along);
	TEST(abandoned_sockets_close_at_an_exec_again);
	TEST(nonsense_is_refused);
	return test_finish();
}
