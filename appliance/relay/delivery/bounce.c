#include "appliance/relay/delivery/bounce.h"

#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/relay/delivery/dsn.h"
#include "appliance/relay/delivery/smtp_command.h"
#include "appliance/relay/delivery/source.h"

struct bounce {
	struct queue *queue;
	const struct group *group;
	char *host_name;
	int64_t lifetime_ms;
	bounce_made_cb *made;
	void *arg;
	struct source *source;
};

/* What there is to tell of a settled recipient; false: nothing. */
static bool action_of(const struct group *group, const struct group_recipient *recipient, enum dsn_action *action)
{
	if (recipient->kind == QUEUE_PERMANENT)
		*action = DSN_FAILED;
	else if (recipient->kind == QUEUE_DEFERRED && recipient->warned)
		*action = DSN_DELAYED;
	else if (recipient->kind == QUEUE_DELIVERED && !recipient->remote)
		*action = DSN_DELIVERED;
	else if (recipient->kind == QUEUE_DELIVERED && !group->notifies)
		*action = DSN_RELAYED;
	else
		return false;
	return dsn_wanted(group->message->sender, recipient->notify, *action);
}

bool bounce_wanted(const struct group *group)
{
	enum dsn_action action;

	for (size_t i = 0; i < group->count; i++) {
		if (action_of(group, &group->recipients[i], &action))
			return true;
	}
	return false;
}

static size_t list_recipients(const struct group *group, struct dsn_recipient out[static GROUP_RECIPIENTS_MAX])
{
	size_t count = 0;

	for (size_t i = 0; i < group->count; i++) {
		const struct group_recipient *recipient = &group->recipients[i];
		enum dsn_action action;

		if (action_of(group, recipient, &action))
			out[count++] = (struct dsn_recipient){.action = action,
							      .address = recipient->address,
							      .original = recipient->original,
							      .status = recipient->status,
							      .reply = recipient->reply,
							      .hop = recipient->remote ? group->hop : NULL};
	}
	return count;
}

/* Only who gets a mail back may get it whole (RFC 3461 §6.2). */
static bool fails(const struct group *group)
{
	enum dsn_action action;

	for (size_t i = 0; i < group->count; i++) {
		if (action_of(group, &group->recipients[i], &action) && action == DSN_FAILED)
			return true;
	}
	return false;
}

static void tell(struct bounce *bounce, const struct dsn *dsn)
{
	const struct queue_stored *about = bounce->group->message;
	bool utf8 = smtp_path_needs_utf8(about->sender), eight_bit;
	struct buf body = {0};
	char *message_id = mem_format("<%llx.bounce@%s>", (unsigned long long)dsn->id, bounce->host_name);

	dsn_compose(&body, dsn, &eight_bit);

	const struct queue_notice notice = {
	    .message = {.id = dsn->id,
			.server = about->server,
			.sender = "",
			.smtputf8 = utf8,
			.body_type = eight_bit || utf8 ? QUEUE_8BITMIME : QUEUE_7BIT,
			.received = dsn->now,
			.expires = dsn->now + bounce->lifetime_ms / 1000,
			.plain_size = body.len,
			.message_id = message_id},
	    .body = buf_bytes(&body),
	    .recipient = {.address = about->sender, .rendering = QUEUE_PLAIN, .rule = "bounce", .notify = QUEUE_NOTIFY_NEVER},
	};

	bounce->made(&notice, bounce->arg);
	buf_clear(&body);
	free(message_id);
}

/* A message whose body cannot be read is bounced without it. */
static void on_chunk(struct bytes chunk, bool last, const struct err *err, void *arg)
{
	struct bounce *bounce = arg;
	const struct queue_stored *about = bounce->group->message;
	struct dsn_recipient recipients[GROUP_RECIPIENTS_MAX];
	const struct dsn dsn = {.host_name = bounce->host_name,
				.id = queue_new_id(bounce->queue),
				.message_id = about->id,
				.sender = about->sender,
				.envelope_id = about->envelope_id,
				.references = about->message_id == NULL ? "" : about->message_id,
				.received = about->received,
				.now = clock_wall_seconds(),
				.recipients = recipients,
				.n_recipients = list_recipients(bounce->group, recipients),
				.returned = err == NULL ? chunk : (struct bytes){0},
				.whole = about->ret == QUEUE_RETURN_FULL && last && fails(bounce->group)};

	tell(bounce, &dsn);
	bounce_free(bounce);
}

struct bounce *bounce_begin(struct event_base *base, struct queue *queue, const struct group *group, const char *host_name,
			    int64_t lifetime_ms, bounce_made_cb *made, void *arg)
{
	struct bounce *bounce = mem_new(sizeof *bounce);

	bounce->queue = queue;
	bounce->group = group;
	bounce->host_name = mem_string(host_name);
	bounce->lifetime_ms = lifetime_ms;
	bounce->made = made;
	bounce->arg = arg;
	bounce->source = source_open(base, queue, group->message, QUEUE_PLAIN, on_chunk, bounce);
	return bounce;
}

void bounce_free(struct bounce *bounce)
{
	if (bounce == NULL)
		return;
	source_close(bounce->source);
	free(bounce->host_name);
	free(bounce);
}
