/* Whole dialogues with the server over loopback (smtp_peer.h says how they are written); submissions are played. */
#include "tests/unit/smtp_server_fixture.h"

static const char *const open_settings[] = {"smtp allow-network=127.0.0.0/8", NULL};

struct dialogue {
	const char *name, *text;
	/* what arrived last; NULL: not asked */
	const char *sender, *recipients, *content;
	unsigned begun, finished, aborted;
};

static void talk(const struct dialogue *dialogue)
{
	struct peer peer;

	test_case("%s", dialogue->name);
	if (!CHECK(peer_connect(&peer, fixture.base, fixture.port)))
		return;
	peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n");
	peer_talk(&peer, dialogue->text);
	peer_close(&peer);
	peer_turn(fixture.base, 5);
	if (dialogue->sender != NULL)
		CHECK_TEXT(got.sender, dialogue->sender);
	if (dialogue->recipients != NULL)
		CHECK_TEXT(buf_text(&got.recipients), dialogue->recipients);
	if (dialogue->content != NULL)
		CHECK_TEXT(buf_text(&got.content), dialogue->content);
	CHECK_INT(got.begun, dialogue->begun);
	CHECK_INT(got.finished, dialogue->finished);
	CHECK_INT(got.aborted, dialogue->aborted);
	CHECK_INT(got.appends_while_waiting, 0);
}

static void talk_all(const struct dialogue *dialogues, size_t count, const char *const *settings)
{
	for (size_t i = 0; i < count; i++) {
		fixture_up();
		fixture_configure(settings);
		talk(&dialogues[i]);
		CHECK_INT(smtp_server_state(fixture.server).sessions, 0);
		fixture_down();
	}
}

#define TALK_ALL(dialogues, settings) talk_all(dialogues, sizeof(dialogues) / sizeof(dialogues)[0], settings)

#define BEGIN "H:\nC: MAIL FROM:<a@a.example>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 Recipient ok\n"
#define DATA BEGIN "C: DATA\nS: 354 End the message with <CR><LF>.<CR><LF>\n"
#define QUIT "C: QUIT\nS: 221 2.0.0 Bye\nE:\n"
#define SENT "S: 250 2.0.0 Ok: queued as 1\n"

static const struct dialogue plain_dialogues[] = {
    {.name = "one message",
     .text = DATA "C: Subject: x\nC: \nC: hello\nC: .\n" SENT QUIT,
     .sender = "a@a.example",
     .recipients = "b@b.example ",
     .content = "Subject: x\r\n\r\nhello\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "HELO",
     .text = "C: HELO client\nS: 250 mx.example\nC: MAIL FROM:<>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<b@b.example>\n"
	     "S: 250 2.1.5 Recipient ok\nC: DATA\nS: 354 End the message with <CR><LF>.<CR><LF>\nC: x\nC: .\n" SENT QUIT,
     .sender = "",
     .content = "x\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "dots",
     .text = DATA "C: ..\nC: ...x\nC: .y\nC: .\n" SENT,
     .content = ".\r\n..x\r\ny\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "two messages in one session",
     .text = DATA "C: one\nC: .\n" SENT "C: MAIL FROM:<c@c.example>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<d@d.example>\n"
		  "S: 250 2.1.5 Recipient ok\nC: DATA\nS: 354 End the message with <CR><LF>.<CR><LF>\nC: two\nC: .\n" SENT QUIT,
     .sender = "c@c.example",
     .recipients = "d@d.example ",
     .content = "two\r\n",
     .begun = 2,
     .finished = 2},
    {.name = "everything in one write",
     .text =
	 "C: EHLO client.example\nC: MAIL FROM:<a@a.example> SIZE=5\nC: RCPT TO:<b@b.example>\nC: RCPT TO:<c@c.example>\n"
	 "C: DATA\nC: x\nC: .\nC: MAIL FROM:<d@d.example>\nC: RCPT TO:<e@e.example>\nC: DATA\nC: y\nC: .\nC: QUIT\n" FIXTURE_HELLO
	 "S: 250 2.1.0 Sender ok\nS: 250 2.1.5 Recipient ok\nS: 250 2.1.5 Recipient ok\n"
	 "S: 354 End the message with <CR><LF>.<CR><LF>\n" SENT "S: 250 2.1.0 Sender ok\nS: 250 2.1.5 Recipient ok\n"
	 "S: 354 End the message with <CR><LF>.<CR><LF>\n" SENT "S: 221 2.0.0 Bye\nE:\n",
     .sender = "d@d.example",
     .content = "y\r\n",
     .begun = 2,
     .finished = 2},
    {.name = "RSET", .text = BEGIN "C: RSET\nS: 250 2.0.0 Ok\nC: RCPT TO:<b@b.example>\nS: 503 5.5.1 Send MAIL first\n" QUIT},
    {.name = "EHLO ends a transaction", .text = BEGIN "H:\nC: DATA\nS: 503 5.5.1 Send MAIL first\n"},
    {.name = "a refused recipient does not end it",
     .text = BEGIN "C: RCPT TO:<b@b@b>\nS: 553 5.1.3 Bad recipient address syntax\nC: DATA\n"
		   "S: 354 End the message with <CR><LF>.<CR><LF>\nC: x\nC: .\n" SENT,
     .recipients = "b@b.example ",
     .begun = 1,
     .finished = 1},
    {.name = "no valid recipient",
     .text = "H:\nC: MAIL FROM:<a@a.example>\nC: RCPT TO:<b>\nC: DATA\nS: 250 2.1.0 Sender ok\n"
	     "S: 553 5.1.3 Recipient address without a domain\nS: 554 5.5.1 No valid recipients\n" QUIT},
    {.name = "the postmaster without a domain",
     .text = "H:\nC: MAIL FROM:<>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<Postmaster>\nS: 250 2.1.5 Recipient ok\nC: DATA\n"
	     "S: 354 End the message with <CR><LF>.<CR><LF>\nC: .\n" SENT,
     .recipients = "Postmaster@mx.example ",
     .content = "",
     .begun = 1,
     .finished = 1},
    {.name = "carrier addresses",
     .text = "H:\nC: MAIL FROM:<a@a.example>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<a..b@docomo.ne.jp>\nS: 250 2.1.5 Recipient ok\n"
	     "C: RCPT TO:<a.@ezweb.ne.jp>\nS: 250 2.1.5 Recipient ok\nC: DATA\n"
	     "S: 354 End the message with <CR><LF>.<CR><LF>\nC: .\n" SENT,
     .recipients = "a..b@docomo.ne.jp a.@ezweb.ne.jp ",
     .begun = 1,
     .finished = 1},
    {.name = "SMTPUTF8",
     .text = "H:\nC: MAIL FROM:<\xe5\xb1\xb1@a.example> SMTPUTF8\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<\xe7\x94\xb0@b.example>\n"
	     "S: 250 2.1.5 Recipient ok\nC: DATA\nS: 354 End the message with <CR><LF>.<CR><LF>\nC: .\n" SENT,
     .sender = "\xe5\xb1\xb1@a.example",
     .recipients = "\xe7\x94\xb0@b.example ",
     .begun = 1,
     .finished = 1},
    {.name = "internationalised addresses without SMTPUTF8",
     .text = "H:\nC: MAIL FROM:<\xe5\xb1\xb1@a.example>\nS: 553 5.6.7 Sender address is not ASCII: give SMTPUTF8\n"
	     "C: MAIL FROM:<a@a.example>\nS: 250 2.1.0 Sender ok\nC: RCPT TO:<\xe7\x94\xb0@b.example>\n"
	     "S: 553 5.6.7 Recipient address is not ASCII: give SMTPUTF8 with MAIL\n"},
    {.name = "small commands",
     .text =
	 "C: NOOP\nS: 250 2.0.0 Ok\nC: NOOP with words\nS: 250 2.0.0 Ok\nC: RSET\nS: 250 2.0.0 Ok\nC: VRFY a@b\n"
	 "S: 252 2.5.0 Addresses are not verified here; send the mail\nC: EXPN list\nS: 502 5.5.1 Lists are not expanded here\n"
	 "C: HELP\nS: 214 2.0.0 EHLO HELO AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT; see RFC 5321\n" QUIT},
};

static void takes_mail(void)
{
	TALK_ALL(plain_dialogues, open_settings);
}

static const struct dialogue order_dialogues[] = {
    {.name = "nothing before EHLO",
     .text = "C: MAIL FROM:<a@b>\nS: 503 5.5.1 Send EHLO first\nC: RCPT TO:<a@b>\nS: 503 5.5.1 Send EHLO first\nC: DATA\n"
	     "S: 503 5.5.1 Send EHLO first\nC: AUTH PLAIN\nS: 503 5.5.1 Send EHLO first\n"},
    {.name = "nested MAIL",
     .text = "H:\nC: MAIL FROM:<a@b>\nS: 250 2.1.0 Sender ok\nC: MAIL FROM:<a@b>\nS: 503 5.5.1 The sender was given already\n"},
    {.name = "RCPT and DATA without MAIL",
     .text = "H:\nC: RCPT TO:<a@b>\nS: 503 5.5.1 Send MAIL first\nC: DATA\nS: 503 5.5.1 Send MAIL first\n"},
    {.name = "arguments where none belong",
     .text =
	 BEGIN "C: DATA now\nS: 501 5.5.4 This command takes no argument\nC: RSET all\n"
	       "S: 501 5.5.4 This command takes no argument\nC: QUIT now\nS: 501 5.5.4 This command takes no argument\n" QUIT},
    {.name = "EHLO without a name",
     .text = "C: EHLO\nS: 501 5.5.4 Syntax: EHLO host-name\nC: HELO two words\nS: 501 5.5.4 Syntax: EHLO host-name\n"},
    {.name = "bad MAIL",
     .text =
	 "H:\nC: MAIL <a@b>\nS: 501 5.5.4 Syntax: MAIL FROM:<address>\nC: MAIL FROM:<a@>\nS: 553 5.1.7 Bad sender address "
	 "syntax\n"
	 "C: MAIL FROM:<a>\nS: 553 5.1.7 Sender address without a domain\nC: MAIL FROM:<a@b> SIZE=x\n"
	 "S: 501 5.5.4 SIZE takes a number of octets\nC: MAIL FROM:<a@b> BODY=BINARYMIME\nS: 501 5.5.4 BODY is 7BIT or 8BITMIME\n"
	 "C: MAIL FROM:<a@b> SMTPUTF8=1\nS: 501 5.5.4 SMTPUTF8 takes no value\nC: MAIL FROM:<a@b> XYZ=FULL\n"
	 "S: 555 5.5.4 Unsupported parameter\nC: MAIL FROM:<a@b> SIZE=1 SIZE=2\nS: 501 5.5.4 Malformed or repeated parameter\n"
	 "C: MAIL FROM:<a@b> AUTH=<> BODY=7BIT SIZE=1\nS: 250 2.1.0 Sender ok\n"},
    {.name = "bad RCPT",
     .text =
	 BEGIN "C: RCPT <a@b>\nS: 501 5.5.4 Syntax: RCPT TO:<address>\nC: RCPT TO:<>\nS: 553 5.1.3 Bad recipient address syntax\n"
	       "C: RCPT TO:<a@b> SIZE=1\nS: 555 5.5.4 Unsupported parameter\n"},
    {.name = "unknown commands",
     .text = "C: STARTTLS\nS: 503 5.5.1 Send EHLO first\nH:\n"
	     "C: STARTTLS\nS: 502 5.5.1 STARTTLS is not available\nC: XCLIENT ADDR=127.0.0.1\nS: 500 5.5.1 Unknown command\nC: \n"
	     "S: 500 5.5.1 Unknown command\n"},
    {.name = "a browser",
     .text =
	 "C: POST / HTTP/1.1\nC: Host: mx.example\nC: \nC: EHLO x\nC: MAIL FROM:<a@b>\nS: 521 5.5.1 This is a mail server\nE:\n"},
    {.name = "a bare LF in a command",
     .text = "H:\nR: MAIL FROM:<a@b><LF>RCPT TO:<c@d><CR><LF>NOOP<CR><LF>\n"
	     "S: 500 5.5.2 Bare <LF> in a command: lines end with <CR><LF>\nS: 250 2.0.0 Ok\n"},
    {.name = "a bare CR in a command",
     .text =
	 "R: NOOP<CR>QUIT<CR><LF>NOOP<CR><LF>\nS: 500 5.5.2 Bare <CR> in a command: lines end with <CR><LF>\nS: 250 2.0.0 Ok\n"},
    {.name = "NUL in a command", .text = "R: NO<NUL>OP<CR><LF>NOOP<CR><LF>\nS: 500 5.5.2 NUL in a command\nS: 250 2.0.0 Ok\n"},
};

static void keeps_the_order_of_commands(void)
{
	TALK_ALL(order_dialogues, open_settings);
}

/* What must not end a message: the text between it and the true end is part of the refused message. */
static void is_not_smuggled_past(void)
{
	static const struct {
		const char *sequence, *octet;
	} cases[] = {
	    {"<LF>.<LF>", "LF"},
	    {"<LF>.<CR><LF>", "LF"},
	    {"<LF>.<CR>", "LF"},
	    {"<CR>.<CR>", "CR"},
	    {"<CR>.<LF>", "CR"},
	    {"<CR>.<CR><LF>", "CR"},
	    {"<CR><LF>.<LF>", "LF"},
	    {"<CR><LF>.<CR>", "CR"},
	    {"<CR><LF>.<CR><CR><LF>", "CR"},
	    {"<LF><LF>.<LF><LF>", "LF"},
	    {"<LF><CR>.<LF><CR>", "LF"},
	    {"<CR><CR>.<CR><CR>", "CR"},
	    {"<CR><LF><CR>.<CR><LF>", "CR"},
	    {"<LF><CR><LF>.<LF>", "LF"},
	    {"<CR><NUL><LF>.<CR><LF>", "CR"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *text =
		    mem_format(DATA "R: hello%sMAIL FROM:<evil@a.example><CR><LF>RCPT TO:<b@b.example><CR><LF>DATA<CR><LF>evil\n"
				    "C: \nC: .\nC: NOOP\n"
				    "S: 554 5.6.0 Bare <%s> in the message: lines end with <CR><LF>\nS: 250 2.0.0 Ok\n" QUIT,
			       cases[i].sequence, cases[i].octet);
		struct dialogue dialogue = {
		    .name = cases[i].sequence, .text = text, .sender = "a@a.example", .begun = 1, .aborted = 1};

		fixture_up();
		fixture_configure(open_settings);
		talk(&dialogue);
		CHECK_INT(smtp_server_state(fixture.server).refused_total, 1);
		fixture_down();
		free(text);
	}
}

static const struct dialogue chunk_dialogues[] = {
    {.name = "one chunk",
     .text = BEGIN "C: BDAT 7 LAST\nR: hello<CR><LF>\n" SENT QUIT,
     .content = "hello\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "three chunks, a CRLF cut in two, dots as they are",
     .text = BEGIN
     "C: BDAT 6\nR: hello<CR>\nS: 250 2.0.0 Chunk ok\nC: BDAT 4\nR: <LF>.<CR><LF>\nS: 250 2.0.0 Chunk ok\nC: BDAT 0 LAST\n" SENT,
     .content = "hello\r\n.\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "pipelined",
     .text = "H:\nC: MAIL FROM:<a@a.example>\nC: RCPT TO:<b@b.example>\nC: BDAT 3\nR: a<CR><LF>\nC: BDAT 3 LAST\nR: "
	     "b<CR><LF>\nC: NOOP\n"
	     "S: 250 2.1.0 Sender ok\nS: 250 2.1.5 Recipient ok\nS: 250 2.0.0 Chunk ok\n" SENT "S: 250 2.0.0 Ok\n",
     .content = "a\r\nb\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "a last line without an end gets one",
     .text = BEGIN "C: BDAT 1 LAST\nR: x\n" SENT,
     .content = "x\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "bare LF",
     .text = BEGIN
     "C: BDAT 3\nR: a<LF>b\nS: 554 5.6.0 Bare <LF> in the message: lines end with <CR><LF>\nC: BDAT 2 LAST\nR: <CR><LF>\n"
     "S: 554 5.6.0 Bare <LF> in the message: lines end with <CR><LF>\n" BEGIN QUIT,
     .begun = 1,
     .aborted = 1},
    {.name = "a CR at the very end",
     .text = BEGIN "C: BDAT 2 LAST\nR: a<CR>\nS: 554 5.6.0 Bare <CR> in the message: lines end with <CR><LF>\n",
     .begun = 1,
     .aborted = 1},
    {.name = "only BDAT between chunks",
     .text = BEGIN
     "C: BDAT 3\nR: a<CR><LF>\nS: 250 2.0.0 Chunk ok\nC: DATA\nS: 503 5.5.1 Only BDAT, RSET or QUIT once BDAT has begun\n"
     "C: RCPT TO:<c@c.example>\nS: 503 5.5.1 Only BDAT, RSET or QUIT once BDAT has begun\nC: MAIL FROM:<c@c.example>\n"
     "S: 503 5.5.1 Only BDAT, RSET or QUIT once BDAT has begun\nC: RSET\nS: 250 2.0.0 Ok\n" BEGIN,
     .begun = 1,
     .aborted = 1},
    {.name = "octets of a refused chunk are no commands",
     .text =
	 "C: BDAT 6\nR: QUIT<CR><LF>\nS: 503 5.5.1 Send EHLO first\nH:\nC: BDAT 6 LAST\nR: QUIT<CR><LF>\nS: 503 5.5.1 Send MAIL "
	 "first\n"
	 "C: MAIL FROM:<a@b>\nC: BDAT 6 LAST\nR: QUIT<CR><LF>\nS: 250 2.1.0 Sender ok\nS: 554 5.5.1 No valid recipients\n" QUIT},
    {.name = "a count that is none closes", .text = BEGIN "C: BDAT many\nC: QUIT\nS: 521 5.5.4 Syntax: BDAT octets [LAST]\nE:\n"},
};

static void takes_chunks(void)
{
	TALK_ALL(chunk_dialogues, open_settings);
}

static void replies_of_submissions_go_out_word_for_word(void)
{
	static const struct {
		int code;
		const char *enhanced, *text, *line;
	} cases[] = {
	    {451, "", "S/MIME certificate is expired", "S: 451 S/MIME certificate is expired\n"},
	    {451, "4.3.0", "Signing is locked", "S: 451 4.3.0 Signing is locked\n"},
	    {554, "5.6.3", "Cannot be signed: nested too deep", "S: 554 5.6.3 Cannot be signed: nested too deep\n"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *text = mem_format(DATA "C: x\nC: .\nC: NOOP\n%sS: 250 2.0.0 Ok\n" QUIT, cases[i].line);
		struct dialogue dialogue = {.name = cases[i].text, .text = text, .begun = 1, .finished = 1};

		fixture_up();
		fixture_configure(open_settings);
		fake.code = cases[i].code;
		fake.enhanced = cases[i].enhanced;
		fake.text = cases[i].text;
		talk(&dialogue);
		CHECK_INT(smtp_server_state(fixture.server).accepted_total, 0);
		CHECK_INT(smtp_server_state(fixture.server).refused_total, 1);
		fixture_down();
		free(text);
	}
}

#define PIPELINED DATA "C: x\nC: .\nC: MAIL FROM:<c@c.example>\nC: NOOP\n" SENT "S: 250 2.1.0 Sender ok\nS: 250 2.0.0 Ok\n" QUIT

static void commands_wait_for_a_submission(void)
{
	static const struct dialogue dialogue = {
	    .name = "late", .text = DATA "C: x\nC: .\nC: NOOP\n-\n" SENT "S: 250 2.0.0 Ok\n", .begun = 1, .finished = 1};
	static const struct dialogue at_once = {.name = "at once", .text = PIPELINED, .begun = 1, .finished = 1};

	fixture_up();
	fixture_configure(open_settings);
	fake.delay_ms = 200;
	talk(&dialogue);
	fixture_down();
	fixture_up();
	fixture_configure(open_settings);
	fake.at_once = true;
	talk(&at_once);
	fixture_down();
}

static void a_submission_can_hold_the_client_back(void)
{
	static const struct dialogue dialogue = {
	    .name = "every append asks to wait",
	    .text = DATA "R: one<CR><LF>..two<CR><LF>three<CR><LF>.<CR><LF>NOOP<CR><LF>\n" SENT "S: 250 2.0.0 Ok\n" QUIT,
	    .content = "one\r\n.two\r\nthree\r\n",
	    .begun = 1,
	    .finished = 1};

	fixture_up();
	fixture_configure(open_settings);
	fake.pause = true;
	talk(&dialogue);
	fixture_down();
}

/* The input buffer of a paused session is bounded: the rest stays with the client. */
static void a_paused_session_reads_no_more_than_its_buffer(void)
{
	struct peer peer;
	char lines[4096];
	ssize_t sent = 1, all = 0;

	fixture_up();
	fixture_configure(open_settings);
	fake.hold = true;
	for (size_t i = 0; i < sizeof lines; i += 2)
		memcpy(lines + i, "\r\n", 2);
	CHECK(peer_connect(&peer, fixture.base, fixture.port));
	peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n" DATA);
	for (int quiet = 0; quiet < 20 && all < (64 << 20);) {
		sent = send(peer.fd, lines, sizeof lines, MSG_NOSIGNAL | MSG_DONTWAIT);
		all += sent > 0 ? sent : 0;
		quiet = sent > 0 ? 0 : quiet + 1;
		peer_turn(fixture.base, sent > 0 ? 0 : 2);
	}
	CHECK(all < (64 << 20));
	CHECK(got.content.len <= 65536);
	peer_close(&peer);
	peer_turn(fixture.base, 5);
	CHECK_INT(smtp_server_state(fixture.server).sessions, 1); /* it waits for the submission, not for the client */
	fake.hold = false;
	fake_resume(-1, 0, fake_waiting);
	peer_turn(fixture.base, 50);
	CHECK_INT(smtp_server_state(fixture.server).sessions, 0);
	CHECK_INT(got.aborted, 1);
	fixture_down();
}

static void a_client_that_goes_leaves_nothing(void)
{
	static const struct {
		const char *name, *text;
		unsigned begun, finished, aborted;
		bool in_finish;
	} cases[] = {
	    {"after the greeting", "", 0, 0, 0, false},
	    {"in a command", "R: MAI\n", 0, 0, 0, false},
	    {"after RCPT", BEGIN, 0, 0, 0, false},
	    {"in DATA", DATA "C: half a mess\n", 1, 0, 1, false},
	    {"in a chunk", BEGIN "C: BDAT 100\nR: x\n", 1, 0, 1, false},
	    {"between chunks", BEGIN "C: BDAT 1\nR: x\nS: 250 2.0.0 Chunk ok\n", 1, 0, 1, false},
	    {"while the submission finishes", DATA "C: x\nC: .\n-\n", 1, 1, 0, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct peer peer;

		test_case("%s", cases[i].name);
		fixture_up();
		fixture_configure(open_settings);
		fake.delay_ms = 150;
		CHECK(peer_connect(&peer, fixture.base, fixture.port));
		peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n");
		peer_talk(&peer, cases[i].text);
		peer_turn(fixture.base, 5);
		peer_close(&peer);
		peer_turn(fixture.base, 10);
		CHECK_INT(smtp_server_state(fixture.server).sessions, cases[i].in_finish);
		peer_turn(fixture.base, 200);
		CHECK_INT(smtp_server_state(fixture.server).sessions, 0);
		CHECK_INT(got.begun, cases[i].begun);
		CHECK_INT(got.finished, cases[i].finished);
		CHECK_INT(got.aborted, cases[i].aborted);
		fixture_down();
	}
}

/* A client that sends everything, half closes and then reads gets all its replies. */
static void half_a_close_is_answered(void)
{
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	fake.delay_ms = 50;
	CHECK(peer_connect(&peer, fixture.base, fixture.port));
	peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n" DATA "C: x\nC: .\nC: NOOP\n");
	peer_finish(&peer);
	peer_talk(&peer, SENT "S: 250 2.0.0 Ok\nE:\n");
	peer_close(&peer);
	CHECK_INT(got.finished, 1);
	fixture_down();
}

static void tells_the_submission_who_sent_it(void)
{
	static const struct dialogue dialogue = {
	    .name = "client",
	    .text =
		"C: EHLO pc(1)\x83\nS: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 1048576\nS: 250-8BITMIME\nS: 250-SMTPUTF8\n"
		"S: 250-DSN\nS: 250-LIMITS MAILMAX=10000 RCPTMAX=1000\nS: 250-ENHANCEDSTATUSCODES\nS: 250 CHUNKING\nC: MAIL "
		"FROM:<a@a.example> BODY=8BITMIME SIZE=77 SMTPUTF8\n"
		"S: 250 2.1.0 Sender ok\nC: RCPT TO:<b@b.example>\nS: 250 2.1.5 Recipient ok\nC: DATA\n"
		"S: 354 End the message with <CR><LF>.<CR><LF>\nC: .\n" SENT,
	    .begun = 1,
	    .finished = 1};

	fixture_up();
	fixture_configure(open_settings);
	talk(&dialogue);
	CHECK_TEXT(got.client, "pc?1?? ([127.0.0.1])");
	CHECK_TEXT(got.protocol, "UTF8SMTP");
	CHECK_TEXT(got.user, NULL);
	CHECK_INT(got.body_type, QUEUE_8BITMIME);
	CHECK_INT(got.expected_size, 77);
	CHECK(got.smtputf8);
	fixture_down();
}

/* RFC 3461: checked, and handed on as they came. */
static void dsn_parameters_reach_the_submission(void)
{
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	if (CHECK(peer_connect(&peer, fixture.base, fixture.port))) {
		peer_talk(&peer,
			  "S: 220 mx.example ESMTP Inkan\n"
			  "H:\nC: MAIL FROM:<a@b> RET=HDR\nS: 501 5.5.4 RET is FULL or HDRS\nC: MAIL FROM:<a@b> ENVID=a=b\n"
			  "S: 501 5.5.4 Malformed or repeated parameter\nC: MAIL FROM:<a@b> ENVID=a+0A\n"
			  "S: 501 5.5.4 ENVID is xtext of at most 100 characters\nC: MAIL FROM:<a@b> RET=HDRS ENVID=QQ+2B1\n"
			  "S: 250 2.1.0 Sender ok\nC: RCPT TO:<c@d> NOTIFY=NEVER,DELAY\n"
			  "S: 501 5.5.4 NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY\nC: RCPT TO:<c@d> ORCPT=c@d\n"
			  "S: 501 5.5.4 ORCPT is type;xtext of at most 500 characters\n"
			  "C: RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;e+2Bf@g\nS: 250 2.1.5 Recipient ok\n"
			  "C: RCPT TO:<h@i>\nS: 250 2.1.5 Recipient ok\nC: DATA\nS: 354 End the message with "
			  "<CR><LF>.<CR><LF>\nC: .\n" SENT "C: MAIL FROM:<a@b>\nS: 250 2.1.0 Sender ok\n");
		CHECK_TEXT(got.envelope_id, "QQ+2B1");
		CHECK_INT(got.ret, QUEUE_RETURN_HEADERS);
		CHECK_TEXT(buf_text(&got.dsn), "rfc822;e+2Bf@g/10 /0 ");
		peer_close(&peer);
	}
	fixture_down();
}

static void a_recipient_given_twice_gets_one_mail(void)
{
	static const struct dialogue dialogue = {
	    .name = "twice",
	    .text = BEGIN "C: RCPT TO:<c@b.example> NOTIFY=NEVER\nC: RCPT TO:<B@b.example>\nC: RCPT TO:<b@B.EXAMPLE>\n"
			  "C: RCPT TO:<c@b.example>\nC: RCPT TO:<b@b.example>\nC: RCPT TO:<\"c\"@b.example>\nC: DATA\n"
			  "S: 250 2.1.5 Recipient ok\nS: 250 2.1.5 Recipient ok\nS: 250 2.1.5 Recipient ok\n"
			  "S: 250 2.1.5 Recipient ok\nS: 250 2.1.5 Recipient ok\nS: 250 2.1.5 Recipient ok\n"
			  "S: 354 End the message with <CR><LF>.<CR><LF>\nC: .\n" SENT,
	    .recipients = "b@b.example c@b.example B@b.example ",
	    .begun = 1,
	    .finished = 1};

	fixture_up();
	fixture_configure(open_settings);
	talk(&dialogue);
	CHECK_TEXT(buf_text(&got.dsn), "/0 /1 /0 ");
	fixture_down();
}

/* What clients do that want to hurt, or cannot help it. */
static const struct dialogue hostile[] = {
    {.name = "a command hidden behind an address",
     .text = "H:\nR: MAIL FROM:<a@b<CR><LF>RCPT TO:<c@d><CR><LF>\nS: 553 5.1.7 Bad sender address syntax\n"
	     "S: 503 5.5.1 Send MAIL first\n"},
    {.name = "8-bit octets in commands",
     .text = "H:\nC: MAIL FROM:<a\xff@b> SMTPUTF8\nS: 553 5.1.7 Bad sender address syntax\nC: M\xc3\x84IL FROM:<a@b>\n"
	     "S: 500 5.5.1 Unknown command\nC: MAIL FROM:<a@b> SIZE=\xef\xbc\x91\nS: 501 5.5.4 SIZE takes a number of octets\n"
	     "C: MAIL FROM:<a@b> ENVID=\xc3\xa4\nS: 501 5.5.4 ENVID is xtext of at most 100 characters\n"},
    {.name = "a size that overflows",
     .text = "H:\nC: MAIL FROM:<a@b> SIZE=18446744073709551616\nS: 501 5.5.4 SIZE takes a number of octets\n"
	     "C: MAIL FROM:<a@b> SIZE=18446744073709551615\nS: 552 5.3.4 Message exceeds the size limit\n"
	     "C: MAIL FROM:<a@b> SIZE=-1\nS: 501 5.5.4 SIZE takes a number of octets\n"},
    {.name = "a huge chunk is counted, not believed",
     .text = BEGIN "C: BDAT 18446744073709551615\nR: QUIT<CR><LF>\n-\n",
     .begun = 1,
     .aborted = 1},
    {.name = "a chunk size that overflows closes",
     .text = BEGIN "C: BDAT 18446744073709551616 LAST\nC: QUIT\nS: 521 5.5.4 Syntax: BDAT octets [LAST]\nE:\n"},
    {.name = "DATA behind BDAT",
     .text = BEGIN
     "C: BDAT 3\nR: x<CR><LF>\nC: DATA\nS: 250 2.0.0 Chunk ok\nS: 503 5.5.1 Only BDAT, RSET or QUIT once BDAT has begun\n",
     .begun = 1,
     .aborted = 1},
    {.name = "LAST that never comes",
     .text = BEGIN "C: BDAT 3\nR: x<CR><LF>\nS: 250 2.0.0 Chunk ok\nC: QUIT\nS: 221 2.0.0 Bye\nE:\n",
     .begun = 1,
     .aborted = 1},
    {.name = "BDAT LAST twice",
     .text = BEGIN "C: BDAT 3 LAST\nR: x<CR><LF>\n" SENT "C: BDAT 0 LAST\nS: 503 5.5.1 Send MAIL first\n",
     .begun = 1,
     .finished = 1},
    {.name = "RSET in the middle of a transaction",
     .text = BEGIN
     "C: RSET\nS: 250 2.0.0 Ok\nC: DATA\nS: 503 5.5.1 Send MAIL first\nC: RCPT TO:<x@y>\nS: 503 5.5.1 Send MAIL first\n"},
    {.name = "commands in a message are text",
     .text = DATA "C: RSET\nC: QUIT\nC: MAIL FROM:<x@y>\nC: .\n" SENT,
     .content = "RSET\r\nQUIT\r\nMAIL FROM:<x@y>\r\n",
     .begun = 1,
     .finished = 1},
    {.name = "DATA pipelined behind recipients that are all refused",
     .text = "H:\nC: MAIL FROM:<a@b>\nC: RCPT TO:<@>\nC: DATA\nC: RSET\nS: 250 2.1.0 Sender ok\nS: 553 5.1.3 Bad recipient "
	     "address syntax\n"
	     "S: 554 5.5.1 No valid recipients\nS: 250 2.0.0 Ok\n"},
    {.name = "proxies and their commands",
     .text = "R: PROXY TCP4 192.0.2.1 192.0.2.2 1 25<CR><LF>\nS: 500 5.5.1 Unknown command\nC: XFORWARD NAME=x\nS: 500 5.5.1 "
	     "Unknown command\n"
	     "C: ETRN x\nS: 500 5.5.1 Unknown command\nC: TURN\nS: 500 5.5.1 Unknown command\n"},
};

static void survives_hostile_clients(void)
{
	for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
		fixture_up();
		fixture_configure(open_settings);
		talk(&hostile[i]);
		fixture_down();
	}
}

static void takes_one_octet_at_a_time(void)
{
	static const char text[] = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\na\r\n..b\r\n.\r\nQUIT\r\n";
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	CHECK(peer_connect(&peer, fixture.base, fixture.port));
	peer_turn(fixture.base, 1);
	for (size_t i = 0; i < sizeof text - 1; i++) {
		peer_send(&peer, bytes_of(text + i, 1));
		peer_turn(fixture.base, 0);
	}
	peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n" FIXTURE_HELLO
			 "S: 250 2.1.0 Sender ok\nS: 250 2.1.5 Recipient ok\nS: 354 End the message with <CR><LF>.<CR><LF>\n" SENT
			 "S: 221 2.0.0 Bye\nE:\n");
	CHECK_TEXT(buf_text(&got.content), "a\r\n.b\r\n");
	peer_close(&peer);
	fixture_down();
}

static void a_reset_in_data_leaves_nothing(void)
{
	const struct linger at_once = {.l_onoff = 1};
	struct peer peer;

	fixture_up();
	fixture_configure(open_settings);
	CHECK(peer_connect(&peer, fixture.base, fixture.port));
	peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n" DATA "C: half\n");
	peer_turn(fixture.base, 5);
	setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* close sends RST */
	peer_close(&peer);
	peer_turn(fixture.base, 20);
	CHECK_INT(smtp_server_state(fixture.server).sessions, 0);
	CHECK_INT(got.aborted, 1);
	fixture_down();
}

/* It is answered once, and the rest of the line is read without keeping it. */
static void an_endless_command_is_not_kept(void)
{
	struct peer peer;
	char text[65536];

	fixture_up();
	fixture_configure(open_settings);
	memset(text, 'x', sizeof text);
	CHECK(peer_connect(&peer, fixture.base, fixture.port));
	peer_talk(&peer, "S: 220 mx.example ESMTP Inkan\n");
	for (int i = 0; i < 100; i++)
		peer_send(&peer, bytes_of(text, sizeof text));
	peer_talk(&peer, "C: \nC: NOOP\nS: 500 5.5.2 Command line too long\nS: 250 2.0.0 Ok\n");
	peer_close(&peer);
	fixture_down();
}

int main(void)
{
	TEST(takes_mail);
	TEST(keeps_the_order_of_commands);
	TEST(is_not_smuggled_past);
	TEST(takes_chunks);
	TEST(replies_of_submissions_go_out_word_for_word);
	TEST(commands_wait_for_a_submission);
	TEST(a_submission_can_hold_the_client_back);
	TEST(a_paused_session_reads_no_more_than_its_buffer);
	TEST(a_client_that_goes_leaves_nothing);
	TEST(half_a_close_is_answered);
	TEST(tells_the_submission_who_sent_it);
	TEST(dsn_parameters_reach_the_submission);
	TEST(a_recipient_given_twice_gets_one_mail);
	TEST(survives_hostile_clients);
	TEST(takes_one_octet_at_a_time);
	TEST(a_reset_in_data_leaves_nothing);
	TEST(an_endless_command_is_not_kept);
	return test_finish();
}
