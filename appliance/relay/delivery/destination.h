/*
 * A destination: the next hops of a server (tried by priority), the mail exchangers of a domain, or a maildir, with the groups
 * that wait for it and the lanes that carry them. A lane is one SMTP connection or one maildir writer; it carries one group at a
 * time.
 *
 * Lanes open only while groups wait, up to a window: it starts small, grows by one with each transaction that the next hop
 * answered, and shrinks when a connection is refused while others work. A next hop that cannot be reached is down: it is
 * left alone for a growing time, then probed with one connection; in the meantime groups are deferred without trying.
 * Two servers with the same next hops share a destination. Loop's thread.
 */
#ifndef INKAN_RELAY_DELIVERY_DESTINATION_H
#define INKAN_RELAY_DELIVERY_DESTINATION_H

#include "appliance/relay/delivery/group.h"
#include "appliance/relay/delivery/smtp_client.h"
#include "appliance/relay/policy/config.h"

#define DESTINATION_WINDOW_FIRST 2 /* lanes to begin with */
#define DESTINATION_LOSSES_MAX 3 /* connections lost in a row within a transaction: then the next hop counts as down */
#define DESTINATION_REMEMBERED_MESSAGES 256 /* deferred for a domain: beyond, all of its servers is tried when it answers */
#define DESTINATION_FULL_MS 60000 /* after a refused connection the window does not grow for so long */

struct event_base;
struct pool;
struct destination;
struct dns;

/* What all destinations share; lives longer than they do. */
struct destination_context {
	struct event_base *base;
	struct queue *queue;
	struct pool *pool;
	struct resolver *resolver;
	struct dns *dns;
	const struct passwords *passwords;
	const struct smtp_timeouts *timeouts;
	const char *helo; /* may change between connections */
	void (*settled)(struct group *group, void *arg); /* takes a group whose recipients are all settled */
	/* A next hop that was down, and mail deferred for it, answers again: these messages; count 0: any of its servers. */
	void (*recovered)(const struct destination *destination, const uint64_t *messages, size_t count, void *arg);
	void (*freed_lane)(void *arg); /* a lane is gone, or has nothing to do */
	void *arg;
};

/* Of the server's next hops; of one that has none, of the mail exchangers of `domain`. */
struct destination *destination_new(const struct destination_context *context, const struct config_server *server,
				    const char *domain);

/* Is this the destination of that server: the same next hops in the same order, or of that domain (NULL: any)? */
bool destination_serves(const struct destination *destination, const struct config_server *server, const char *domain);
bool destination_is_forgettable(const struct destination *destination); /* of a domain, and nothing depends on it now */
void destination_set_limit(struct destination *destination, unsigned lanes);

/* Takes the group. When the next hop is down its recipients are settled (deferred) before this returns. */
void destination_add(struct destination *destination, struct group *group);

size_t destination_waiting(const struct destination *destination); /* recipients whose group no lane has taken yet */
unsigned destination_lanes(const struct destination *destination); /* open, or being opened */
unsigned destination_busy(const struct destination *destination); /* lanes that carry a group */
bool destination_has_deferred(const struct destination *destination); /* recipients since its next hops went down */

/* Tries at once again, however long the next hop was down. */
void destination_forget_failures(struct destination *destination);

/* Connections that a password was used for end: when idle now, else after the running transaction. */
void destination_log_out(struct destination *destination);

/* Frees the waiting groups unreported (their leases end with this process) and closes idle lanes; running ones finish. */
void destination_stop(struct destination *destination);
void destination_free(struct destination *destination); /* drops everything; not from one of its callbacks; NULL is fine */

#endif
