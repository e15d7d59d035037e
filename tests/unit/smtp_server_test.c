/* Who may send, AUTH, configurations that change under sessions, the end, and what an idle session costs. */
#include <malloc.h>
#include <sys/socket.h>

#include "tests/unit/smtp_server_fixture.h"

#define GREETING "S: 220 mx.example ESMTP Inkan\n"
#define MAIL "C: MAIL FROM:<a@a.example>\nS: 250 2.1.0 Sender ok\n"
#define RCPT "C: RCPT TO:<b@b.example>\nS: 250 2.1.5 Recipient ok\n"
#define DENIED "C: RCPT TO:<b@b.example>\nS: 550 5.7.1 Relaying denied\n"
#define DATA "C: DATA\nS: 354 End the message with <CR><LF>.<CR><LF>\n"
#define SENT "S: 250 2.0.0 Ok: queued as 1\n"
#define QUIT "C: QUIT\nS: 221 2.0.0 Bye\nE:\n"
#define RIGHT "C: AUTH PLAIN AHRhcm8Ac2VjcmV0\nS: 235 2.7.0 Authentication successful\n" /* \0taro\0secret */

static const char *const open_settings[] = {"smtp allow-network=127.0.0.0/8", NULL};

/* taro, password "secret": a real yescrypt hash of the least cost */
static const char *password_setting(void)
{
	static char setting[256];
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data data = {0};

	if (*setting == '\0' && crypt_gensalt_rn("$y$", 1, NULL, 0, salt, sizeof salt) != NULL)
		snprintf(setting, sizeof setting, "user taro password=%s", crypt_rn("secret", salt, &data, sizeof data));
	return setting;
}

static struct peer join(const char *dialogue)
{
	struct peer peer;

	if (CHECK(peer_connect(&peer, fixture.base, fixture.port)))
		peer_talk(&peer, dialogue);
	return peer;
}

static void talk(const char *const *settings, const char *dialogue)
{
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	if (strstr(dialogue, "AUTH") != NULL)
		peer_hello = FIXTURE_HELLO_AUTH;
	peer = join(GREETING);
	peer_talk(&peer, dialogue);
	peer_close(&peer);
	fixture_down();
}

/* The table of server.h. "in" and "out": whether 127.0.0.1 is in an allowed network. */
static void admits_by_network_and_password(void)
{
	static const struct {
		const char *name, *network, *auth, *dialogue;
		bool offered; /* AUTH, in EHLO */
	} cases[] = {
	    {"none, in", "127.0.0.0/8", "none",
	     "H:\n" MAIL RCPT "C: AUTH PLAIN\nS: 503 5.5.1 AUTH is not allowed during a transaction\n", false},
	    {"none, out", "192.0.2.0/24", "none", "H:\n" MAIL DENIED "C: DATA\nS: 554 5.5.1 No valid recipients\n" QUIT, false},
	    {"offered, in", "127.0.0.0/8", "offered", "H:\n" MAIL RCPT "C: RSET\nS: 250 2.0.0 Ok\n" RIGHT MAIL RCPT, true},
	    {"offered, out", "192.0.2.0/24", "offered",
	     "H:\nC: AUTH PLAIN AHRhcm8Ac2VjcmV0\nS: 502 5.5.1 AUTH is not available\n" MAIL DENIED, false},
	    {"offered, no network configured", NULL, "offered", "H:\n" MAIL DENIED, false},
	    {"optional, in", "127.0.0.1", "optional", "H:\n" MAIL RCPT, true},
	    {"optional, out", "192.0.2.0/24", "optional", "H:\n" MAIL DENIED "C: RSET\nS: 250 2.0.0 Ok\n" RIGHT MAIL RCPT, true},
	    {"required, in", "127.0.0.1", "required",
	     "H:\nC: MAIL FROM:<a@b>\nS: 530 5.7.0 Authentication required\n" RIGHT MAIL RCPT, true},
	    {"required, out", "192.0.2.0/24", "required",
	     "H:\nC: AUTH PLAIN AHRhcm8Ac2VjcmV0\nS: 502 5.5.1 AUTH is not available\nC: MAIL FROM:<a@b>\n"
	     "S: 530 5.7.0 Authentication required\n",
	     false},
	    {"required, no network configured", NULL, "required", "H:\n" RIGHT MAIL RCPT, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *auth = mem_format("smtp auth=%s", cases[i].auth),
		     *network = mem_format("smtp allow-network=%s", cases[i].network);
		const char *settings[] = {auth, password_setting(),
					  "smtp auth-without-tls=", cases[i].network == NULL ? NULL : network, NULL};
		struct peer peer;

		test_case("%s", cases[i].name);
		fixture_up();
		fixture_configure(settings);
		peer_hello = cases[i].offered ? FIXTURE_HELLO_AUTH : FIXTURE_HELLO;
		peer = join(GREETING);
		peer_talk(&peer, cases[i].dialogue);
		peer_close(&peer);
		fixture_down();
		free(auth);
		free(network);
	}
}

static void speaks_plain_and_login(void)
{
	const char *settings[] = {"smtp auth=optional", "smtp auth-without-tls=", password_setting(), NULL};
	static const struct {
		const char *name, *dialogue;
	} cases[] = {
	    {"PLAIN at once", RIGHT},
	    {"PLAIN asked for", "C: AUTH PLAIN\nS: 334 \nC: AHRhcm8Ac2VjcmV0\nS: 235 2.7.0 Authentication successful\n"},
	    {"PLAIN for oneself", "C: AUTH plain dGFybwB0YXJvAHNlY3JldA==\nS: 235 2.7.0 Authentication successful\n"},
	    {"PLAIN for another", "C: AUTH PLAIN aGFuYQB0YXJvAHNlY3JldA==\nS: 535 5.7.8 Authentication credentials invalid\n"},
	    {"LOGIN", "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGFybw==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\n"
		      "S: 235 2.7.0 Authentication successful\n"},
	    {"LOGIN with the name at once",
	     "C: AUTH LOGIN dGFybw==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 2.7.0 Authentication successful\n"},
	    {"a wrong password", "C: AUTH PLAIN AHRhcm8Ac2VjcmV1\nS: 535 5.7.8 Authentication credentials invalid\n" RIGHT},
	    {"a wrong user", "C: AUTH PLAIN AGhhbmEAc2VjcmV0\nS: 535 5.7.8 Authentication credentials invalid\n"},
	    {"an empty password", "C: AUTH PLAIN AHRhcm8A\nS: 535 5.7.8 Authentication credentials invalid\n"},
	    {"an empty response", "C: AUTH PLAIN =\nS: 535 5.7.8 Authentication credentials invalid\n"},
	    {"the hash is no password",
	     "C: AUTH LOGIN dGFybw==\nS: 334 UGFzc3dvcmQ6\nC: JHkkajlU\nS: 535 5.7.8 Authentication credentials invalid\n"},
	    {"cancelled",
	     "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 5.7.0 Authentication cancelled\nC: NOOP\nS: 250 2.0.0 Ok\n"},
	    {"not base64", "C: AUTH PLAIN !\nS: 501 5.5.2 Cannot decode the response\nC: NOOP\nS: 250 2.0.0 Ok\n"},
	    {"a response with NUL",
	     "C: AUTH PLAIN\nS: 334 \nR: A<NUL>A\nS: 500 5.5.2 NUL in a command\nR: A<CR><LF>\nC: NOOP\nS: 250 2.0.0 Ok\n"},
	    {"another mechanism", "C: AUTH CRAM-MD5\nS: 504 5.5.4 The mechanisms are PLAIN and LOGIN\n"},
	    {"no mechanism", "C: AUTH\nS: 501 5.5.4 Syntax: AUTH mechanism [initial-response]\n"},
	    {"twice", RIGHT "C: AUTH PLAIN AHRhcm8Ac2VjcmV0\nS: 503 5.5.1 Already authenticated\n"},
	    {"commands behind it wait",
	     "C: AUTH PLAIN AHRhcm8Ac2VjcmV0\nC: NOOP\nS: 235 2.7.0 Authentication successful\nS: 250 2.0.0 Ok\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *dialogue = mem_format("H:\n%s" QUIT, cases[i].dialogue);

		test_case("%s", cases[i].name);
		talk(settings, dialogue);
		free(dialogue);
	}
}

static void names_the_user_to_the_submission(void)
{
	const char *settings[] = {"smtp auth=optional", "smtp auth-without-tls=", password_setting(), NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	peer_hello = FIXTURE_HELLO_AUTH;
	peer = join(GREETING "H:\n" RIGHT MAIL RCPT DATA "C: .\n" SENT);
	CHECK_TEXT(got.user, "taro");
	CHECK_TEXT(got.protocol, "ESMTPA");
	peer_close(&peer);
	fixture_down();
}

static void offers_no_password_without_tls(void)
{
	const char *settings[] = {"smtp auth=optional", password_setting(), NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	peer = join(GREETING "H:\nC: AUTH PLAIN AHRhcm8Ac2VjcmV0\nS: 538 5.7.11 AUTH needs an encrypted connection\n");
	peer_close(&peer);
	fixture_down();
}

static void a_client_that_goes_while_its_password_is_checked(void)
{
	const char *settings[] = {"smtp auth=optional", "smtp auth-without-tls=", password_setting(), NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(settings);
	peer_hello = FIXTURE_HELLO_AUTH;
	for (int i = 0; i < 20; i++) {
		struct linger abort = {.l_onoff = 1};

		peer = join(GREETING "H:\nC: AUTH PLAIN AHRhcm8Ac2VjcmV0\n");
		setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort); /* a reset */
		peer_close(&peer);
	}
	smtp_server_free(fixture.server); /* before the pool, with checks on the way */
	pool_free(fixture.pool);
	event_base_free(fixture.base);
	fake_reset();
}

/* A transaction ends on the configuration it began with; the session goes on with the next one. */
static void a_new_configuration_drops_no_session(void)
{
	static const char *const closed[] = {"smtp allow-network=192.0.2.0/24", "smtp max-recipients=1", NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	peer = join(GREETING "H:\n" MAIL RCPT);
	fixture_configure(closed);
	peer_talk(&peer, "C: RCPT TO:<c@b.example>\nS: 250 2.1.5 Recipient ok\n" DATA "C: x\n");
	fixture_configure(closed);
	peer_talk(&peer, "C: .\n" SENT);
	CHECK_TEXT(buf_text(&got.recipients), "b@b.example c@b.example ");
	CHECK_INT(got.revision + 2, fixture.revision);
	peer_talk(&peer, MAIL DENIED QUIT);
	peer_close(&peer);
	fixture_down();
}

static void a_user_that_is_gone_is_nobody(void)
{
	const char *with[] = {"smtp auth=required", "smtp auth-without-tls=", password_setting(), NULL};
	static const char *const without[] = {"smtp auth=required", "smtp auth-without-tls=", "user hana password=$y$x", NULL};
	struct peer peer;

	fixture_up();
	fixture_configure(with);
	peer_hello = FIXTURE_HELLO_AUTH;
	peer = join(GREETING "H:\n" RIGHT MAIL RCPT DATA "C: .\n" SENT);
	fixture_configure(without);
	peer_talk(&peer, "C: MAIL FROM:<a@b>\nS: 530 5.7.0 Authentication required\n");
	peer_close(&peer);
	fixture_down();
}

static void a_listen_address_needs_its_socket(void)
{
	static const char *const more[] = {"smtp allow-network=127.0.0.0/8", "smtp listen test:587=", NULL};
	struct config *config;
	uint16_t port;
	struct peer peer;
	struct err err;

	fixture_up();
	fixture_configure(open_settings);
	config = fixture_config(more);
	CHECK_OK(smtp_server_configure(fixture.server, config, true, &err), &err);
	CHECK(!smtp_server_configure(fixture.server, config, false, &err));
	CHECK_INT(err.code, ERR_NOT_FOUND);
	CHECK_CONTAINS(err.text, "server s smtp listen test:587");
	smtp_server_add_socket(fixture.server, "test:587", peer_listen(&port));
	CHECK_OK(smtp_server_configure(fixture.server, config, false, &err), &err);
	config_unref(config);
	CHECK(peer_connect(&peer, fixture.base, port));
	peer_talk(&peer, GREETING);
	fixture_configure(open_settings); /* closes the second socket, not its session */
	peer_talk(&peer, "C: NOOP\nS: 250 2.0.0 Ok\n");
	peer_close(&peer);
	CHECK(!peer_connect(&peer, fixture.base, port));
	peer_close(&peer);
	fixture_down();
}

static void a_server_that_is_gone_says_so_at_mail(void)
{
	struct snapshot *snapshot = snapshot_new();
	struct peer peer;
	struct err err;

	fixture_up();
	fixture_configure(open_settings);
	peer = join(GREETING "H:\n");
	fixture_run(config_new(snapshot, &err));
	peer_talk(&peer, "C: MAIL FROM:<a@b>\nS: 421 4.3.2 Service is stopping; try again later\nE:\n");
	peer_close(&peer);
	peer_turn(fixture.base, 10);
	CHECK_INT(smtp_server_state(fixture.server).sessions, 0);
	fixture_down();
}

static void note_stopped(void *arg)
{
	*(bool *)arg = true;
}

static void stops_when_the_last_message_is_through(void)
{
	struct peer idle, begun, sending;
	bool stopped = false;

	fixture_up();
	fixture_configure(open_settings);
	idle = join(GREETING);
	begun = join(GREETING "H:\n" MAIL);
	sending = join(GREETING "H:\n" MAIL RCPT DATA "C: x\n");
	smtp_server_stop(fixture.server, clock_monotonic_ms() + 5000, note_stopped, &stopped);
	CHECK(!stopped);
	peer_talk(&idle, "S: 421 4.3.2 Service is stopping; try again later\nE:\n");
	peer_talk(&begun, "S: 421 4.3.2 Service is stopping; try again later\nE:\n");
	peer_close(&idle);
	peer_close(&begun);
	peer_turn(fixture.base, 20);
	CHECK(!stopped);
	peer_talk(&sending, "C: .\n" SENT "S: 421 4.3.2 Service is stopping; try again later\nE:\n");
	peer_close(&sending);
	peer_turn(fixture.base, 20);
	CHECK(stopped);
	CHECK_INT(got.finished, 1);
	fixture_down();
}

static void stops_at_the_deadline_whatever_is_left(void)
{
	struct peer sending;
	bool stopped = false;

	fixture_up();
	fixture_configure(open_settings);
	sending = join(GREETING "H:\n" MAIL RCPT DATA "C: x\n");
	smtp_server_stop(fixture.server, clock_monotonic_ms() + 80, note_stopped, &stopped);
	peer_turn(fixture.base, 30);
	CHECK(!stopped);
	peer_turn(fixture.base, 100);
	CHECK(stopped);
	CHECK_INT(got.aborted, 1);
	peer_close(&sending);
	fixture_down();
}

static void stops_at_once_without_sessions(void)
{
	bool stopped = false;

	fixture_up();
	fixture_configure(open_settings);
	smtp_server_stop(fixture.server, clock_monotonic_ms() + 60000, note_stopped, &stopped);
	CHECK(!stopped); /* never from within the call */
	peer_turn(fixture.base, 5);
	CHECK(stopped);
	fixture_down();
}

#define IDLE_SESSIONS 1000
#define IDLE_SESSION_MAX_BYTES 4096 /* of ours; the kernel's sockets come on top */

static void an_idle_session_is_cheap(void)
{
	static struct peer peers[IDLE_SESSIONS];
	size_t before, after, each;

	fixture_up();
	fixture_configure(open_settings);
	peers[0] = join(GREETING "H:\n");
	before = mallinfo2().uordblks;
	for (int i = 1; i < IDLE_SESSIONS; i++) {
		if (!CHECK(peer_connect(&peers[i], fixture.base, fixture.port)))
			break;
		peer_talk(&peers[i], GREETING "H:\n");
		buf_clear(&peers[i].in);
		buf_clear(&peers[i].out);
	}
	CHECK_INT(smtp_server_state(fixture.server).sessions, IDLE_SESSIONS);
	after = mallinfo2().uordblks;
	each = (after - before) / (IDLE_SESSIONS - 1);
	printf("an idle session takes %zu bytes\n", each);
	if (before > 0) /* a sanitizer's malloc does not count */
		CHECK(each > 0 && each <= IDLE_SESSION_MAX_BYTES);
	for (int i = 0; i < IDLE_SESSIONS; i++)
		peer_close(&peers[i]);
	fixture_down();
}

int main(void)
{
	TEST(admits_by_network_and_password);
	TEST(speaks_plain_and_login);
	TEST(names_the_user_to_the_submission);
	TEST(offers_no_password_without_tls);
	TEST(a_client_that_goes_while_its_password_is_checked);
	TEST(a_new_configuration_drops_no_session);
	TEST(a_user_that_is_gone_is_nobody);
	TEST(a_listen_address_needs_its_socket);
	TEST(a_server_that_is_gone_says_so_at_mail);
	TEST(stops_when_the_last_message_is_through);
	TEST(stops_at_the_deadline_whatever_is_left);
	TEST(stops_at_once_without_sessions);
	TEST(an_idle_session_is_cheap);
	return test_finish();
}
