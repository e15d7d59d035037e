/* What a webhook is sent, octet for octet. */
#include "appliance/relay/webhook/webhook_body.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/test.h"

static const struct event_row rows[] = {
    {.id = 1,
     .created = 0,
     .status = QUEUE_LOG_QUEUED,
     .return_path = "",
     .from = "",
     .to = "a@x",
     .message_id = "",
     .reason = "",
     .client_ip = "",
     .source_ip = "",
     .subject = "&=+ %",
     .api_data = ""},
    {.id = 2,
     .created = 0,
     .status = QUEUE_LOG_FAILED,
     .return_path = "",
     .from = "",
     .to = "b@x",
     .message_id = "",
     .reason = "",
     .client_ip = "",
     .source_ip = "",
     .subject = "",
     .api_data = ""},
};

static void writes_a_form(void)
{
	struct buf out = {0};

	CHECK_INT(webhook_body_write(&out, "k&y", "s", API_BOUNCES, rows, 2, 0), 1);
	CHECK_TEXT(
	    buf_text(&out),
	    "api_key=k%26y&server_composition=s&event_type=bounces&event=%7B%22bounces%22%3A%5B%7B%22created%22%3A%22"
	    "1970-01-01%2000%3A00%3A00%22%2C%22status%22%3A%22failed%22%2C%22from%22%3A%22%22%2C%22to%22%3A%22b%40x%22%2C%22"
	    "messageId%22%3A%22%22%2C%22returnPath%22%3A%22%22%2C%22subject%22%3A%22%22%2C%22apiData%22%3A%22%22%2C%22reason%22"
	    "%3A%22%22%7D%5D%7D");
	buf_reset(&out);
	CHECK_INT(webhook_body_write(&out, NULL, "s", API_DELIVERIES, rows, 2, 0), 2);
	CHECK(strncmp(buf_text(&out), "server_composition=s&event_type=deliveries&event=%7B%22deliveries", 65) == 0);
	CHECK_CONTAINS(buf_text(&out), "%26%3D%2B%20%25");
	buf_clear(&out);
}

static void leaves_out_what_was_taken(void)
{
	struct buf out = {0};

	CHECK_INT(webhook_body_write(&out, NULL, "s", API_DELIVERIES, rows, 2, 1), 1);
	buf_reset(&out);
	CHECK_INT(webhook_body_write(&out, NULL, "s", API_DELIVERIES, rows, 2, 2), 0);
	CHECK_INT(webhook_body_write(&out, NULL, "s", API_BOUNCES, rows, 1, 0), 0);
	CHECK_INT(out.len, 0);
	buf_clear(&out);
}

/* echo -n 1700000000.a=b | openssl dgst -sha256 -hmac key */
static void signs_timestamp_and_body(void)
{
	char one[WEBHOOK_SIGNATURE_BYTES], other[WEBHOOK_SIGNATURE_BYTES];

	webhook_sign(one, bytes_text("key"), 1700000000, bytes_text("a=b"));
	CHECK_TEXT(one, "v1=73fca22c3f5aa0d8e6e028c203fc3f864e7def4a3a3e687e3af57e5c5482168f");
	webhook_sign(other, bytes_text("key"), 1700000001, bytes_text("a=b"));
	CHECK(strcmp(one, other) != 0);
	webhook_sign(other, bytes_text("kez"), 1700000000, bytes_text("a=b"));
	CHECK(strcmp(one, other) != 0);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	TEST(writes_a_form);
	TEST(leaves_out_what_was_taken);
	TEST(signs_timestamp_and_body);
	return test_finish();
}
