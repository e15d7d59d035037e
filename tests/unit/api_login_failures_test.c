/* How long wrong keys wait for their answer. */
#include "appliance/relay/api/login_failures.h"

#include <stdio.h>

#include "tests/unit/test.h"

#define ANYTIME 1000000

static struct login_failures failures;

static void waits_grow_for_a_client_and_no_other(void)
{
	static const unsigned waits[] = {1000, 1000, 1000, 2000, 4000, 8000, 8000, 8000};

	for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
		CHECK_INT(login_failures_add(&failures, "192.0.2.1", ANYTIME + (int64_t)i), waits[i]);
	CHECK_INT(login_failures_add(&failures, "192.0.2.2", ANYTIME), 1000);
	CHECK_INT(login_failures_add(&failures, "192.0.2.1", ANYTIME + 9), 8000);
}

static void a_right_key_and_time_forget(void)
{
	login_failures_forget(&failures, "192.0.2.1");
	login_failures_forget(&failures, "192.0.2.77");
	for (int i = 0; i < LOGIN_WRONG_FREE; i++)
		CHECK_INT(login_failures_add(&failures, "192.0.2.1", ANYTIME + 10), 1000);
	CHECK_INT(login_failures_add(&failures, "192.0.2.1", ANYTIME + 10), 2000);
	CHECK_INT(login_failures_add(&failures, "192.0.2.1", ANYTIME + 11 + LOGIN_FAILURE_MEMORY_MS), 1000);
}

static void many_clients_push_out_the_oldest_alone(void)
{
	char client[LOGIN_CLIENT_BYTES];

	failures = (struct login_failures){0};
	for (int i = 0; i < LOGIN_WRONG_FREE; i++)
		login_failures_add(&failures, "2001:db8::1", ANYTIME);
	for (int i = 0; i < LOGIN_FAILING_CLIENTS_MAX - 1; i++) {
		snprintf(client, sizeof client, "2001:db8:1::%x", (unsigned)i);
		login_failures_add(&failures, client, ANYTIME + 1 + i);
	}
	CHECK_INT(login_failures_add(&failures, "2001:db8::1", ANYTIME + 1000), 2000);
	login_failures_add(&failures, "2001:db8:2::1", ANYTIME + 1001); /* in the place of 2001:db8:1::0 */
	for (int i = 1; i < LOGIN_WRONG_FREE; i++)
		CHECK_INT(login_failures_add(&failures, "2001:db8:1::1", ANYTIME + 1002), 1000);
	CHECK_INT(login_failures_add(&failures, "2001:db8:1::1", ANYTIME + 1003), 2000);
	for (int i = 0; i < LOGIN_WRONG_FREE; i++)
		CHECK_INT(login_failures_add(&failures, "2001:db8:1::0", ANYTIME + 1004), 1000);
}

int main(void)
{
	TEST(waits_grow_for_a_client_and_no_other);
	TEST(a_right_key_and_time_forget);
	TEST(many_clients_push_out_the_oldest_alone);
	return test_finish();
}
