#include <stdlib.h>

#include "appliance/base/msg.h"
#include "tests/unit/test.h"

static void build(struct buf *out)
{
	msg_put_u8(out, 7);
	msg_put_u16(out, 0x1234);
	msg_put_u32(out, 0xdeadbeef);
	msg_put_u64(out, 0x0102030405060708u);
	msg_put_i64(out, -5);
	msg_put_bytes(out, bytes_text("octets"));
	msg_put_text(out, "text");
}

static bool read_back(struct bytes in)
{
	struct msg msg = msg_of(in);
	bool same = msg_get_u8(&msg) == 7;
	char *text;

	same &= msg_get_u16(&msg) == 0x1234;
	same &= msg_get_u32(&msg) == 0xdeadbeef;
	same &= msg_get_u64(&msg) == 0x0102030405060708u;
	same &= msg_get_i64(&msg) == -5;
	same &= bytes_equal_text(msg_get_bytes(&msg), "octets");
	text = msg_get_text(&msg);
	same &= bytes_equal_text(bytes_text(text), "text");
	free(text);
	return msg_end(&msg, "test", NULL) && same;
}

static void reads_what_was_written(void)
{
	struct buf out = {0};

	build(&out);
	CHECK(read_back(buf_bytes(&out)));
	buf_clear(&out);
}

static void every_cut_is_malformed(void)
{
	struct buf out = {0};

	build(&out);
	for (size_t len = 0; len < out.len; len++) {
		test_case("first %zu octets", len);
		CHECK(!read_back(bytes_of(out.data, len)));
	}
	buf_put_byte(&out, 0);
	test_case("one octet more");
	CHECK(!read_back(buf_bytes(&out)));
	buf_clear(&out);
}

static void refuses_nul_in_text_and_impossible_counts(void)
{
	struct buf out = {0};
	struct msg msg;
	struct err err;

	msg_put_bytes(&out, bytes_of("a\0b", 3));
	msg = msg_of(buf_bytes(&out));
	free(msg_get_text(&msg));
	CHECK(!msg_end(&msg, "name", &err));
	CHECK_TEXT(err.text, "malformed name");

	buf_reset(&out);
	msg_put_u32(&out, 1000);
	msg = msg_of(buf_bytes(&out));
	CHECK_INT(msg_get_count(&msg, 4), 0);
	CHECK(msg.bad);
	buf_clear(&out);
}

int main(void)
{
	TEST(reads_what_was_written);
	TEST(every_cut_is_malformed);
	TEST(refuses_nul_in_text_and_impossible_counts);
	return test_finish();
}
