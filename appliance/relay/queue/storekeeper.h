/*
 * The storekeeper: the one thread that owns the writing connection. It takes all that waits, makes it one transaction, answers,
 * and starts again; the running sync is the only wait that fills a group. Results alone wait for company, at most
 * STOREKEEPER_LAZY_MS. Between transactions it serves claims and keeps house.
 */
#ifndef INKAN_QUEUE_STOREKEEPER_H
#define INKAN_QUEUE_STOREKEEPER_H

#include <pthread.h>

#include "appliance/relay/queue/database.h"
#include "appliance/relay/queue/lease.h"
#include "appliance/relay/queue/queue.h"
#include "appliance/relay/queue/request.h"

#define STOREKEEPER_LAZY_MS 50
#define STOREKEEPER_TICK_MS 1000 /* free space, checkpoint when idle, retry of results on a full disk */
#define STOREKEEPER_GROUP_BYTES (32u << 20) /* of BLOBs in one transaction */
#define STOREKEEPER_RESULTS_MAX 512 /* in one transaction; so many waiting go at once */
#define STOREKEEPER_WAL_PAGES 8000 /* of 4 KiB, then a checkpoint: mail that is gone by then is not copied into the database */

enum request_kind { REQUEST_COMMIT, REQUEST_REPORT, REQUEST_SET, REQUEST_CLAIM, REQUEST_KINDS };

struct tally {
	int64_t messages, waiting, leased, held;
};

/* What the storekeeper tells the loop's thread besides finished requests. */
struct bulletin {
	struct tally tally;
	int64_t oldest; /* received, wall seconds; 0 none */
	int64_t next_due; /* wall ms; -1 none */
	uint64_t transactions;
	uint64_t highest; /* number ever stored, when `recovered` becomes true */
	struct buf files_to_remove;
	bool due; /* something may be claimable */
	bool keep_ballast;
	bool recovered;
	struct err recovery; /* ERR_NONE: ready */
	bool stopped;
};

struct storekeeper {
	pthread_t thread;
	pthread_mutex_t lock; /* guards the next block */
	pthread_cond_t wake; /* CLOCK_MONOTONIC */
	struct request_list waiting[REQUEST_KINDS];
	int64_t reports_due_ms; /* monotonic: when the waiting results must go */
	int64_t retry_ms; /* monotonic: results and sets wait for it after a full disk */
	struct request_list finished;
	struct bulletin bulletin;
	struct err failure; /* ERR_NONE: the store works */
	bool stop;

	int eventfd; /* wakes the loop */

	/* the storekeeper's thread alone */
	struct database *database;
	struct leases *leases;
	struct tally tally;
	int64_t claim_from; /* every waiting recipient due before it is leased */
	int64_t oldest;
	uint64_t last_token;
	uint64_t recorded_highest;
	uint64_t last_event; /* 0: not yet read from the database */
	uint64_t transactions;
	int64_t tick_ms;
	bool worked; /* since the last tick */
	bool due; /* tell the owner */
	bool starved; /* the last checkpoint found the disk full */
	struct buf files_to_remove; /* uint64_t: of messages that are gone */
};

bool storekeeper_start(struct queue *queue, struct err *err) MUST_USE;
void storekeeper_submit(struct queue *queue, enum request_kind kind, struct request *request); /* loop's thread */
void storekeeper_finish(struct queue *queue, struct request *request); /* any thread: to be finished by the loop */
void storekeeper_fail(struct queue *queue, const struct err *err); /* any thread: QUEUE_FAILED, for good */
bool storekeeper_has_failed(struct queue *queue, struct err *err); /* any thread; *err says why */
void storekeeper_stop(struct queue *queue); /* when nothing is outstanding; bulletin.stopped follows */

/* ---- parts of the storekeeper's thread ---- */

/* recovery.c: all that must be done before the first 220 (queue.md §4 rule 2). */
bool recovery_run(struct queue *queue, struct err *err) MUST_USE;

/*
 * transaction.c: one group. Answered requests move to `finished`. Sets with more rows to change stay in `sets`. False: the disk
 * had no room, or another program held the database; *err says so, and all of `reports` and `sets` wait for another try.
 */
bool transaction_run_group(struct queue *queue, struct request_list *commits, struct request_list *reports,
			   struct request_list *sets, struct request_list *finished, struct err *err) MUST_USE;
void transaction_refuse_group(struct request_list *commits, struct request_list *reports, struct request_list *sets,
			      const struct err *err, struct request_list *finished);

/* claim.c */
void claim_run(struct queue *queue, struct request *request); /* leaves its result or error in the request */
bool claim_next_due(struct queue *queue, int64_t *due, struct err *err) MUST_USE;
void claim_note_due(struct storekeeper *keeper, int64_t due); /* a recipient became waiting, due then */

#endif
