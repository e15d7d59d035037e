/* One message on a connection: envelope, content, the verdict of the server. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>

#include "appliance/relay/delivery/smtp_client_private.h"
#include "appliance/relay/delivery/smtp_command.h"

static enum queue_result_kind kind_of(const struct smtp_reply *reply)
{
	return reply->code / 100 == 2 ? QUEUE_DELIVERED : reply->code / 100 == 5 ? QUEUE_PERMANENT : QUEUE_DEFERRED;
}

void smtp_transaction_clear(struct smtp_client *client)
{
	struct smtp_transaction *transaction = &client->transaction;

	source_close(transaction->source);
	conversion_free(transaction->conversion);
	buf_clear(&transaction->out);
	*transaction = (struct smtp_transaction){0};
}

struct group *smtp_transaction_lost(struct smtp_client *client, const char *why)
{
	struct group *group = client->transaction.group;

	smtp_transaction_clear(client);
	if (group != NULL)
		group_settle_rest(group, QUEUE_DEFERRED, "4.4.2", why);
	return group;
}

/* Hands the settled group out; the source is not needed any more. */
static void finish(struct smtp_client *client)
{
	struct group *group = client->transaction.group;

	smtp_transaction_clear(client);
	client->messages++;
	client->events->finished(group, true, client->arg);
}

static void finish_and_idle(struct smtp_client *client)
{
	finish(client);
	smtp_client_become_idle(client);
}

/* ---- Before the first command ---- */

static bool refused_here(struct group *group, uint64_t size, const struct smtp_capabilities *capabilities)
{
	const struct queue_stored *message = group->message;

	if (!smtp_path_safe(message->sender))
		group_settle_rest(group, QUEUE_PERMANENT, "5.1.7", "the sender address cannot be written in SMTP");
	else if (message->smtputf8 && !capabilities->smtputf8)
		group_settle_rest(group, QUEUE_PERMANENT, "5.6.7",
				  "the message needs SMTPUTF8, which the next hop does not offer");
	else if (capabilities->size_max > 0 && size > capabilities->size_max)
		group_settle_rest(group, QUEUE_PERMANENT, "5.3.4", "the message is larger than the next hop takes");
	else
		return false;
	return true;
}

static const char *unwritable(const char *address, const struct smtp_capabilities *capabilities, const char **status)
{
	if (*address == '\0' || !smtp_path_safe(address)) {
		*status = "5.1.3";
		return "the address cannot be written in SMTP";
	}
	if (smtp_path_needs_utf8(address) && !capabilities->smtputf8) {
		*status = "5.6.7";
		return "the address needs SMTPUTF8, which the next hop does not offer";
	}
	return NULL;
}

/* Recipients that cannot be written are settled here and get no RCPT. */
static void list_rcpts(struct smtp_transaction *transaction, const struct smtp_capabilities *capabilities)
{
	struct group *group = transaction->group;

	for (size_t i = 0; i < group->count; i++) {
		const char *status, *why = unwritable(group->recipients[i].address, capabilities, &status);

		if (why != NULL)
			group_settle(&group->recipients[i], QUEUE_PERMANENT, status, why);
		else if (!group->recipients[i].settled)
			transaction->rcpts[transaction->n_rcpts++] = i;
	}
}

/* ---- Envelope ---- */

/* MAIL and every RCPT in one write when the server pipelines (RFC 2920 §3.1); else the next one. */
static void send_envelope(struct smtp_client *client)
{
	struct smtp_transaction *transaction = &client->transaction;
	struct group *group = transaction->group;
	size_t until = client->capabilities.pipelining ? transaction->n_rcpts + 1 : transaction->sent + 1;

	for (; transaction->sent < until; transaction->sent++) {
		if (transaction->sent == 0)
			smtp_command_mail(&transaction->out, group->message, group->rendering, transaction->size,
					  &client->capabilities);
		else
			smtp_command_rcpt(&transaction->out, &group->recipients[transaction->rcpts[transaction->sent - 1]],
					  &client->capabilities);
	}
	smtp_client_write(client, &transaction->out);
	smtp_client_enter(client, CLIENT_ENVELOPE);
}

static void begin_envelope(struct smtp_client *client)
{
	struct smtp_transaction *transaction = &client->transaction;

	if (!refused_here(transaction->group, transaction->size, &client->capabilities))
		list_rcpts(transaction, &client->capabilities);
	if (transaction->n_rcpts == 0)
		finish_and_idle(client);
	else
		send_envelope(client);
}

static void take_mail_reply(struct smtp_transaction *transaction, const struct smtp_reply *reply)
{
	transaction->mail_accepted = kind_of(reply) == QUEUE_DELIVERED;
	if (!transaction->mail_accepted)
		group_settle_rest_reply(transaction->group, kind_of(reply), reply);
}

/* RFC 5321 §4.5.3.1.10: 552 to a RCPT means "too many", as 452 does; the rest goes in another transaction. */
static void take_rcpt_reply(struct smtp_transaction *transaction, size_t index, const struct smtp_reply *reply)
{
	struct group_recipient *recipient = &transaction->group->recipients[transaction->rcpts[index]];
	bool too_many = reply->code == 452 || reply->code == 552;

	if (!transaction->mail_accepted)
		return;
	if (kind_of(reply) == QUEUE_DELIVERED) {
		transaction->accepted++;
		return;
	}
	group_settle_reply(recipient, too_many ? QUEUE_DEFERRED : kind_of(reply), reply);
	recipient->again = too_many;
}

static void reset(struct smtp_client *client)
{
	smtp_client_command(client, "RSET\r\n");
	smtp_client_enter(client, CLIENT_RESET);
}

static void end_envelope(struct smtp_client *client)
{
	const struct smtp_transaction *transaction = &client->transaction;

	if (transaction->accepted > 0) {
		smtp_client_command(client, "DATA\r\n");
		smtp_client_enter(client, CLIENT_DATA);
	} else if (transaction->mail_accepted) {
		reset(client);
	} else {
		finish_and_idle(client);
	}
}

bool smtp_transaction_envelope_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	struct smtp_transaction *transaction = &client->transaction;

	if (reply->code == 421)
		return smtp_client_fail_reply(client, reply);
	if (transaction->answered == 0)
		take_mail_reply(transaction, reply);
	else
		take_rcpt_reply(transaction, transaction->answered - 1, reply);
	transaction->answered++;
	smtp_client_enter(client, CLIENT_ENVELOPE);
	if (transaction->answered < transaction->sent)
		return true;
	if (transaction->mail_accepted && transaction->sent < transaction->n_rcpts + 1)
		send_envelope(client);
	else
		end_envelope(client);
	return true;
}

/* ---- Content ---- */

static void push_chunk(struct smtp_client *client, struct bytes chunk, bool last)
{
	struct smtp_transaction *transaction = &client->transaction;

	smtp_dot_feed(&transaction->dot, chunk, &transaction->out);
	if (last)
		smtp_dot_finish(&transaction->dot, &transaction->out);
	smtp_client_write(client, &transaction->out);
	smtp_client_enter(client, last ? CLIENT_FINAL : CLIENT_CONTENT);
	transaction->chunk_wanted = false;
	if (!last)
		smtp_transaction_drained(client);
}

void smtp_transaction_drained(struct smtp_client *client)
{
	struct smtp_transaction *transaction = &client->transaction;

	if (transaction->chunk_wanted || evbuffer_get_length(bufferevent_get_output(client->connection)) > SMTP_OUTPUT_LOW_BYTES)
		return;
	smtp_client_enter(client, CLIENT_CONTENT);
	transaction->chunk_wanted = true;
	if (transaction->conversion != NULL)
		conversion_next(transaction->conversion);
	else
		source_next(transaction->source);
}

static void settle_unreadable(struct group *group, const struct err *err)
{
	group_settle_rest(group, err->code == ERR_INTEGRITY ? QUEUE_DAMAGED : QUEUE_DEFERRED, "4.3.0", err->text);
}

/* ---- 8-bit mail for a next hop without 8BITMIME ---- */

static bool needs_conversion(const struct smtp_client *client)
{
	const struct group *group = client->transaction.group;

	return group->rendering == QUEUE_PLAIN && group->message->body_type != QUEUE_7BIT && !client->capabilities.eight_bit;
}

static void refuse_conversion(struct smtp_client *client, const char *why)
{
	char *text = mem_format("the next hop takes no 8-bit mail, and this message cannot be converted: %s", why);

	group_settle_rest(client->transaction.group, QUEUE_PERMANENT, "5.6.3", text);
	free(text);
	finish_and_idle(client);
}

static void on_chunk(struct bytes chunk, bool last, const struct err *err, void *arg);

static void take_conversion_failure(struct smtp_client *client, const struct err *err)
{
	if (err->code == ERR_INVALID || err->code == ERR_INTEGRITY) {
		refuse_conversion(client, err->text);
		return;
	}
	group_settle_rest(client->transaction.group, QUEUE_DEFERRED, err->code == ERR_LIMIT ? "4.3.1" : "4.3.0", err->text);
	finish_and_idle(client);
}

static void on_converted(struct bytes chunk, bool last, const struct err *err, void *arg)
{
	struct smtp_client *client = arg;

	if (client->state != CLIENT_PREPARING) {
		on_chunk(chunk, last, err, client);
	} else if (err != NULL) {
		take_conversion_failure(client, err);
	} else {
		client->transaction.first = chunk;
		client->transaction.first_is_last = last;
		client->transaction.size = conversion_size(client->transaction.conversion);
		begin_envelope(client);
	}
}

static void on_conversion_wants_more(void *arg)
{
	struct smtp_client *client = arg;

	source_next(client->transaction.source);
}

static const struct conversion_events conversion_events = {.more = on_conversion_wants_more, .chunk = on_converted};

static void convert(struct smtp_client *client, struct bytes chunk, bool last)
{
	struct smtp_transaction *transaction = &client->transaction;

	smtp_client_enter(client, CLIENT_PREPARING); /* the deadline is for each chunk */
	if (transaction->conversion == NULL)
		transaction->conversion = conversion_begin(client->queue, client->pool, &conversion_events, client);
	conversion_put(transaction->conversion, chunk, last);
	if (!last)
		return;
	source_close(transaction->source);
	transaction->source = NULL;
}

static void on_first_chunk(struct smtp_client *client, struct bytes chunk, bool last, const struct err *err)
{
	struct smtp_transaction *transaction = &client->transaction;

	if (err != NULL) {
		settle_unreadable(transaction->group, err);
		finish_and_idle(client);
		return;
	}
	if (needs_conversion(client)) {
		convert(client, chunk, last);
		return;
	}
	transaction->first = chunk;
	transaction->first_is_last = last;
	begin_envelope(client);
}

static void on_chunk(struct bytes chunk, bool last, const struct err *err, void *arg)
{
	struct smtp_client *client = arg;

	if (client->state == CLIENT_PREPARING) {
		on_first_chunk(client, chunk, last, err);
	} else if (err != NULL) {
		settle_unreadable(client->transaction.group, err);
		client->transaction.verdict = true;
		smtp_client_fail(client, err->code, "dropped before the end of the message: %s", err->text);
	} else {
		push_chunk(client, chunk, last);
	}
}

void smtp_transaction_begin(struct smtp_client *client, struct group *group)
{
	client->transaction.group = group;
	client->transaction.size = group->rendering == QUEUE_SIGNED ? group->message->signed_size : group->message->plain_size;
	group->notifies = client->capabilities.dsn;
	smtp_client_enter(client, CLIENT_PREPARING);
	client->transaction.source = source_open(client->base, client->queue, group->message, group->rendering, on_chunk, client);
}

bool smtp_transaction_data_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	struct smtp_transaction *transaction = &client->transaction;

	if (reply->code / 100 == 3) {
		push_chunk(client, transaction->first, transaction->first_is_last);
		return true;
	}
	if (reply->code == 421 || reply->code / 100 == 2)
		return smtp_client_fail_reply(client, reply);
	group_settle_rest_reply(transaction->group, kind_of(reply), reply);
	reset(client);
	return true;
}

/* A server that has seen enough may say so early; the connection then stands in the middle of a message and is useless. */
bool smtp_transaction_content_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	client->transaction.verdict = reply->code / 100 >= 4 && reply->code != 421;
	if (client->transaction.verdict)
		group_settle_rest_reply(client->transaction.group, kind_of(reply), reply);
	return smtp_client_fail_reply(client, reply);
}

bool smtp_transaction_final_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code == 421 || reply->code / 100 == 3)
		return smtp_client_fail_reply(client, reply);
	group_settle_rest_reply(client->transaction.group, kind_of(reply), reply);
	finish_and_idle(client);
	return true;
}

bool smtp_transaction_reset_reply(struct smtp_client *client, const struct smtp_reply *reply)
{
	if (reply->code / 100 != 2)
		return smtp_client_fail_reply(client, reply);
	finish_and_idle(client);
	return true;
}
