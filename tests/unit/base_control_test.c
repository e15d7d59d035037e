#include "appliance/base/control.h"
#include "tests/unit/test.h"

static void encode_example(struct buf *out)
{
	struct child_status children[] = {
	    {.name = "relay", .pid = 4711, .state = "running", .restarts = 0, .last_error = ""},
	    {.name = "worker 1",
	     .pid = 0,
	     .state = "waiting 4 s",
	     .restarts = 3,
	     .last_error = "killed by signal 9",
	     .health = "FAILED",
	     .threads = 8,
	     .rate_tenths = 123},
	};
	struct supervisor_status status = {
	    .pid = 99,
	    .started = 1795525569,
	    .revision = 12,
	    .pin = "rejected",
	    .pin_error = "the token refused the PIN",
	    .token_model = "SoftHSM v2",
	    .token_serial = "2a",
	    .token_firmware = "2.6",
	    .children = children,
	    .n_children = 2,
	    .signing = "suspended: the token is away",
	};

	supervisor_status_encode(out, &status);
}

static void status_is_read_back(void)
{
	struct buf out = {0};
	struct supervisor_status status;
	struct msg msg;
	struct err err;

	encode_example(&out);
	msg = msg_of(buf_bytes(&out));
	if (!CHECK_OK(supervisor_status_decode(&msg, &status, &err), &err))
		return;
	CHECK_INT(status.pid, 99);
	CHECK_INT(status.started, 1795525569);
	CHECK_INT(status.revision, 12);
	CHECK_TEXT(status.pin, "rejected");
	CHECK_TEXT(status.pin_error, "the token refused the PIN");
	CHECK_TEXT(status.token_model, "SoftHSM v2");
	CHECK_TEXT(status.token_serial, "2a");
	CHECK_TEXT(status.token_firmware, "2.6");
	CHECK_INT(status.n_children, 2);
	CHECK_TEXT(status.children[0].name, "relay");
	CHECK_INT(status.children[0].pid, 4711);
	CHECK_TEXT(status.children[1].state, "waiting 4 s");
	CHECK_INT(status.children[1].restarts, 3);
	CHECK_TEXT(status.children[1].last_error, "killed by signal 9");
	CHECK_TEXT(status.children[0].health, "");
	CHECK_TEXT(status.children[1].health, "FAILED");
	CHECK_INT(status.children[1].threads, 8);
	CHECK_INT(status.children[1].rate_tenths, 123);
	CHECK_TEXT(status.signing, "suspended: the token is away");
	supervisor_status_clear(&status);
	CHECK(status.children == NULL);
	buf_clear(&out);
}

static void every_cut_is_malformed(void)
{
	struct supervisor_status status = {.pid = -1};
	struct buf out = {0};
	struct msg msg;
	struct err err;

	encode_example(&out);
	for (size_t len = 0; len < out.len; len++) {
		test_case("first %zu octets", len);
		msg = msg_of(bytes_of(out.data, len));
		CHECK(!supervisor_status_decode(&msg, &status, &err));
		CHECK_TEXT(err.text, "malformed supervisor status");
		CHECK_INT(status.pid, -1);
	}
	buf_put_byte(&out, 0);
	test_case("one octet more");
	msg = msg_of(buf_bytes(&out));
	CHECK(!supervisor_status_decode(&msg, &status, &err));
	buf_clear(&out);
}

int main(void)
{
	TEST(status_is_read_back);
	TEST(every_cut_is_malformed);
	return test_finish();
}
