/*
 * A group: recipients of one stored message that get the same rendering over the same next hops, and what became of each. It is
 * what a connection carries in one transaction. Loop's thread; one owner at a time.
 */
#ifndef INKAN_RELAY_DELIVERY_GROUP_H
#define INKAN_RELAY_DELIVERY_GROUP_H

#include "appliance/relay/delivery/smtp_reply.h"
#include "appliance/relay/queue/queue.h"

#define GROUP_RECIPIENTS_MAX 100 /* RFC 5321 §4.5.3.1.8: every server takes as many */

struct group_recipient {
	uint64_t id; /* of the queue's row */
	char *address;
	char *original; /* ORCPT, or NULL */
	char *rule;
	uint32_t notify;
	uint32_t attempts;
	bool settled;
	bool again; /* settled as deferred only because the server takes no more in one transaction */
	/* Once settled: */
	enum queue_result_kind kind;
	char status[SMTP_REPLY_STATUS_MAX_BYTES]; /* RFC 3463 */
	char *reply; /* one line */
	bool remote; /* the reply is the next hop's own */
	bool warned; /* deferred, and the sender is told of the delay this time */
};

struct group {
	struct group *next; /* for its owner's list */
	struct queue_stored *message;
	enum queue_rendering rendering;
	uint64_t token; /* of the claim that its recipients come from */
	struct group_recipient *recipients;
	size_t count;
	char *domain; /* of all its recipients, where mail goes by domain; else NULL */
	char *hop; /* where the last attempt went, "mx.example[192.0.2.1]:25"; NULL: nowhere */
	int64_t claimed_ms, opened_ms, sent_ms; /* monotonic: taken from the queue; its new connection begun (0: reused); handed
						   to it (0: never) */
	bool notifies; /* that next hop took over the duty to notify of success (RFC 3461 §5.2.1) */
};

/* An empty group for recipients like this item, at this domain (NULL: any). References the message. */
struct group *group_new(const struct queue_item *item, uint64_t token, const char *domain);
void group_free(struct group *group); /* NULL is fine */

/* Does the item belong here, and is there room? */
bool group_takes(const struct group *group, const struct queue_item *item, const char *domain);
void group_add(struct group *group, struct queue_item *item); /* moves the item's strings */

void group_set_hop(struct group *group, const char *hop);

/* What became of a recipient. The first word counts: a settled one stays as it is. */
void group_settle(struct group_recipient *recipient, enum queue_result_kind kind, const char *status, const char *reply);
void group_settle_reply(struct group_recipient *recipient, enum queue_result_kind kind, const struct smtp_reply *reply);
void group_settle_rest(struct group *group, enum queue_result_kind kind, const char *status, const char *reply);
void group_settle_rest_reply(struct group *group, enum queue_result_kind kind, const struct smtp_reply *reply);

/*
 * Takes the recipients marked `again` into a group of their own, unsettled; NULL when there are none or when nothing was
 * accepted beside them (then they stay deferred).
 */
struct group *group_split_again(struct group *group);

/* A first-in first-out list of groups. Zero-initialise. */
struct group_list {
	struct group *first, *last;
	size_t groups, recipients;
};

void group_list_append(struct group_list *list, struct group *group);
void group_list_prepend(struct group_list *list, struct group *group);
struct group *group_list_take(struct group_list *list); /* NULL when empty */

#endif
