/* What is remembered of client addresses; time is a number here. */
#include "appliance/relay/smtp/smtp_clients.h"

#include <string.h>

#include "appliance/relay/smtp/smtp_limits.h"
#include "tests/unit/test.h"

static struct in6_addr address_of(uint32_t number)
{
	struct in6_addr address = {0};

	memcpy(address.s6_addr, &number, sizeof number);
	return address;
}

static void counts_sessions(void)
{
	struct smtp_clients *clients = smtp_clients_new();
	struct in6_addr a = address_of(1), b = address_of(2);

	CHECK(smtp_clients_enter(clients, &a, 2, 0) && smtp_clients_enter(clients, &a, 2, 0) &&
	      !smtp_clients_enter(clients, &a, 2, 0));
	CHECK(smtp_clients_enter(clients, &b, 2, 0));
	CHECK_INT(smtp_clients_count(clients), 2);
	smtp_clients_leave(clients, &a, 0);
	CHECK(smtp_clients_enter(clients, &a, 2, 0));
	smtp_clients_leave(clients, &a, 0);
	smtp_clients_leave(clients, &a, 0);
	smtp_clients_leave(clients, &b, 0);
	CHECK_INT(smtp_clients_count(clients), 0);
	smtp_clients_free(clients);
}

static void counts_messages_of_a_minute(void)
{
	struct smtp_clients *clients = smtp_clients_new();
	struct in6_addr a = address_of(1);
	int64_t wait;

	smtp_clients_enter(clients, &a, 1, 1000);
	for (int i = 0; i < 3; i++)
		CHECK(smtp_clients_message(clients, &a, 3, 0, 1000 + i, &wait) && wait == 0);
	CHECK(!smtp_clients_message(clients, &a, 3, 0, 2000, &wait));
	smtp_clients_leave(clients, &a, 2000); /* a new session is no new minute */
	smtp_clients_enter(clients, &a, 1, 3000);
	CHECK(!smtp_clients_message(clients, &a, 3, 0, 60999, &wait));
	CHECK(smtp_clients_message(clients, &a, 3, 0, 61000, &wait));
	smtp_clients_leave(clients, &a, 200000);
	CHECK_INT(smtp_clients_count(clients), 0);
	smtp_clients_free(clients);
}

static void gives_each_message_its_turn(void)
{
	static const struct {
		int64_t now, wait; /* -1: refused */
	} steps[] = {{1000, 0}, {1000, 30000}, {1000, 60000}, {1000, -1}, {31000, 60000}, {31001, -1}, {500000, 0}};
	struct smtp_clients *clients = smtp_clients_new();
	struct in6_addr a = address_of(1);

	smtp_clients_enter(clients, &a, 1, 1000);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		int64_t wait = 0;

		test_case("step %zu", i);
		if (CHECK_INT(smtp_clients_message(clients, &a, 0, 30000, steps[i].now, &wait), steps[i].wait >= 0) &&
		    steps[i].wait >= 0)
			CHECK_INT(wait, steps[i].wait);
	}
	test_case("an interval longer than the longest wait");
	a = address_of(2);
	smtp_clients_enter(clients, &a, 1, 1000);
	CHECK(smtp_clients_message(clients, &a, 0, 3600000, 1000, &(int64_t){0}));
	CHECK(smtp_clients_message(clients, &a, 0, 3600000, 1000, &(int64_t){0}));
	CHECK(!smtp_clients_message(clients, &a, 0, 3600000, 1000, &(int64_t){0}));
	smtp_clients_free(clients);
}

static void failed_logins_wait_longer_and_longer(void)
{
	struct smtp_clients *clients = smtp_clients_new();
	struct in6_addr a = address_of(1), b = address_of(2);
	int64_t now = 1000;

	smtp_clients_enter(clients, &a, 9, now);
	smtp_clients_enter(clients, &b, 9, now);
	for (int i = 0; i < 2; i++) {
		CHECK(smtp_clients_may_log_in(clients, &a, 3, now));
		smtp_clients_login(clients, &a, false, now);
	}
	CHECK(smtp_clients_may_log_in(clients, &a, 3, now));
	for (int64_t wait = 1000; wait <= 8000; wait *= 2) {
		smtp_clients_login(clients, &a, false, now);
		CHECK(!smtp_clients_may_log_in(clients, &a, 3, now + wait - 1));
		now += wait;
		CHECK(smtp_clients_may_log_in(clients, &a, 3, now));
	}
	CHECK(smtp_clients_may_log_in(clients, &b, 3, now));
	for (int i = 0; i < 100; i++)
		smtp_clients_login(clients, &a, false, now);
	CHECK(!smtp_clients_may_log_in(clients, &a, 3, now + SMTP_LOGIN_WAIT_MAX_MS - 1));
	CHECK(smtp_clients_may_log_in(clients, &a, 3, now + SMTP_LOGIN_WAIT_MAX_MS));
	smtp_clients_leave(clients, &a, now); /* connecting again does not help */
	smtp_clients_enter(clients, &a, 9, now);
	CHECK(!smtp_clients_may_log_in(clients, &a, 3, now));
	smtp_clients_login(clients, &a, true, now);
	CHECK(smtp_clients_may_log_in(clients, &a, 3, now));
	smtp_clients_free(clients);
}

/* A flood of addresses that fail and go leaves no memory behind for longer than it must. */
static void forgets(void)
{
	struct smtp_clients *clients = smtp_clients_new();

	for (uint32_t i = 0; i < 5000; i++) {
		struct in6_addr address = address_of(i);
		int64_t now = (int64_t)i * 10000;

		smtp_clients_enter(clients, &address, 1, now);
		smtp_clients_login(clients, &address, false, now);
		smtp_clients_leave(clients, &address, now);
	}
	CHECK(smtp_clients_count(clients) <= 2 * SMTP_LOGIN_MEMORY_MS / 10000);
	smtp_clients_free(clients);
}

int main(void)
{
	TEST(counts_sessions);
	TEST(counts_messages_of_a_minute);
	TEST(gives_each_message_its_turn);
	TEST(failed_logins_wait_longer_and_longer);
	TEST(forgets);
	return test_finish();
}
