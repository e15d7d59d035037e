/*
 * Where delivery tests play: an event loop, a real queue in an empty directory, a pool, a configuration, the delivery under test.
 * One at a time. Helpers run the loop until something holds, or fail after a while.
 */
#ifndef INKAN_TESTS_DELIVERY_STAGE_H
#define INKAN_TESTS_DELIVERY_STAGE_H

#include "appliance/relay/delivery/delivery.h"
#include "appliance/relay/delivery/smtp_client.h"
#include "tests/unit/delivery_sink.h"
#include "tests/unit/test.h"

#define STAGE_WAIT_MS 20000

struct stage {
	struct event_base *base;
	const char *directory; /* holds the queue */
	struct pool *pool;
	struct queue *queue;
	struct delivery *delivery;
	struct smtp_timeouts timeouts;
	struct snapshot *snapshot; /* being written; stage_configure takes it */
	struct config *config;
	size_t committing; /* posts without an answer */
	bool queue_ready;
	bool stopped, closed;
};

void stage_open(struct stage *stage); /* loop, pool, queue; delivery with short deadlines */
void stage_set(struct stage *stage, const char *value, const char *path, ...)
    PRINTF_LIKE(3, 4); /* a setting of the next configuration */
void stage_be_patient(struct stage *stage); /* long deadlines, for a server that is slow but works */
void stage_next_hop(struct stage *stage, const char *server, const struct sink *sink);
void stage_configure(struct stage *stage);
void stage_restart(struct stage *stage); /* a new process on the same queue, the same configuration */
void stage_stop_delivery(struct stage *stage, int64_t grace_ms);
void stage_close(struct stage *stage);

/* A message for the queue. Zero: sender a@example.com, server "default", plain, one day to live. */
struct post {
	const char *sender, *server, *prefix;
	const char *recipients; /* blank-separated */
	struct bytes body;
	bool is_signed;
	struct bytes addition; /* of a signed one; empty stays empty */
	uint64_t signed_size;
	int64_t lifetime_s; /* negative: over already */
	uint32_t notify;
	enum queue_return ret;
	bool smtputf8;
	enum queue_body_type body_type;
};
void stage_post(struct stage *stage, const struct post *post); /* committed when the loop has run; see stage_committed */

typedef bool stage_condition(struct stage *stage, const void *arg);
bool stage_run_until(struct stage *stage, stage_condition *condition, const void *arg);
void stage_run_for(struct stage *stage, int64_t ms);

bool stage_committed(struct stage *stage, const void *arg); /* every post is stored */
bool stage_empty(struct stage *stage, const void *arg); /* the queue holds no message */

/* Runs until the queue is empty, or until every recipient is back in it untouched by leases. */
bool stage_drain(struct stage *stage);
bool stage_settle(struct stage *stage, uint64_t results); /* until so many results were given */

/* A recipient as `show queue` has it. */
struct stage_row {
	bool found;
	char state[32], reply[600];
	int64_t due;
	uint32_t attempts;
};
struct stage_row stage_row(struct stage *stage, const char *address);

#endif
