/* Limits, timeouts and the health of the store: each with its reply, and what the session may do after it. */
#include <sys/socket.h>

#include "tests/unit/smtp_server_fixture.h"

#define GREETING "S: 220 mx.example ESMTP Inkan\n"
#define BEGIN "H:\nC: MAIL FROM:<a@a.example>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 Recipient ok\n"
#define DATA "C: DATA\nS: 354 End the message with <CR><LF>.<CR><LF>\n"
#define SENT "S: 250 2.0.0 Ok: queued as 1\n"
#define QUIT "C: QUIT\nS: 221 2.0.0 Bye\nE:\n"

static const char *const open_settings[] = {"smtp allow-network=127.0.0.0/8", NULL};

static struct peer join(const char *dialogue)
{
	struct peer peer;

	if (CHECK(peer_connect(&peer, fixture.base, fixture.port)))
		peer_talk(&peer, dialogue);
	return peer;
}

static const char *hello = FIXTURE_HELLO; /* what EHLO says in the next dialogue */

/* One dialogue under these settings. */
static void talk(const char *const *settings, const char *dialogue)
{
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	peer_hello = hello;
	hello = FIXTURE_HELLO;
	peer = join(GREETING);
	peer_talk(&peer, dialogue);
	peer_close(&peer);
	fixture_down();
}

static void counts_sessions_in_all(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-sessions=2", NULL};
	struct peer first, second, third;

	fixture_up();
	fixture_configure(settings);
	first = join(GREETING);
	second = join(GREETING);
	third = join("S: 421 4.7.0 Too many sessions; try again later\nE:\n");
	peer_close(&third);
	CHECK_INT(smtp_server_state(fixture.server).sessions, 2);
	peer_close(&second);
	peer_turn(fixture.base, 10);
	third = join(GREETING "C: NOOP\nS: 250 2.0.0 Ok\n");
	peer_close(&third);
	peer_close(&first);
	CHECK_INT(smtp_server_state(fixture.server).sessions_total, 4);
	fixture_down();
}

static void counts_sessions_of_a_client(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-sessions-per-client=1", NULL};
	struct peer first, second;

	fixture_up();
	fixture_configure(settings);
	first = join(GREETING);
	second = join("S: 421 4.7.0 Too many sessions from your address; try again later\nE:\n");
	peer_close(&second);
	peer_talk(&first, QUIT);
	peer_close(&first);
	second = join(GREETING);
	peer_close(&second);
	fixture_down();
}

static void counts_messages_of_a_session(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-messages-per-session=2", NULL};

	hello = FIXTURE_HELLO_HEAD "S: 250-LIMITS MAILMAX=2 RCPTMAX=1000\n" FIXTURE_HELLO_TAIL;
	talk(settings, BEGIN DATA "C: .\n" SENT BEGIN DATA "C: .\n" SENT
				  "C: MAIL FROM:<a@b>\nS: 421 4.7.0 Too many messages in one session; connect again\nE:\n");
}

static void counts_recipients(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-recipients=2", NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	peer_hello = FIXTURE_HELLO_HEAD "S: 250-LIMITS MAILMAX=10000 RCPTMAX=2\n" FIXTURE_HELLO_TAIL;
	peer = join(GREETING);
	peer_talk(&peer, BEGIN "C: RCPT TO:<c@c.example>\nS: 250 2.1.5 Recipient ok\nC: RCPT TO:<d@d.example>\n"
			       "S: 452 4.5.3 Too many recipients\n" DATA "C: .\n" SENT QUIT);
	CHECK_TEXT(buf_text(&got.recipients), "b@b.example c@c.example ");
	peer_close(&peer);
	fixture_down();
}

static void counts_bad_commands(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-bad-commands=3", NULL};

	talk(settings, "C: A\nC: NOOP\nC: B\nC: C\nC: D\nC: E\nS: 500 5.5.1 Unknown command\nS: 250 2.0.0 Ok\n"
		       "S: 500 5.5.1 Unknown command\nS: 500 5.5.1 Unknown command\nS: 421 4.7.0 Too many bad commands\nE:\n");
	test_case("a message that was taken sets the count back");
	talk(settings, "C: A\nS: 500 5.5.1 Unknown command\nC: B\nS: 500 5.5.1 Unknown command\n" BEGIN DATA "C: .\n" SENT
		       "C: A\nS: 500 5.5.1 Unknown command\nC: B\nS: 500 5.5.1 Unknown command\nC: NOOP\nS: 250 2.0.0 Ok\n");
	test_case("recipients that are wrong do not count");
	talk(
	    settings,
	    "H:\nC: MAIL FROM:<a@b>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<a@>\nC: RCPT TO:<b@>\nC: RCPT TO:<c@>\nC: RCPT TO:<d@>\n"
	    "S: 553 5.1.3 Bad recipient address syntax\nS: 553 5.1.3 Bad recipient address syntax\n"
	    "S: 553 5.1.3 Bad recipient address syntax\nS: 553 5.1.3 Bad recipient address syntax\n" QUIT);
}

static void declared_size_is_checked_at_mail(void)
{
	talk(open_settings, "H:\nC: MAIL FROM:<a@b> SIZE=1048577\nS: 552 5.3.4 Message exceeds the size limit\n"
			    "C: MAIL FROM:<a@b> SIZE=1048576\nS: 250 2.1.0 Sender ok\n");
}

static void put_lines(struct buf *out, size_t octets)
{
	while (out->len < octets) {
		size_t left = octets - out->len, line = left < 80 ? left - 2 : left == 81 ? 70 : 78;

		for (size_t i = 0; i < line; i++)
			buf_put_byte(out, 'x');
		buf_put_text(out, "\r\n");
	}
}

/* One session sends a message that is just right, one that is too large, then again one that is right. */
static void real_size_is_counted(void)
{
	static const struct {
		size_t octets;
		const char *reply;
	} cases[] = {{1048576, SENT},
		     {1048577, "S: 552 5.3.4 Message exceeds the size limit\n"},
		     {3 << 20, "S: 552 5.3.4 Message exceeds the size limit\n"},
		     {1048576, SENT}};
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	peer = join(GREETING);
	for (size_t i = 0; i < 4; i++) {
		struct buf message = {0};

		test_case("%zu octets", cases[i].octets);
		put_lines(&message, cases[i].octets);
		CHECK_INT(message.len, cases[i].octets);
		peer_talk(&peer, BEGIN DATA);
		peer_send(&peer, buf_bytes(&message));
		peer_talk(&peer, "C: .\n");
		peer_talk(&peer, cases[i].reply);
		peer_talk(&peer, BEGIN "C: BDAT 3\nR: a<CR><LF>\nS: 250 2.0.0 Chunk ok\n");
		buf_reset(&peer.out);
		buf_printf(&peer.out, "BDAT %zu LAST\r\n", cases[i].octets - 3);
		peer_send(&peer, buf_bytes(&peer.out));
		peer_send(&peer, bytes_slice(buf_bytes(&message), 3, message.len));
		peer_talk(&peer, cases[i].reply);
		buf_clear(&message);
	}
	CHECK_INT(got.finished, 4);
	CHECK_INT(got.aborted, 4);
	peer_talk(&peer, QUIT);
	peer_close(&peer);
	fixture_down();
}

static void the_health_of_the_store_decides_at_mail(void)
{
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	peer = join(GREETING "H:\n");
	smtp_server_set_health(fixture.server, QUEUE_FULL);
	peer_talk(&peer, "C: MAIL FROM:<a@b>\nS: 452 4.3.1 Insufficient system storage\n");
	smtp_server_set_health(fixture.server, QUEUE_FAILED);
	peer_talk(&peer, "C: MAIL FROM:<a@b>\nS: 451 4.3.0 The message store is not available; try again later\n");
	smtp_server_set_health(fixture.server, QUEUE_OK);
	peer_talk(&peer, "C: MAIL FROM:<a@b>\nS: 250 2.1.0 Sender ok\n");
	peer_close(&peer);
	fixture_down();
}

static struct peer impatient(int64_t idle_ms, int64_t session_ms)
{
	struct config *config = fixture_config(open_settings);

	fixture_up();
	config->servers[0].limits.idle_ms = idle_ms;
	config->servers[0].limits.session_ms = session_ms;
	fixture_run(config);
	return join(GREETING);
}

static void idle_sessions_end(void)
{
	static const struct {
		const char *name, *before;
	} cases[] = {
	    {"after the greeting", ""},
	    {"in a command", "R: MAIL FR\n"},
	    {"in an endless line", "R: NO<NUL>OP\nS: 500 5.5.2 NUL in a command\n"},
	    {"in a transaction", BEGIN},
	    {"in DATA", BEGIN DATA "C: x\n"},
	    {"in a chunk", BEGIN "C: BDAT 10\nR: x\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct peer peer = impatient(120, 60000);
		int64_t began = clock_monotonic_ms();

		test_case("%s", cases[i].name);
		peer_talk(&peer, cases[i].before);
		peer_talk(&peer, "S: 421 4.4.2 Nothing came for too long\nE:\n");
		CHECK(clock_monotonic_ms() - began >= 100);
		CHECK_INT(got.begun, got.aborted);
		peer_close(&peer);
		fixture_down();
	}
}

/* Commands keep it awake, octets that make no command do not. */
static void only_whole_commands_count_as_life(void)
{
	struct peer peer = impatient(150, 60000);

	for (int i = 0; i < 6; i++) {
		peer_talk(&peer, "C: NOOP\nS: 250 2.0.0 Ok\n");
		peer_turn(fixture.base, 50);
	}
	for (int i = 0; i < 6; i++) {
		peer_send(&peer, bytes_text("x"));
		peer_turn(fixture.base, 50);
	}
	peer_talk(&peer, "S: 421 4.4.2 Nothing came for too long\nE:\n");
	peer_close(&peer);
	fixture_down();
}

static void sessions_end_after_their_time(void)
{
	struct peer peer = impatient(60000, 200);

	for (int i = 0; i < 4; i++) {
		peer_talk(&peer, "C: NOOP\nS: 250 2.0.0 Ok\n");
		peer_turn(fixture.base, 30);
	}
	peer_talk(&peer, "S: 421 4.4.2 The session lasted too long\nE:\n");
	peer_close(&peer);
	fixture_down();
}

/* A message that is on its way when the session's time is over may go on for as long again. */
static void a_message_may_outlast_the_session(void)
{
	struct peer peer = impatient(60000, 300);

	peer_talk(&peer, BEGIN DATA "C: x\n");
	peer_turn(fixture.base, 400);
	peer_talk(&peer, "C: .\n" SENT);
	peer_talk(&peer, BEGIN DATA "S: 421 4.4.2 The session lasted too long\nE:\n");
	peer_close(&peer);
	fixture_down();
}

static void waiting_for_us_is_not_idle(void)
{
	struct peer peer = impatient(60, 100);

	fake.delay_ms = 400;
	peer_talk(&peer, BEGIN DATA "C: .\n" SENT "S: 421 4.4.2 The session lasted too long\nE:\n");
	peer_close(&peer);
	fixture_down();
}

/* A client that never reads its replies is not read from either, and does not make us hoard them. */
static void replies_nobody_reads_are_bounded(void)
{
	struct peer peer;
	char noops[6 * 1000];
	size_t all = 0;

	fixture_up();
	fixture_configure(open_settings);
	for (size_t i = 0; i < sizeof noops; i += 6)
		memcpy(noops + i, "NOOP\r\n", 6);
	peer = join(GREETING);
	for (int quiet = 0; quiet < 50 && all < (64u << 20);) {
		ssize_t sent = send(peer.fd, noops + all % 6, sizeof noops - all % 6, MSG_NOSIGNAL | MSG_DONTWAIT);

		all += sent > 0 ? (size_t)sent : 0;
		quiet = sent > 0 ? 0 : quiet + 1;
		peer_turn(fixture.base, sent > 0 ? 0 : 1);
	}
	CHECK(all < (64u << 20));
	for (size_t i = 0; i < all / 6; i++) { /* and every whole command is answered once the client reads */
		const char *line = peer_line(&peer, 5000);

		if (!CHECK_TEXT(line == NULL ? "(nothing)" : line, "250 2.0.0 Ok"))
			break;
	}
	peer_close(&peer);
	fixture_down();
}

/* From half of the allowed faults on each reply waits, and what is pipelined behind it too. */
static void faulty_clients_are_slowed_down(void)
{
	struct config *config = fixture_config(open_settings);
	struct peer peer;
	int64_t began;

	fixture_up();
	config->servers[0].limits.bad_commands = 4;
	config->servers[0].limits.bad_command_delay_ms = 150;
	fixture_run(config);
	peer = join(GREETING);
	peer_talk(&peer, "C: A\nS: 500 5.5.1 Unknown command\nC: A\nS: 500 5.5.1 Unknown command\n");
	began = clock_monotonic_ms();
	peer_talk(&peer, "C: NOOP\nC: A\nC: NOOP\nS: 250 2.0.0 Ok\n- \nS: 500 5.5.1 Unknown command\nS: 250 2.0.0 Ok\n");
	CHECK(clock_monotonic_ms() - began >= 140);
	peer_talk(&peer, "C: A\nS: 500 5.5.1 Unknown command\nS: 421 4.7.0 Too many bad commands\nE:\n");
	peer_close(&peer);
	fixture_down();
}

static void a_held_client_that_goes_leaves_nothing(void)
{
	struct config *config = fixture_config(open_settings);
	struct peer peer;

	fixture_up();
	config->servers[0].limits.bad_commands = 2;
	config->servers[0].limits.receive_interval_ms = 25000;
	fixture_run(config);
	peer = join(GREETING);
	peer_talk(&peer, BEGIN "C: RSET\nS: 250 2.0.0 Ok\nC: MAIL FROM:<a@b>\n- \n");
	CHECK_INT(smtp_server_state(fixture.server).sessions, 1);
	shutdown(peer.fd, SHUT_RDWR);
	peer_close(&peer);
	peer = join(GREETING);
	peer_talk(&peer, "H:\nC: MAIL FROM:<a@b>\n- \n"); /* it is held as well when the server goes */
	peer_close(&peer);
	fixture_down();
}

static void counts_messages_a_minute_of_a_client(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-messages-per-minute=2", NULL};
	struct peer first, second;

	fixture_up();
	fixture_configure(settings);
	first = join(GREETING BEGIN DATA
		     "C: .\n" SENT BEGIN DATA "C: .\n" SENT
		     "C: MAIL FROM:<a@b>\nS: 450 4.7.1 Too many messages from your address; try again later\n" QUIT);
	second = join(GREETING "H:\nC: MAIL FROM:<a@b>\nS: 450 4.7.1 Too many messages from your address; try again later\n");
	peer_close(&first);
	peer_close(&second);
	fixture_down();
}

static void messages_keep_their_interval(void)
{
	struct config *config = fixture_config(open_settings);
	int64_t began = clock_monotonic_ms();
	struct peer peer;

	fixture_up();
	config->servers[0].limits.receive_interval_ms = 100;
	fixture_run(config);
	peer = join(GREETING BEGIN DATA "C: .\n" SENT BEGIN DATA "C: .\n" SENT BEGIN DATA "C: .\n" SENT);
	CHECK(clock_monotonic_ms() - began >= 190);
	peer_close(&peer);
	fixture_down();
}

/* A commit that shortens the timeout counts for those who are silent already. */
static void a_shorter_timeout_reaches_idle_sessions(void)
{
	struct peer peer = impatient(60000, 60000);
	struct config *config = fixture_config(open_settings);

	config->servers[0].limits.idle_ms = 100;
	fixture_run(config);
	peer_talk(&peer, "S: 421 4.4.2 Nothing came for too long\nE:\n");
	peer_close(&peer);
	fixture_down();
}

static void commands_have_a_length(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp max-command-length=1K", NULL};
	char text[1200] = "C: NOOP ";

	memset(text + 8, 'x', 1022 - 5);
	strcpy(text + 8 + 1022 - 5, "\nS: 250 2.0.0 Ok\n");
	talk(settings, text);
	memset(text + 8, 'x', 1023 - 5);
	strcpy(text + 8 + 1023 - 5, "\nS: 500 5.5.2 Command line too long\n");
	talk(settings, text);
}

static void line_ends_are_mended_where_that_is_wanted(void)
{
	static const char *const settings[] = {"smtp allow-network=127.0.0.0/8", "smtp bare-line-ends=normalise", NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	peer = join(GREETING BEGIN DATA "R: a<LF>.<LF>MAIL FROM:<c@d><CR><LF>.<CR><LF>\n" SENT);
	CHECK_TEXT(buf_text(&got.content), "a\r\n.\r\nMAIL FROM:<c@d>\r\n");
	peer_talk(&peer, BEGIN "C: BDAT 3\nR: a<LF>b\nS: 250 2.0.0 Chunk ok\nC: BDAT 1 LAST\nR: <CR>\n" SENT);
	CHECK_TEXT(buf_text(&got.content), "a\r\nb\r\n");
	peer_close(&peer);
	fixture_down();
}

int main(void)
{
	TEST(counts_sessions_in_all);
	TEST(counts_sessions_of_a_client);
	TEST(counts_messages_of_a_session);
	TEST(counts_recipients);
	TEST(counts_bad_commands);
	TEST(declared_size_is_checked_at_mail);
	TEST(real_size_is_counted);
	TEST(the_health_of_the_store_decides_at_mail);
	TEST(idle_sessions_end);
	TEST(only_whole_commands_count_as_life);
	TEST(sessions_end_after_their_time);
	TEST(a_message_may_outlast_the_session);
	TEST(waiting_for_us_is_not_idle);
	TEST(replies_nobody_reads_are_bounded);
	TEST(faulty_clients_are_slowed_down);
	TEST(a_held_client_that_goes_leaves_nothing);
	TEST(counts_messages_a_minute_of_a_client);
	TEST(messages_keep_their_interval);
	TEST(a_shorter_timeout_reaches_idle_sessions);
	TEST(commands_have_a_length);
	TEST(line_ends_are_mended_where_that_is_wanted);
	return test_finish();
}
