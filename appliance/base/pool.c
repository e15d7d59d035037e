#include "appliance/base/pool.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "appliance/base/bytes.h"

struct job {
	pool_work *work;
	pool_done *done;
	void *arg;
	struct job *next;
};

struct list {
	struct job *first;
	struct job **last;
};

struct pool {
	pthread_mutex_t lock; /* guards waiting, finished, closing */
	pthread_cond_t wake;
	struct list waiting;
	struct list finished;
	bool closing;
	int eventfd;
	struct event *event;
	pthread_t *threads;
	unsigned n_threads;
};

static void list_init(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_append(struct list *list, struct job *job)
{
	job->next = NULL;
	*list->last = job;
	list->last = &job->next;
}

static struct job *list_take_first(struct list *list)
{
	struct job *job = list->first;

	if (job == NULL)
		return NULL;
	list->first = job->next;
	if (list->first == NULL)
		list->last = &list->first;
	return job;
}

static void signal_loop(struct pool *pool)
{
	uint64_t one = 1;
	ssize_t written = write(pool->eventfd, &one, sizeof one);

	(void)written; /* a full counter is a pending wake-up already */
}

static void *pool_thread(void *arg)
{
	struct pool *pool = arg;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		while ((job = list_take_first(&pool->waiting)) == NULL && !pool->closing)
			pthread_cond_wait(&pool->wake, &pool->lock);
		if (job == NULL)
			break;
		pthread_mutex_unlock(&pool->lock);
		job->work(job->arg);
		pthread_mutex_lock(&pool->lock);
		list_append(&pool->finished, job);
		signal_loop(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static void complete_finished(struct pool *pool)
{
	struct list finished;
	struct job *job;

	pthread_mutex_lock(&pool->lock);
	finished = pool->finished;
	if (finished.first == NULL)
		finished.last = &finished.first;
	list_init(&pool->finished);
	pthread_mutex_unlock(&pool->lock);
	while ((job = finished.first) != NULL) {
		finished.first = job->next;
		job->done(job->arg);
		free(job);
	}
}

static void on_finished(int fd, short what, void *arg)
{
	uint64_t count;
	ssize_t got = read(fd, &count, sizeof count);

	(void)got;
	(void)what;
	complete_finished(arg);
}

static bool start_threads(struct pool *pool, unsigned threads, struct err *err)
{
	pool->threads = mem_new_array(threads, sizeof *pool->threads);
	for (; pool->n_threads < threads; pool->n_threads++) {
		int error = pthread_create(&pool->threads[pool->n_threads], NULL, pool_thread, pool);

		if (error != 0)
			return err_set(err, ERR_SYSTEM, "pthread_create failed with error %d", error);
	}
	return true;
}

struct pool *pool_new(struct event_base *base, unsigned threads, struct err *err)
{
	struct pool *pool = mem_new(sizeof *pool);

	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	list_init(&pool->waiting);
	list_init(&pool->finished);
	pool->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->eventfd < 0) {
		err_errno(err, "eventfd");
		pool_free(pool);
		return NULL;
	}
	pool->event = event_new(base, pool->eventfd, EV_READ | EV_PERSIST, on_finished, pool);
	event_add(pool->event, NULL);
	if (!start_threads(pool, threads, err)) {
		pool_free(pool);
		return NULL;
	}
	return pool;
}

void pool_submit(struct pool *pool, pool_work *work, pool_done *done, void *arg)
{
	struct job *job = mem_new(sizeof *job);

	*job = (struct job){.work = work, .done = done, .arg = arg};
	pthread_mutex_lock(&pool->lock);
	list_append(&pool->waiting, job);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

void pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	complete_finished(pool);
	if (pool->event != NULL)
		event_free(pool->event);
	if (pool->eventfd >= 0)
		close(pool->eventfd);
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->wake);
	free(pool->threads);
	free(pool);
}
