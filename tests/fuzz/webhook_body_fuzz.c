/* Events of any texts as what a webhook is sent: a form of plain characters whose `event` is JSON with each text in it. */
#include <jansson.h>
#include <stdio.h>

#include "appliance/relay/webhook/webhook_body.h"
#include "tests/fuzz/fuzz.h"

static char *unescape(const char *text)
{
	struct buf out = {0};
	char *plain;

	for (; *text != '\0' && *text != '&'; text++) {
		unsigned value;

		if (*text != '%') {
			buf_put_byte(&out, (uint8_t)*text);
			continue;
		}
		require(sscanf(text + 1, "%2X", &value) == 1);
		buf_put_byte(&out, (uint8_t)value);
		text += 2;
	}
	plain = mem_string(buf_text(&out));
	buf_clear(&out);
	return plain;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = bytes_string(bytes_of(data, size)), *json;
	struct event_row row = {
	    .id = 5,
	    .created = 1795500000000,
	    .status = QUEUE_LOG_SUCCEEDED,
	    .return_path = text,
	    .from = text,
	    .to = text,
	    .message_id = text,
	    .reason = text,
	    .client_ip = "192.0.2.1",
	    .source_ip = "",
	    .subject = text,
	    .api_data = text,
	};
	struct buf out = {0};
	const char *event;
	json_t *read;

	require(webhook_body_write(&out, text, "server", API_DELIVERIES, &row, 1, 4) == 1);
	for (const char *c = buf_text(&out); *c != '\0'; c++)
		require(*c > ' ' && (unsigned char)*c < 0x7f);
	event = strstr(buf_text(&out), "&event=");
	require(event != NULL);
	json = unescape(event + 7);
	read = json_loads(json, 0, NULL);
	require(read != NULL);
	json_decref(read);
	free(json);
	require(webhook_body_write(&out, NULL, "server", API_DELIVERIES, &row, 1, 5) == 0);
	buf_clear(&out);
	free(text);
	return 0;
}
