#include "appliance/relay/queue/queue.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"

/* ---- what is under way ---- */

static void close_when_idle(struct queue *queue)
{
	if (queue->closing && queue->outstanding == 0)
		storekeeper_stop(queue);
}

void queue_hold(struct queue *queue)
{
	queue->outstanding++;
}

void queue_release(struct queue *queue)
{
	queue->outstanding--;
	close_when_idle(queue);
}

void queue_post(struct queue *queue, struct request *request)
{
	queue_hold(queue);
	request_list_add(&queue->posted, request);
	event_active(queue->posted_event, 0, 0);
}

static void finish_all(struct queue *queue, struct request_list *finished)
{
	struct request *request;

	while ((request = request_list_take(finished)) != NULL) {
		request->finish(queue, request);
		queue_release(queue);
	}
}

static void on_posted(int fd, short what, void *arg)
{
	struct queue *queue = arg;
	struct request_list posted = {0};

	(void)fd;
	(void)what;
	request_list_append(&posted, &queue->posted);
	finish_all(queue, &posted);
}

void queue_submit(struct queue *queue, enum request_kind kind, struct request *request)
{
	queue_hold(queue);
	storekeeper_submit(queue, kind, request);
}

void queue_note_body_failure(struct queue *queue, const struct err *err)
{
	int64_t now = clock_monotonic_ms();
	int64_t *oldest = &queue->body_failures_ms[queue->n_body_failures % QUEUE_BODY_FAILURES_MAX];

	*oldest = now;
	queue->n_body_failures++;
	oldest = &queue->body_failures_ms[queue->n_body_failures % QUEUE_BODY_FAILURES_MAX];
	if (queue->n_body_failures >= QUEUE_BODY_FAILURES_MAX && now - *oldest < QUEUE_BODY_FAILURES_MS)
		storekeeper_fail(queue, err);
}

/* ---- jobs of the queue itself ---- */

struct removal {
	struct queue *queue;
	struct buf numbers;
};

static void work_removal(void *arg)
{
	struct removal *removal = arg;
	uint64_t number;

	for (size_t at = 0; at + sizeof number <= removal->numbers.len; at += sizeof number) {
		memcpy(&number, removal->numbers.data + at, sizeof number);
		spool_remove(&removal->queue->spool, number);
	}
}

static void done_removal(void *arg)
{
	struct removal *removal = arg;
	struct queue *queue = removal->queue;

	buf_clear(&removal->numbers);
	free(removal);
	queue_release(queue);
}

void queue_remove_files(struct queue *queue, struct buf *numbers)
{
	struct removal *removal = mem_new(sizeof *removal);

	*removal = (struct removal){.queue = queue, .numbers = *numbers};
	*numbers = (struct buf){0};
	queue_hold(queue);
	pool_submit(queue->sync, work_removal, done_removal, removal);
}

static void work_ballast(void *arg)
{
	struct queue *queue = arg;

	space_keep_ballast(&queue->space, &queue->closing);
}

static void done_ballast(void *arg)
{
	struct queue *queue = arg;

	queue->ballast_running = false;
	queue_release(queue);
}

static void keep_ballast(struct queue *queue)
{
	if (queue->ballast_running || queue->closing || queue->space.ballast || queue->space.ballast_bytes == 0 ||
	    queue_health(queue) == QUEUE_FAILED)
		return;
	queue->ballast_running = true;
	queue_hold(queue);
	pool_submit(queue->sync, work_ballast, done_ballast, queue);
}

/* ---- events ---- */

static void tell_health(struct queue *queue)
{
	enum queue_health health = queue_health(queue);
	struct err err = {0};

	if (!queue->ready || queue->closing || health == queue->told)
		return;
	queue->told = health;
	if (health == QUEUE_FULL)
		err_set(&err, ERR_LIMIT, "too little free space for the queue");
	else if (health == QUEUE_FAILED)
		storekeeper_has_failed(queue, &err);
	if (queue->events.health != NULL)
		queue->events.health(health, health == QUEUE_OK ? NULL : &err, queue->events.arg);
}

static void tell_ready(struct queue *queue, const struct bulletin *bulletin)
{
	bool recovered = bulletin->recovery.code == ERR_NONE;

	ids_raise(&queue->ids, bulletin->highest);
	queue->ready = recovered;
	if (!queue->closing)
		queue->events.ready(recovered ? NULL : &bulletin->recovery, queue->events.arg);
	queue_release(queue);
}

static void free_queue(struct queue *queue)
{
	pool_free(queue->sync);
	pool_free(queue->files);
	pool_free(queue->reader);
	pool_free(queue->lister);
	if (queue->event != NULL)
		event_free(queue->event);
	if (queue->posted_event != NULL)
		event_free(queue->posted_event);
	recent_clear(&queue->recent);
	if (queue->keeper.eventfd >= 0)
		close(queue->keeper.eventfd);
	spool_close(&queue->spool);
	if (queue->directory_fd >= 0)
		close(queue->directory_fd);
	leases_free(queue->keeper.leases);
	buf_clear(&queue->keeper.files_to_remove);
	free(queue->directory);
	free(queue);
}

static void finish_close(struct queue *queue)
{
	void (*closed)(void *arg) = queue->closed;
	void *arg = queue->closed_arg;

	pthread_join(queue->keeper.thread, NULL);
	pthread_mutex_destroy(&queue->keeper.lock);
	pthread_cond_destroy(&queue->keeper.wake);
	free_queue(queue);
	if (closed != NULL)
		closed(arg);
}

/* Takes what the storekeeper has published since the last time. */
static void take_news(struct queue *queue, struct request_list *finished, struct bulletin *news)
{
	struct storekeeper *keeper = &queue->keeper;

	pthread_mutex_lock(&keeper->lock);
	request_list_append(finished, &keeper->finished);
	*news = keeper->bulletin;
	keeper->bulletin.files_to_remove = (struct buf){0};
	keeper->bulletin.due = false;
	keeper->bulletin.recovered = false;
	pthread_mutex_unlock(&keeper->lock);
}

static void on_news(int fd, short what, void *arg)
{
	struct queue *queue = arg;
	struct request_list finished = {0};
	struct bulletin news;
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);

	(void)got;
	(void)what;
	take_news(queue, &finished, &news);
	if (news.stopped) {
		finish_close(queue);
		return;
	}
	if (news.files_to_remove.len > 0)
		queue_remove_files(queue, &news.files_to_remove);
	finish_all(queue, &finished);
	if (news.recovered)
		tell_ready(queue, &news);
	tell_health(queue);
	if (news.due && queue->ready && !queue->closing && queue->events.due != NULL)
		queue->events.due(queue->events.arg);
	if (queue->ready)
		keep_ballast(queue);
}

/* ---- opening and closing ---- */

static bool start(struct queue *queue, struct err *err)
{
	queue->keeper.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->keeper.eventfd < 0)
		return err_errno(err, "eventfd");
	queue->event = event_new(queue->base, queue->keeper.eventfd, EV_READ | EV_PERSIST, on_news, queue);
	if (queue->event == NULL || event_add(queue->event, NULL) != 0)
		return err_set(err, ERR_SYSTEM, "event of the queue");
	queue->posted_event = event_new(queue->base, -1, 0, on_posted, queue);
	if (queue->posted_event == NULL)
		return err_set(err, ERR_SYSTEM, "event of the queue");
	queue->sync = pool_new(queue->base, QUEUE_SYNC_THREADS, err);
	if (queue->sync == NULL)
		return false;
	queue->files = pool_new(queue->base, QUEUE_FILE_THREADS, err);
	if (queue->files == NULL)
		return false;
	queue->reader = pool_new(queue->base, 1, err);
	if (queue->reader == NULL)
		return false;
	queue->lister = pool_new(queue->base, 1, err);
	if (queue->lister == NULL)
		return false;
	queue_hold(queue); /* the recovery */
	return storekeeper_start(queue, err);
}

struct queue *queue_open(struct event_base *base, const struct queue_settings *settings, const struct queue_events *events,
			 struct err *err)
{
	struct queue *queue;

	if (settings->node > IDS_NODE_MAX) {
		err_set(err, ERR_INVALID, "node %u is not in 0..%u", settings->node, IDS_NODE_MAX);
		return NULL;
	}
	queue = mem_new(sizeof *queue);
	queue->base = base;
	queue->events = *events;
	queue->directory = mem_string(settings->directory);
	queue->directory_fd = queue->spool.fd = queue->keeper.eventfd = -1;
	queue->ids.node = settings->node;
	queue->space.min_free_bytes = settings->min_free_bytes;
	queue->space.ballast_bytes = settings->ballast_bytes;
	queue->recent.limit = settings->recent_bytes;
	queue->keeper.bulletin.next_due = -1;
	if (!start(queue, err)) {
		free_queue(queue);
		return NULL;
	}
	return queue;
}

void queue_close(struct queue *queue, void (*closed)(void *arg), void *arg)
{
	queue->closed = closed;
	queue->closed_arg = arg;
	queue->closing = true;
	close_when_idle(queue);
}

/* ---- questions that need no thread ---- */

enum queue_health queue_health(const struct queue *queue)
{
	struct queue *self = (struct queue *)(uintptr_t)queue; /* for the lock */

	if (storekeeper_has_failed(self, NULL))
		return QUEUE_FAILED;
	return space_level(&queue->space) == SPACE_OK ? QUEUE_OK : QUEUE_FULL;
}

uint64_t queue_new_id(struct queue *queue)
{
	return ids_next(&queue->ids, clock_wall_ms());
}

static struct bulletin read_bulletin(const struct queue *queue)
{
	struct storekeeper *keeper = (struct storekeeper *)(uintptr_t)&queue->keeper; /* for the lock */
	struct bulletin bulletin;

	pthread_mutex_lock(&keeper->lock);
	bulletin = keeper->bulletin;
	pthread_mutex_unlock(&keeper->lock);
	return bulletin;
}

int64_t queue_next_due(const struct queue *queue)
{
	int64_t due = read_bulletin(queue).next_due;

	return due >= 0 && due <= clock_wall_ms() ? 0 : due;
}

static uint64_t not_negative(int64_t number)
{
	return number > 0 ? (uint64_t)number : 0;
}

struct queue_count queue_count(const struct queue *queue)
{
	struct bulletin bulletin = read_bulletin(queue);

	return (struct queue_count){
	    .messages = not_negative(bulletin.tally.messages),
	    .waiting = not_negative(bulletin.tally.waiting),
	    .leased = not_negative(bulletin.tally.leased),
	    .held = not_negative(bulletin.tally.held),
	    .oldest = bulletin.oldest,
	    .transactions = bulletin.transactions,
	};
}
