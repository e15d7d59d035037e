#include <stdlib.h>
#include <time.h>

#include "appliance/relay/signing/received.h"
#include "tests/unit/test.h"

static void check(enum config_received mode, const char *recipient, const char *want)
{
	const struct received_facts facts = {.mode = mode,
					     .client = "mail.example ([192.0.2.1])",
					     .by = "mx1.example.co.jp",
					     .protocol = "ESMTP",
					     .id = "1a2b",
					     .recipient = recipient,
					     .time = 1795525569};
	struct buf out = {0};

	received_field(&out, &facts);
	CHECK_TEXT(buf_text(&out), want);
	buf_clear(&out);
}

static void three_modes(void)
{
	setenv("TZ", "Asia/Tokyo", 1);
	tzset();
	check(CONFIG_RECEIVED_NORMAL, "dave@example.net",
	      "Received: from mail.example ([192.0.2.1])\r\n\tby mx1.example.co.jp with ESMTP id 1a2b\r\n"
	      "\tfor <dave@example.net>;\r\n\tTue, 24 Nov 2026 22:06:09 +0900\r\n");
	check(CONFIG_RECEIVED_NORMAL, NULL,
	      "Received: from mail.example ([192.0.2.1])\r\n\tby mx1.example.co.jp with ESMTP id 1a2b;\r\n"
	      "\tTue, 24 Nov 2026 22:06:09 +0900\r\n");
	check(CONFIG_RECEIVED_ABBREVIATED, "dave@example.net",
	      "Received: by mx1.example.co.jp with ESMTP id 1a2b;\r\n\tTue, 24 Nov 2026 22:06:09 +0900\r\n");
	check(CONFIG_RECEIVED_NONE, "dave@example.net", "");
}

int main(void)
{
	TEST(three_modes);
	return test_finish();
}
