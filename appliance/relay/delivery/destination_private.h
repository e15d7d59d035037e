/*
 * The parts of a destination: destination.c hands out the work, destination_lanes.c carries it, destination_down.c judges next
 * hops, destination_mx.c finds them by domain.
 */
#ifndef INKAN_RELAY_DELIVERY_DESTINATION_PRIVATE_H
#define INKAN_RELAY_DELIVERY_DESTINATION_PRIVATE_H

#include "appliance/relay/delivery/destination.h"
#include "appliance/relay/delivery/hops.h"

struct event;
struct maildir_writer;
struct mx_lookup;

enum lane_state { LANE_OPENING, LANE_IDLE, LANE_BUSY, LANE_ENDING };

struct lane {
	struct lane *next;
	struct destination *destination;
	enum lane_state state;
	struct smtp_client *client; /* one of these two */
	struct maildir_writer *writer;
	struct hop *hop; /* of the client */
};

struct destination {
	const struct destination_context *context;
	char *maildir; /* NULL: hops */
	char *domain; /* NULL: configured hops, or the maildir */
	enum config_tls mx_tls;
	uint16_t mx_port;
	struct mx_lookup *lookup; /* under way */
	int64_t mx_until; /* monotonic ms: so long the hops of the domain hold */
	struct hops hops;
	struct group_list waiting;
	struct lane *lanes;
	unsigned limit, window;
	int64_t full_until; /* monotonic ms; the window does not grow before */
	unsigned losses; /* in a row */
	bool lossy; /* down because connections were lost, not refused: a new one proves nothing */
	bool has_deferred; /* recipients were deferred since the next hops went down */
	uint64_t deferred[DESTINATION_REMEMBERED_MESSAGES]; /* messages, of a domain */
	size_t n_deferred; /* more than fit: they are not remembered */
	char *down_reason; /* of the last failure; NULL: none yet */
	char down_status[SMTP_REPLY_STATUS_MAX_BYTES];
	struct event *probe;
	bool stopping;
};

void destination_pump(
    struct destination *destination); /* gives waiting groups to lanes, opens lanes, or defers: what is possible now */

/* ---- destination_lanes.c ---- */

/* Lanes in that state, of that hop (NULL: any). */
unsigned destination_count_lanes(const struct destination *destination, enum lane_state state, const struct hop *hop);
struct lane *destination_idle_lane(const struct destination *destination); /* NULL: there is none */
bool destination_open_lane(struct destination *destination); /* false: no next hop can be used now */
void lane_send(struct lane *lane, struct group *group);
void lane_free(struct lane *lane);

/* ---- destination_down.c ---- */

/* Nothing can be sent now, and no lane is there that might tell otherwise. */
bool destination_is_down(const struct destination *destination);
void destination_defer_waiting(struct destination *destination); /* and sees to it that the next hops are probed */
void destination_settle_waiting(struct destination *destination, enum queue_result_kind kind, const char *status,
				const char *reason);
void destination_arm_probe(struct destination *destination); /* when a next hop may be tried again; if mail waits for it */

/* What was learnt of a next hop: it cannot be used, greeted, refused a connection, lost one in a transaction. */
void destination_fail_hop(struct destination *destination, struct hop *hop, const char *status, const struct err *why);
void destination_reached(struct destination *destination, struct hop *hop);
void destination_refused(struct destination *destination, struct hop *hop, const struct smtp_client_closed *how);
void destination_lost(struct destination *destination, struct hop *hop, const struct err *why);
void destination_tell_recovered(struct destination *destination);

/* ---- destination_mx.c ---- */

bool destination_is_routed(struct destination *destination); /* is it known where mail goes? Asks when it is not */

#endif
