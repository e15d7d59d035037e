/* The engine against a scriptable server, with the real queue: what arrives, what stays queued, what is bounced. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "appliance/relay/mime/rendering.h"
#include "tests/unit/delivery_stage.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char hello[] = "Subject: hello\r\n\r\n.dot\r\nend\r\n";

static struct stage stage;
static struct sink *sink;

static void begin(void)
{
	stage_open(&stage);
	sink = sink_new(stage.base);
	stage_next_hop(&stage, "default", sink);
}

static void end(void)
{
	sink_free(sink);
	stage_close(&stage);
}

static void post(const char *recipients)
{
	const struct post message = {.recipients = recipients, .body = bytes_text(hello), .prefix = "Received: here\r\n"};

	stage_post(&stage, &message);
}

static const char *content(size_t i)
{
	return i < sink->n_messages ? buf_text(&sink->messages[i].content) : "";
}

static const char *rcpt(size_t i)
{
	return i < sink->n_messages ? buf_text(&sink->messages[i].rcpt) : "";
}

static bool has_arrived(struct stage *unused, const void *count)
{
	(void)unused;
	return sink->n_messages >= *(const size_t *)count;
}

static bool wait_for_messages(size_t count)
{
	return stage_run_until(&stage, has_arrived, &count);
}

/* ---- What goes out ---- */

static void delivers_what_was_stored(void)
{
	begin();
	stage_configure(&stage);
	post("b@example.net c@example.net");
	CHECK(stage_drain(&stage));
	if (CHECK_INT(sink->n_messages, 1)) {
		CHECK_TEXT(sink->messages[0].mail, "MAIL FROM:<a@example.com> SIZE=45 BODY=7BIT");
		CHECK_TEXT(rcpt(0), "b@example.net\nc@example.net\n");
		CHECK_TEXT(content(0), "Received: here\r\nSubject: hello\r\n\r\n.dot\r\nend\r\n");
	}
	CHECK_INT(delivery_state(stage.delivery).delivered_total, 2);
	end();
}

static void post_signed(const struct rendering *rendering, uint64_t size)
{
	struct buf addition = {0};
	struct post message = {.recipients = "b@example.net",
			       .body = bytes_text(hello),
			       .prefix = "R: x\r\n",
			       .is_signed = true,
			       .body_type = QUEUE_8BITMIME,
			       .signed_size = size};

	if (rendering != NULL)
		rendering_encode(&addition, rendering);
	message.addition = buf_bytes(&addition);
	stage_post(&stage, &message);
	buf_clear(&addition);
}

static void delivers_the_signed_rendering(void)
{
	struct rendering rendering = {0};

	rendering_add_literal(&rendering, bytes_text("MIME: outer\r\n"));
	rendering_add_range(&rendering, PIECE_ORIGINAL, 9, 5);
	rendering_add_literal(&rendering, bytes_text("\r\n.\r\n--end\r\n"));
	begin();
	stage_configure(&stage);
	post_signed(&rendering, 6 + rendering.size);
	CHECK(stage_drain(&stage));
	if (CHECK_INT(sink->n_messages, 1)) {
		CHECK_TEXT(sink->messages[0].mail, "MAIL FROM:<a@example.com> SIZE=36 BODY=7BIT");
		CHECK_TEXT(content(0), "R: x\r\nMIME: outer\r\nhello\r\n.\r\n--end\r\n");
	}
	rendering_clear(&rendering);
	end();
}

/* Each of these must hold the mail and put nothing on the wire: above all not the plain rendering. */
static void a_damaged_signed_rendering_is_held(void)
{
	static const struct {
		const char *name;
		bool empty;
		uint64_t offset, length, stored_size;
	} cases[] = {
	    {"no addition", true, 0, 0, 40},
	    {"range beyond the original", false, 20, 100, 112},
	    {"offset that overflows", false, UINT64_MAX - 2, 5, 17},
	    {"another size than was stored", false, 0, 5, 18},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct rendering rendering = {0};

		test_case("%s", cases[i].name);
		rendering_add_literal(&rendering, bytes_text("MIME\r\n"));
		rendering_add_range(&rendering, PIECE_ORIGINAL, cases[i].offset, cases[i].length);
		begin();
		stage_configure(&stage);
		post_signed(cases[i].empty ? NULL : &rendering, cases[i].stored_size);
		CHECK(stage_settle(&stage, 1));
		CHECK_TEXT(stage_row(&stage, "b@example.net").state, "held");
		CHECK_INT(sink->n_messages, 0);
		CHECK_INT(sink->torn, 0);
		rendering_clear(&rendering);
		end();
	}
}

static void put_lines(struct buf *body, size_t size)
{
	for (unsigned i = 0; body->len < size; i++)
		buf_printf(body, "%sline %u of a body that is larger than any buffer\r\n", i % 7 == 0 ? "." : "", i);
}

static void streams_a_large_message_to_a_slow_server(void)
{
	struct buf body = {0}, big = {0};
	struct post message = {.recipients = "b@example.net", .prefix = "R: x\r\n"};

	put_lines(&body, 3 << 20);
	message.body = buf_bytes(&body);
	begin();
	sink->script.read_slowly = true;
	stage_be_patient(&stage); /* the kernel's buffers hold much of it when the last octet is written */
	stage_configure(&stage);
	stage_post(&stage, &message);
	CHECK(stage_drain(&stage));
	buf_put_text(&big, message.prefix);
	buf_put_bytes(&big, message.body);
	if (CHECK_INT(sink->n_messages, 1))
		CHECK(bytes_equal(buf_bytes(&sink->messages[0].content), buf_bytes(&big)));
	buf_clear(&body);
	buf_clear(&big);
	end();
}

/* Overwrites an octet in the middle of the one body file. */
static bool damage_file(void)
{
	char *command = mem_format(
	    "f=$(find %s/spool -type f) && test -n \"$f\" && printf X | dd of=\"$f\" bs=1 seek=1000000 conv=notrunc status=none",
	    stage.directory);
	bool damaged = system(command) == 0;

	free(command);
	return damaged;
}

static bool is_torn(struct stage *unused, const void *arg)
{
	(void)unused;
	(void)arg;
	return sink->torn == 1;
}

static void a_damaged_body_is_dropped_before_the_final_dot(void)
{
	struct buf body = {0};
	struct post message = {.recipients = "b@example.net"};

	put_lines(&body, 2 << 20);
	message.body = buf_bytes(&body);
	begin();
	stage_post(&stage, &message);
	CHECK(stage_run_until(&stage, stage_committed, NULL));
	CHECK(damage_file());
	stage_configure(&stage);
	CHECK(stage_settle(&stage, 1));
	CHECK_TEXT(stage_row(&stage, "b@example.net").state, "held");
	CHECK_INT(sink->n_messages, 0);
	CHECK(stage_run_until(&stage, is_torn, NULL));
	buf_clear(&body);
	end();
}

/* ---- What the server answers ---- */

static void each_recipient_gets_its_own_result(void)
{
	static const struct sink_recipient exceptions[] = {{"no@example.net", "550 5.1.1 no such user\r\n"},
							   {"later@example.net", "450-4.2.1 busy\r\n450 4.2.1 try later\r\n"},
							   {NULL, NULL}};

	begin();
	sink->script.recipients = exceptions;
	stage_configure(&stage);
	post("yes@example.net no@example.net later@example.net");
	CHECK(wait_for_messages(2));
	CHECK(stage_settle(&stage, 4));
	CHECK_TEXT(rcpt(0), "yes@example.net\n");
	CHECK_TEXT(rcpt(1), "a@example.com\n");
	CHECK_CONTAINS(content(1), "Final-Recipient: rfc822; no@example.net\r\n");
	CHECK_CONTAINS(content(1), "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n");
	CHECK_CONTAINS(content(1), "Content-Type: text/rfc822-headers\r\n");
	CHECK(strstr(content(1), "later@example.net") == NULL);
	CHECK_CONTAINS(sink->n_messages > 1 ? sink->messages[1].mail : "", "MAIL FROM:<> ");
	CHECK_TEXT(stage_row(&stage, "later@example.net").reply, "450 4.2.1 busy 4.2.1 try later");
	CHECK_INT(stage_row(&stage, "later@example.net").attempts, 1);
	CHECK(!stage_row(&stage, "no@example.net").found);
	CHECK_INT(delivery_state(stage.delivery).bounced_total, 1);
	end();
}

enum outcome { DELIVERED, DEFERRED, BOUNCED };

struct answer_case {
	const char *name;
	struct sink_script script;
	enum outcome outcome;
	const char *reply; /* part of what is kept of a deferred one */
};

static const struct answer_case answer_cases[] = {
    {"greeting 4xx", {.greeting = "421 4.3.2 not now\r\n"}, DEFERRED, "421 4.3.2 not now"},
    {"greeting 5xx", {.greeting = "554 5.3.2 never\r\n"}, DEFERRED, "554 5.3.2 never"},
    {"greeting drop", {.greeting = SINK_DROP}, DEFERRED, "while we waited for the greeting"},
    {"greeting silent", {.greeting = SINK_SILENT}, DEFERRED, "no answer in time while we waited for the greeting"},
    {"greeting garbage", {.greeting = "SSH-2.0-OpenSSH_9.2\r\n"}, DEFERRED, "malformed reply"},
    {"greeting of several lines", {.greeting = "220-a\r\n220-b\r\n220 c\r\n"}, DELIVERED, NULL},
    {"EHLO 5xx, HELO good", {.ehlo = "502 5.5.1 what?\r\n"}, DELIVERED, NULL},
    {"EHLO 5xx, HELO 5xx", {.ehlo = "502 5.5.1 what?\r\n", .helo = "550 no\r\n"}, DEFERRED, "550 no"},
    {"EHLO 4xx", {.ehlo = "451 4.3.0 no\r\n"}, DEFERRED, "451 4.3.0 no"},
    {"EHLO drop", {.ehlo = SINK_DROP}, DEFERRED, "the reply to EHLO"},
    {"EHLO silent", {.ehlo = SINK_SILENT}, DEFERRED, "the reply to EHLO"},
    {"EHLO with code alone", {.ehlo = "250\r\n"}, DELIVERED, NULL},
    {"MAIL 4xx", {.mail = "451 4.7.1 greylisted\r\n"}, DEFERRED, "451 4.7.1 greylisted"},
    {"MAIL 421", {.mail = "421 4.3.2 closing\r\n"}, DEFERRED, "421 4.3.2 closing"},
    {"MAIL drop", {.mail = SINK_DROP}, DEFERRED, "the reply to MAIL or RCPT"},
    {"MAIL silent", {.mail = SINK_SILENT}, DEFERRED, "the reply to MAIL or RCPT"},
    {"MAIL garbage", {.mail = "25x Ok\r\n"}, DEFERRED, "malformed reply"},
    {"MAIL 3xx", {.mail = "354 what\r\n"}, DEFERRED, "354 what"},
    {"RCPT 4xx", {.rcpt = "450 4.2.0 busy\r\n"}, DEFERRED, "450 4.2.0 busy"},
    {"RCPT 251", {.rcpt = "251 2.1.5 will forward\r\n"}, DELIVERED, NULL},
    {"RCPT 552 is too many", {.rcpt = "552 5.5.3 too many\r\n"}, DEFERRED, "552 5.5.3 too many"},
    {"RCPT drop", {.rcpt = SINK_DROP}, DEFERRED, "the reply to MAIL or RCPT"},
    {"RCPT silent", {.rcpt = SINK_SILENT}, DEFERRED, "the reply to MAIL or RCPT"},
    {"DATA 4xx", {.data = "451 4.3.0 no room\r\n"}, DEFERRED, "451 4.3.0 no room"},
    {"DATA 2xx", {.data = "250 what\r\n"}, DEFERRED, "250 what"},
    {"DATA drop", {.data = SINK_DROP}, DEFERRED, "the reply to DATA"},
    {"DATA silent", {.data = SINK_SILENT}, DEFERRED, "the reply to DATA"},
    {"content drop", {.content_max = 10, .content = SINK_DROP}, DEFERRED, "while we waited for"},
    {"final 4xx", {.final = "451 4.3.0 disk\r\n"}, DEFERRED, "451 4.3.0 disk"},
    {"final 421", {.final = "421 4.3.0 bye\r\n"}, DEFERRED, "421 4.3.0 bye"},
    {"final 354", {.final = "354 more\r\n"}, DEFERRED, "354 more"},
    {"final drop", {.final = SINK_DROP}, DEFERRED, "the reply to the message"},
    {"final silent", {.final = SINK_SILENT}, DEFERRED, "the reply to the message"},
    {"final of several lines", {.final = "250-2.0.0 a\r\n250 2.0.0 b\r\n"}, DELIVERED, NULL},
    {"octet by octet", {.answer_slowly = true}, DELIVERED, NULL},
    {"QUIT silent", {.quit = SINK_SILENT}, DELIVERED, NULL},
    {"QUIT drop", {.quit = SINK_DROP}, DELIVERED, NULL},
};

static void check_answer(const struct answer_case *c)
{
	begin();
	sink->script = c->script;
	if (c->outcome == DELIVERED)
		stage_be_patient(&stage);
	stage_configure(&stage);
	post("b@example.net");
	if (c->outcome == DELIVERED) {
		CHECK(stage_drain(&stage));
		CHECK_INT(sink->n_messages, 1);
	} else {
		CHECK(stage_settle(&stage, 1));
		CHECK_CONTAINS(stage_row(&stage, "b@example.net").reply, c->reply);
		CHECK_TEXT(stage_row(&stage, "b@example.net").state, "waiting");
		CHECK_INT(sink->n_messages, 0);
		CHECK(stage_row(&stage, "b@example.net").due > clock_wall_ms() + 30000);
	}
	CHECK_INT(delivery_state(stage.delivery).bounced_total, 0);
	end();
}

static void survives_every_answer(void)
{
	for (size_t i = 0; i < COUNT(answer_cases); i++) {
		test_case("%s", answer_cases[i].name);
		check_answer(&answer_cases[i]);
	}
}

static void permanent_refusals_bounce_at_every_stage(void)
{
	static const struct {
		const char *name;
		struct sink_script script;
		const char *diagnostic;
	} cases[] = {
	    {"MAIL", {.mail = "550 5.7.1 not you\r\n"}, "550 5.7.1 not you"},
	    {"RCPT", {.rcpt = "550 5.1.1 nobody\r\n"}, "550 5.1.1 nobody"},
	    {"DATA", {.data = "554 5.6.0 no\r\n"}, "554 5.6.0 no"},
	    {"content", {.content_max = 10, .content = "552 5.3.4 too big\r\n"}, "552 5.3.4 too big"},
	    {"final", {.final = "550 5.7.0 spam\r\n"}, "550 5.7.0 spam"},
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct post message = {.recipients = "b@example.net", .body = bytes_text(hello), .ret = QUEUE_RETURN_FULL};

		test_case("%s", cases[i].name);
		begin();
		sink->script = cases[i].script;
		sink->script.once = true;
		stage_configure(&stage);
		stage_post(&stage, &message);
		CHECK(stage_settle(&stage, 2));
		CHECK_INT(delivery_state(stage.delivery).failed_total, 1);
		CHECK_INT(delivery_state(stage.delivery).bounced_total, 1);
		CHECK_INT(sink->n_messages, 1);
		CHECK_TEXT(rcpt(0), "a@example.com\n");
		CHECK_CONTAINS(content(0), cases[i].diagnostic);
		CHECK_CONTAINS(content(0), "Content-Type: message/rfc822\r\n");
		end();
	}
}

int main(void)
{
	TEST(delivers_what_was_stored);
	TEST(delivers_the_signed_rendering);
	TEST(a_damaged_signed_rendering_is_held);
	TEST(streams_a_large_message_to_a_slow_server);
	TEST(a_damaged_body_is_dropped_before_the_final_dot);
	TEST(each_recipient_gets_its_own_result);
	TEST(survives_every_answer);
	TEST(permanent_refusals_bounce_at_every_stage);
	return test_finish();
}
