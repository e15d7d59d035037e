#include "appliance/relay/delivery/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "appliance/base/clock.h"

struct group *group_new(const struct queue_item *item, uint64_t token, const char *domain)
{
	struct group *group = mem_new(sizeof *group);

	group->message = queue_stored_ref(item->message);
	group->rendering = item->rendering;
	group->token = token;
	group->claimed_ms = clock_monotonic_ms();
	group->domain = domain == NULL ? NULL : mem_string(domain);
	return group;
}

static void recipient_clear(struct group_recipient *recipient)
{
	free(recipient->address);
	free(recipient->original);
	free(recipient->rule);
	free(recipient->reply);
}

void group_free(struct group *group)
{
	if (group == NULL)
		return;
	for (size_t i = 0; i < group->count; i++)
		recipient_clear(&group->recipients[i]);
	free(group->recipients);
	free(group->hop);
	free(group->domain);
	queue_stored_unref(group->message);
	free(group);
}

static bool same_domain(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcasecmp(a, b) == 0;
}

bool group_takes(const struct group *group, const struct queue_item *item, const char *domain)
{
	return same_domain(group->domain, domain) && group->message == item->message && group->rendering == item->rendering &&
	       group->count < GROUP_RECIPIENTS_MAX;
}

static struct group_recipient *add_slot(struct group *group)
{
	group->recipients = mem_resize(group->recipients, group->count + 1, sizeof *group->recipients);
	return &group->recipients[group->count++];
}

void group_add(struct group *group, struct queue_item *item)
{
	*add_slot(group) = (struct group_recipient){.id = item->recipient,
						    .address = item->address,
						    .original = item->original,
						    .rule = item->rule,
						    .notify = item->notify,
						    .attempts = item->attempts};
	item->address = item->original = item->rule = NULL;
}

void group_set_hop(struct group *group, const char *hop)
{
	free(group->hop);
	group->hop = mem_string(hop);
}

void group_settle(struct group_recipient *recipient, enum queue_result_kind kind, const char *status, const char *reply)
{
	if (recipient->settled)
		return;
	recipient->settled = true;
	recipient->kind = kind;
	snprintf(recipient->status, sizeof recipient->status, "%s", status);
	recipient->reply = mem_string(reply);
	recipient->remote = false;
}

void group_settle_reply(struct group_recipient *recipient, enum queue_result_kind kind, const struct smtp_reply *reply)
{
	char status[SMTP_REPLY_STATUS_MAX_BYTES], line[SMTP_REPLY_TEXT_MAX_BYTES];

	if (recipient->settled)
		return;
	smtp_reply_status(reply, status);
	smtp_reply_one_line(reply, line);
	group_settle(recipient, kind, status, line);
	recipient->remote = true;
}

void group_settle_rest(struct group *group, enum queue_result_kind kind, const char *status, const char *reply)
{
	for (size_t i = 0; i < group->count; i++)
		group_settle(&group->recipients[i], kind, status, reply);
}

void group_settle_rest_reply(struct group *group, enum queue_result_kind kind, const struct smtp_reply *reply)
{
	for (size_t i = 0; i < group->count; i++)
		group_settle_reply(&group->recipients[i], kind, reply);
}

static bool worth_splitting(const struct group *group)
{
	bool again = false, delivered = false;

	for (size_t i = 0; i < group->count; i++) {
		again |= group->recipients[i].again;
		delivered |= group->recipients[i].settled && group->recipients[i].kind == QUEUE_DELIVERED;
	}
	return again && delivered;
}

struct group *group_split_again(struct group *group)
{
	struct group *rest;
	size_t kept = 0;

	if (!worth_splitting(group))
		return NULL;
	rest = mem_new(sizeof *rest);
	rest->message = queue_stored_ref(group->message);
	rest->rendering = group->rendering;
	rest->token = group->token;
	rest->claimed_ms = group->claimed_ms;
	rest->domain = group->domain == NULL ? NULL : mem_string(group->domain);
	for (size_t i = 0; i < group->count; i++) {
		struct group_recipient *recipient = &group->recipients[i];

		if (!recipient->again) {
			group->recipients[kept++] = *recipient;
			continue;
		}
		free(recipient->reply);
		recipient->reply = NULL;
		recipient->settled = recipient->again = recipient->remote = false;
		*add_slot(rest) = *recipient;
	}
	group->count = kept;
	return rest;
}

void group_list_append(struct group_list *list, struct group *group)
{
	group->next = NULL;
	if (list->last != NULL)
		list->last->next = group;
	else
		list->first = group;
	list->last = group;
	list->groups++;
	list->recipients += group->count;
}

void group_list_prepend(struct group_list *list, struct group *group)
{
	group->next = list->first;
	list->first = group;
	if (list->last == NULL)
		list->last = group;
	list->groups++;
	list->recipients += group->count;
}

struct group *group_list_take(struct group_list *list)
{
	struct group *group = list->first;

	if (group == NULL)
		return NULL;
	list->first = group->next;
	if (list->first == NULL)
		list->last = NULL;
	group->next = NULL;
	list->groups--;
	list->recipients -= group->count;
	return group;
}
