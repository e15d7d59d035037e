#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "appliance/base/channel.h"
#include "appliance/base/clock.h"
#include "appliance/base/frame_wire.h"
#include "appliance/base/pool.h"
#include "tests/unit/test.h"

#define DEADLINE_MS (clock_monotonic_ms() + 2000)

static void blocking_frames_and_descriptors(void)
{
	struct buf got = {0};
	struct err err;
	uint16_t type = 0;
	int pair[2], passed = -1, file[2];

	CHECK_OK(frame_socketpair(pair, false, &err), &err);
	CHECK_INT(pipe(file), 0);
	CHECK_OK(frame_send(pair[0], 7, bytes_text("hello"), file[0], DEADLINE_MS, &err), &err);
	CHECK_OK(frame_receive(pair[1], &type, &got, &passed, DEADLINE_MS, &err), &err);
	CHECK_INT(type, 7);
	CHECK_BYTES(buf_bytes(&got), bytes_text("hello"));
	CHECK(passed >= 0);
	CHECK_INT(write(file[1], "x", 1), 1);
	CHECK_INT(read(passed, (char[1]){0}, 1), 1);
	CHECK(fcntl(passed, F_GETFD) & FD_CLOEXEC);
	close(passed);

	CHECK(!frame_receive(pair[1], &type, &got, NULL, clock_monotonic_ms() + 30, &err));
	CHECK_INT(err.code, ERR_TIMEOUT);
	close(pair[0]);
	CHECK(!frame_receive(pair[1], &type, &got, NULL, DEADLINE_MS, &err));
	CHECK_INT(err.code, ERR_UNAVAILABLE);
	close(pair[1]);
	close(file[0]);
	close(file[1]);
	buf_clear(&got);
}

static void bad_headers_are_refused(void)
{
	static const uint8_t cases[][FRAME_HEADER_BYTES] = {
	    {0xff, 0, 0, 0, 0, 1, 0, 0}, /* too long */
	    {0, 0, 0, 1, 0, 1, 1, 0}, /* unknown flag */
	    {0, 0, 0, 1, 0, 1, 0, 2},
	};
	struct frame_header header;
	struct err err;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%zu", i);
		CHECK(!frame_header_decode(cases[i], &header, &err));
	}
}

struct seen {
	struct event_base *base;
	unsigned frames, fds, closed;
	size_t octets;
	uint16_t last_type;
	bool free_at_once;
};

static void on_message(struct channel *channel, uint16_t type, struct msg *msg, int fd, void *arg)
{
	struct seen *seen = arg;

	seen->frames++;
	seen->octets += msg->rest.len;
	seen->last_type = type;
	if (fd >= 0) {
		seen->fds++;
		close(fd);
	}
	if (seen->free_at_once)
		channel_free(channel);
	if (type == 99)
		event_base_loopbreak(seen->base);
}

static void on_closed(struct channel *channel, const struct err *why, void *arg)
{
	struct seen *seen = arg;

	(void)channel;
	(void)why;
	seen->closed++;
	event_base_loopbreak(seen->base);
}

static void run(struct event_base *base)
{
	const struct timeval limit = {.tv_sec = 5};

	event_base_loopexit(base, &limit);
	event_base_dispatch(base);
}

static void channel_carries_many_frames(void)
{
	struct seen seen = {.base = event_base_new()}, other = {.base = seen.base};
	struct channel *a, *b;
	struct err err;
	char big[100000];
	int pair[2];

	memset(big, 'x', sizeof big);
	CHECK_OK(frame_socketpair(pair, true, &err), &err);
	a = channel_new(seen.base, pair[0], on_message, on_closed, &other);
	b = channel_new(seen.base, pair[1], on_message, on_closed, &seen);
	for (unsigned i = 0; i < 50; i++)
		channel_send(a, 1, bytes_of(big, (size_t)i * 2000), i % 3 == 0 ? open("/dev/null", O_RDONLY) : -1);
	channel_send(a, 99, (struct bytes){0}, -1);
	run(seen.base);
	CHECK_INT(seen.frames, 51);
	CHECK_INT(seen.fds, 17);
	CHECK_INT(seen.octets, 2000 * 49 * 50 / 2);
	channel_free(a);
	run(seen.base);
	CHECK_INT(seen.closed, 1);
	channel_free(b);
	event_base_free(seen.base);
}

static void channel_may_be_freed_in_its_callback(void)
{
	struct seen seen = {.base = event_base_new(), .free_at_once = true};
	struct channel *b;
	struct err err;
	int pair[2];

	CHECK_OK(frame_socketpair(pair, false, &err), &err);
	b = channel_new(seen.base, pair[1], on_message, on_closed, &seen);
	(void)b;
	CHECK_OK(frame_send(pair[0], 1, bytes_text("a"), -1, DEADLINE_MS, &err), &err);
	CHECK_OK(frame_send(pair[0], 99, bytes_text("b"), -1, DEADLINE_MS, &err), &err);
	event_base_dispatch(seen.base);
	CHECK_INT(seen.frames, 1);
	CHECK_INT(seen.closed, 0);
	close(pair[0]);
	event_base_free(seen.base);
}

static void pool_work_thread(void *arg)
{
	unsigned *value = arg;

	*value += 1;
}

static unsigned completed;

static void pool_completed(void *arg)
{
	unsigned *value = arg;

	*value += 10;
	completed++;
}

static void pool_completes_every_job_on_the_loop(void)
{
	struct event_base *base = event_base_new();
	unsigned values[200] = {0};
	struct pool *pool;
	struct err err;

	pool = pool_new(base, 4, &err);
	if (!CHECK(pool != NULL))
		return;
	for (size_t i = 0; i < 200; i++)
		pool_submit(pool, pool_work_thread, pool_completed, &values[i]);
	while (completed < 100)
		event_base_loop(base, EVLOOP_ONCE);
	pool_free(pool);
	CHECK_INT(completed, 200);
	for (size_t i = 0; i < 200; i++)
		CHECK_INT(values[i], 11);
	event_base_free(base);
}

int main(void)
{
	TEST(blocking_frames_and_descriptors);
	TEST(bad_headers_are_refused);
	TEST(channel_carries_many_frames);
	TEST(channel_may_be_freed_in_its_callback);
	TEST(pool_completes_every_job_on_the_loop);
	return test_finish();
}
