/* test mail: a small message of our own on the way of every other one. */
#include <inttypes.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/base/clock.h"
#include "appliance/base/bytes.h"
#include "appliance/relay/observe/observe_private.h"

#define RANDOM_BYTES 12

/* One on its way; ended when the observer is stopped. */
struct test_mail {
	struct test_mail *next;
	struct call *call;
	struct submission *submission;
};

static void unlink_mail(struct observe *observe, struct test_mail *mail)
{
	struct test_mail **link = &observe->test_mails;

	while (*link != mail)
		link = &(*link)->next;
	*link = mail->next;
	free(mail);
}

static void on_done(const struct submission_reply *reply, void *arg)
{
	struct test_mail *mail = arg;
	struct call *call = mail->call;

	unlink_mail(call->observe, mail);
	query_cell(&call->rows, "%d", reply->code);
	query_cell(&call->rows, "%s", reply->enhanced);
	query_cell(&call->rows, "%s", reply->text);
	query_cell(&call->rows, "%" PRIx64, reply->id);
	call_answer(call);
}

void test_mails_stop(struct observe *observe)
{
	while (observe->test_mails != NULL) {
		struct test_mail *mail = observe->test_mails;
		struct call *call = mail->call;
		struct err err;

		submission_abort(mail->submission);
		unlink_mail(observe, mail);
		err_set(&err, ERR_UNAVAILABLE, "the relay is being stopped");
		call_refuse(call, &err);
	}
}

static bool random_id(char id[static 2 * RANDOM_BYTES + 1])
{
	uint8_t octets[RANDOM_BYTES];

	if (RAND_bytes(octets, sizeof octets) != 1)
		return false;
	hex_encode(id, bytes_of(octets, sizeof octets));
	return true;
}

static void put_date(struct buf *out)
{
	time_t now = (time_t)clock_wall_seconds();
	char date[64];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm); /* LC_TIME is never set: English */
	buf_printf(out, "Date: %s\r\n", date);
}

static bool put_message(struct buf *out, const char *from, const char *to, const char *host_name)
{
	char id[2 * RANDOM_BYTES + 1];

	if (!random_id(id))
		return false;
	buf_printf(out, "From: <%s>\r\nTo: <%s>\r\nSubject: Test mail of Inkan\r\n", from, to);
	put_date(out);
	buf_printf(out, "Message-ID: <%s@%s>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", id,
		   host_name);
	buf_printf(out,
		   "This is a test mail, sent at the console of %s.\r\n"
		   "If your mail program shows it as signed, signing works.\r\n",
		   host_name);
	return true;
}

static bool is_address(const char *text)
{
	if (text == NULL || strchr(text, '@') == NULL || strlen(text) > 320)
		return false;
	for (; *text != '\0'; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f || strchr("<>,;:\"()", *text) != NULL)
			return false;
	return true;
}

static bool needs_utf8(const char *text)
{
	while (*text != '\0' && (unsigned char)*text < 0x80)
		text++;
	return *text != '\0';
}

static void submit(struct call *call, const struct config_server *server, const char *from, const char *to)
{
	struct observe *observe = call->observe;
	const struct queue_recipient recipient = {.address = to};
	const struct submission_envelope envelope = {.config = observe->config,
						     .server = server,
						     .sender = from,
						     .recipients = &recipient,
						     .n_recipients = 1,
						     .smtputf8 = needs_utf8(from) || needs_utf8(to),
						     .body_type = QUEUE_7BIT,
						     .client = "console ([127.0.0.1])",
						     .client_ip = "127.0.0.1",
						     .protocol = "local"};
	struct test_mail *mail = mem_new(sizeof *mail);
	struct buf message = {0};
	struct err err;

	if (!put_message(&message, from, to, observe->config->host_name)) {
		free(mail);
		err_set(&err, ERR_SYSTEM, "no random numbers");
		call_refuse(call, &err);
		return;
	}
	*mail = (struct test_mail){observe->test_mails, call, submission_begin(&observe->context.submission, &envelope)};
	observe->test_mails = mail;
	(void)submission_append(mail->submission, buf_bytes(&message)); /* less than what is kept in memory: never to wait for */
	buf_clear(&message);
	submission_finish(mail->submission, on_done, mail);
}

void query_test_mail(struct call *call)
{
	const char *name = query_argument(&call->query, "server"), *from = query_argument(&call->query, "from");
	const char *to = query_argument(&call->query, "to");
	const struct config *config = call->observe->config;
	const struct config_server *server = config == NULL || name == NULL ? NULL : config_find_server(config, name);
	struct err err = {0};

	if (server == NULL)
		err_set(&err, ERR_NOT_FOUND, "no server %s runs", name != NULL ? name : "");
	else if (!is_address(from) || !is_address(to))
		err_set(&err, ERR_INVALID, "\"%s\" is no plain mail address", is_address(from) ? to : from);
	else if (call->observe->stopped || queue_health(call->observe->context.queue) != QUEUE_OK)
		err_set(&err, ERR_UNAVAILABLE, "the relay takes no mail now");
	if (err.code != ERR_NONE)
		call_refuse(call, &err);
	else
		submit(call, server, from, to);
}
