/* The queue as its own files see it. */
#ifndef INKAN_QUEUE_PRIVATE_H
#define INKAN_QUEUE_PRIVATE_H

#include <stdatomic.h>

#include "appliance/base/pool.h"
#include "appliance/relay/queue/ids.h"
#include "appliance/relay/queue/queue.h"
#include "appliance/relay/queue/recent.h"
#include "appliance/relay/queue/space.h"
#include "appliance/relay/queue/spool.h"
#include "appliance/relay/queue/storekeeper.h"

/*
 * Messages a second over 32 KiB are bounded by threads / duration of two syncs: measured with 64 sessions of 100 KB and 5 ms more
 * a sync, 16 threads store 2.7 times as much as 4; on a fast disk they are no worse.
 */
#define QUEUE_SYNC_THREADS 16
#define QUEUE_FILE_THREADS 2 /* reading body files */
#define QUEUE_BODY_FAILURES_MAX 3 /* I/O errors of body files within a minute: the store has failed */
#define QUEUE_BODY_FAILURES_MS 60000

struct queue {
	/* fixed after recovery */
	struct event_base *base;
	struct queue_events events;
	char *directory;
	int directory_fd; /* locked: one process at a time */
	struct spool spool;
	struct pool *sync; /* writes and syncs of body files */
	struct pool *files; /* reads of body files */
	struct pool *reader; /* one thread: the read-only connection */
	struct database *read_database;
	struct pool *lister; /* one thread: a read-only connection for lists of events, which may take long */
	struct database *list_database;

	/* any thread */
	struct space space;
	_Atomic bool closing;
	struct storekeeper keeper;

	/* loop's thread */
	struct ids ids;
	struct event *event;
	struct event *posted_event;
	struct request_list posted; /* to be finished by the next round of the loop */
	struct recent recent;
	bool ready;
	enum queue_health told; /* by the last health event */
	unsigned outstanding; /* requests and jobs that will still come back */
	bool ballast_running;
	int64_t body_failures_ms[QUEUE_BODY_FAILURES_MAX];
	unsigned n_body_failures;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* Finishes a request on the loop's thread, never from within this call. Holds until then. Loop's thread. */
void queue_post(struct queue *queue, struct request *request);

/* Submits to the storekeeper; holds until it is finished. Loop's thread. */
void queue_submit(struct queue *queue, enum request_kind kind, struct request *request);

/* An I/O error of a body file: the third in a minute is the store's failure (queue.md §4 rule 4). Loop's thread. */
void queue_note_body_failure(struct queue *queue, const struct err *err);

/* Unlinks body files on a sync thread; takes the array of numbers. Loop's thread. */
void queue_remove_files(struct queue *queue, struct buf *numbers);

#endif
