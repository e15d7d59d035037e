/* 8-bit mail for a next hop without 8BITMIME: what arrives is 7-bit and says the same, whatever the size; or it is bounced. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/delivery_stage.h"

#define TEXT_LINE                                                                                                                \
	"Gr\xc3\xbc\xc3\x9f"                                                                                                     \
	"e = \xe5\x8d\xb0\xe9\x91\x91 and a line of some length, so that there are soft breaks in it\r\n"
#define TEXT_HEAD                                                                                                                \
	"Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "          \
	"8bit\r\n\r\n"

static struct stage stage;
static struct sink *sink;

static void configure(const char *connections)
{
	stage_next_hop(&stage, "default", sink);
	stage_set(&stage, connections, "server default delivery-connections");
	stage_configure(&stage);
}

static void begin(void)
{
	stage_open(&stage);
	sink = sink_new(stage.base);
	sink->script.ehlo = "250-sink.example\r\n250-PIPELINING\r\n250 SIZE 100000000\r\n";
	stage_be_patient(&stage);
	configure("2");
}

static void end(void)
{
	sink_free(sink);
	stage_close(&stage);
}

static void post(const struct buf *body)
{
	const struct post message = {
	    .recipients = "b@example.net", .body = buf_bytes(body), .prefix = "Received: here\r\n", .body_type = QUEUE_8BITMIME};

	stage_post(&stage, &message);
	CHECK(stage_run_until(&stage, stage_committed, NULL));
}

static struct buf text_of(size_t lines)
{
	struct buf text = {0};

	for (size_t i = 0; i < lines; i++)
		buf_put_text(&text, TEXT_LINE);
	return text;
}

static struct buf message_of(const struct buf *text)
{
	struct buf message = {0};

	buf_put_text(&message, TEXT_HEAD);
	buf_put_bytes(&message, buf_bytes(text));
	return message;
}

static int hex_of(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 2045 §6.7, of what is well-formed. */
static struct buf decode_qp(struct bytes in)
{
	struct buf out = {0};

	for (size_t i = 0; i < in.len; i++) {
		if (in.data[i] != '=') {
			buf_put_byte(&out, in.data[i]);
		} else if (i + 2 < in.len) {
			if (in.data[i + 1] != '\r')
				buf_put_byte(&out, (uint8_t)(hex_of(in.data[i + 1]) * 16 + hex_of(in.data[i + 2])));
			i += 2;
		}
	}
	return out;
}

static void check_seven_bit(struct bytes octets)
{
	size_t line = 0, longest = 0, wide = 0;

	for (size_t i = 0; i < octets.len; i++) {
		wide += octets.data[i] >= 0x80;
		line = octets.data[i] == '\n' ? 0 : line + 1;
		longest = line > longest ? line : longest;
	}
	CHECK_INT(wide, 0);
	CHECK(longest <= 999);
}

static void check_converted(const struct sink_message *message, const struct buf *text)
{
	const char *content = buf_text(&((struct sink_message *)(uintptr_t)message)->content),
		   *body = strstr(content, "\r\n\r\n");
	char *size = mem_format("MAIL FROM:<a@example.com> SIZE=%zu", message->content.len);
	struct buf decoded;

	check_seven_bit(buf_bytes(&message->content));
	CHECK_TEXT(message->mail, size);
	CHECK(strncmp(content, "Received: here\r\nSubject: eight\r\n", 32) == 0);
	CHECK(strstr(content, "Content-Transfer-Encoding: quoted-printable\r\n") != NULL);
	if (CHECK(body != NULL)) {
		decoded =
		    decode_qp(bytes_slice(buf_bytes(&message->content), (size_t)(body + 4 - content), message->content.len));
		CHECK_BYTES(buf_bytes(&decoded), buf_bytes(text));
		buf_clear(&decoded);
	}
	free(size);
}

static void converts_whatever_the_size(void)
{
	static const size_t lines[] = {1,    12,   400,
				       1000, 9000, 40000}; /* 80 octets each: a line, in memory, over 32 KiB, to 3 MB */

	begin();
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
		struct buf text = text_of(lines[i]), message = message_of(&text);

		test_case("%zu lines", lines[i]);
		post(&message);
		CHECK(stage_drain(&stage));
		if (CHECK_INT(sink->n_messages, i + 1))
			check_converted(&sink->messages[i], &text);
		buf_clear(&text);
		buf_clear(&message);
	}
	end();
}

static void on_retried(uint64_t changed, const struct err *err, void *arg)
{
	(void)changed;
	(void)arg;
	CHECK_OK(err == NULL, err);
}

/* The next hop goes away at every stage of a conversion: nothing is lost, and nobody comes back to what is freed. */
static void a_connection_that_ends_meanwhile_costs_nothing(void)
{
	struct buf text = text_of(40000), message = message_of(&text);

	begin();
	for (int wait_ms = 0; wait_ms < 100; wait_ms += 10) {
		test_case("after %d ms", wait_ms);
		post(&message);
		stage_run_for(&stage, wait_ms);
		sink_down(sink);
		stage_run_for(&stage, 30);
		CHECK(sink_up(sink));
		configure(wait_ms % 12 == 0 ? "1" : "2");
		queue_set(stage.queue, &(struct queue_filter){0}, QUEUE_RETRY_NOW, on_retried, NULL);
		CHECK(stage_drain(&stage));
	}
	CHECK_INT(sink->n_messages, 10);
	for (size_t i = 0; i < sink->n_messages; i++)
		check_converted(&sink->messages[i], &text);
	buf_clear(&text);
	buf_clear(&message);
	end();
}

static void may_be_dropped_at_any_time(void)
{
	struct buf text = text_of(40000), message = message_of(&text);

	for (int wait_ms = 0; wait_ms < 60; wait_ms += 8) {
		begin();
		post(&message);
		stage_run_for(&stage, wait_ms);
		stage_stop_delivery(&stage, 0);
		end();
	}
	buf_clear(&text);
	buf_clear(&message);
}

static const struct {
	const char *name, *message, *why;
} refused[] = {
    {"a signed message",
     "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s\r\n\r\n--s\r\n"
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" TEXT_LINE "\r\n--s\r\n"
     "Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nMAAA\r\n--s--\r\n",
     "its signature would break"},
    {"a signed part",
     "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nhello\r\n--m\r\n"
     "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\r\n\r\n--s\r\n"
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" TEXT_LINE "\r\n--s\r\n"
     "Content-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n--m--\r\n",
     "an edit inside a signed part would break its signature"},
    {"a signed part of an enclosed message",
     "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: message/rfc822\r\n\r\n"
     "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=s\r\n\r\n--s\r\n"
     "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" TEXT_LINE "\r\n--s\r\n"
     "Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\nMAAA\r\n--s--\r\n--m--\r\n",
     "an edit inside a signed part would break its signature"},
};

static void bounces_what_it_would_break(void)
{
	begin();
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		struct buf message = {0};

		test_case("%s", refused[i].name);
		buf_printf(&message, "Subject: eight\r\nMIME-Version: 1.0\r\n%s", refused[i].message);
		post(&message);
		CHECK(stage_drain(&stage));
		if (CHECK_INT(sink->n_messages, i + 1)) {
			CHECK(strncmp(sink->messages[i].mail, "MAIL FROM:<>", 12) == 0);
			CHECK_CONTAINS(buf_text(&sink->messages[i].content), "Status: 5.6.3\r\n");
			CHECK_CONTAINS(buf_text(&sink->messages[i].content), refused[i].why);
		}
		buf_clear(&message);
	}
	end();
}

/* Beside the 8-bit part that is converted, a signed one that is 7-bit already stays as it is. */
static void leaves_signed_parts_alone(void)
{
	static const char sealed[] =
	    "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=s\r\n\r\n--s\r\n"
	    "Content-Type: text/plain\r\n\r\nFrom here  \r\nto there\r\n\r\n--s\r\n"
	    "Content-Type: application/pgp-signature\r\n\r\nx\r\n--s--\r\n";
	struct buf message = {0};

	begin();
	buf_printf(&message,
		   "Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n"
		   "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%s\r\n--m\r\n%s--m--\r\n",
		   TEXT_LINE, sealed);
	post(&message);
	CHECK(stage_drain(&stage));
	if (CHECK_INT(sink->n_messages, 1)) {
		check_seven_bit(buf_bytes(&sink->messages[0].content));
		CHECK_CONTAINS(buf_text(&sink->messages[0].content), sealed);
	}
	buf_clear(&message);
	end();
}

int main(void)
{
	TEST(converts_whatever_the_size);
	TEST(leaves_signed_parts_alone);
	TEST(bounces_what_it_would_break);
	TEST(a_connection_that_ends_meanwhile_costs_nothing);
	TEST(may_be_dropped_at_any_time);
	return test_finish();
}
