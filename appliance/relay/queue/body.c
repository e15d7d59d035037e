/* Bodies while they are received. */
#include "appliance/relay/queue/body.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/relay/queue/queue_private.h"

#define CHUNK_BYTES 32768 /* written at once */
#define FLUSH_BYTES (UINT64_C(1) << 20) /* then the kernel is told to start writing, so that the final sync is short */

struct queue_body {
	struct request seal; /* what comes back when a seal needs no thread */
	struct queue *queue;
	uint64_t number;

	/* the loop's thread (or the one that appends blockingly) */
	struct buf filling;
	uint64_t size;
	size_t handed; /* octets of the running job */
	bool is_file;
	bool waiting; /* a resume is owed */
	bool sealing; /* the caller waits for `sealed` */
	bool posted; /* `seal` is on its way */
	bool busy; /* a job owns the next block */
	bool discarded; /* to be freed when nothing is on its way any more */
	bool sealed;
	struct err err; /* ERR_NONE: no octet is lost */
	void (*on_resume)(void *arg);
	void *resume_arg;
	void (*on_sealed)(const struct err *err, void *arg);
	void *sealed_arg;

	/* the job that runs, if any */
	int fd;
	struct buf writing;
	uint64_t written, flushed;
	struct digest *digest;
	uint8_t result[DIGEST_BYTES];
	bool last; /* no more octets come */
	bool stored;
	struct err job_err;
};

static bool failed(const struct queue_body *body)
{
	return body->err.code != ERR_NONE;
}

/* ---- the end ---- */

static void free_body(struct queue_body *body)
{
	buf_clear(&body->filling);
	buf_clear(&body->writing);
	digest_free(body->digest);
	free(body);
}

struct ending {
	struct queue *queue;
	struct queue_body *body;
	bool remove;
};

/* Closing the last descriptor of an unnamed file frees its blocks, which takes time. */
static void work_end(void *arg)
{
	struct ending *ending = arg;
	struct queue_body *body = ending->body;

	if (ending->remove && body->stored)
		spool_remove(&ending->queue->spool, body->number);
	else if (!body->stored)
		spool_drop_temporary(&ending->queue->spool, body->number);
	close(body->fd);
}

static void done_end(void *arg)
{
	struct ending *ending = arg;
	struct queue *queue = ending->queue;

	free_body(ending->body);
	free(ending);
	queue_release(queue);
}

static void end_body(struct queue_body *body, bool keep)
{
	struct queue *queue = body->queue;
	struct ending *ending;

	if (body->err.code == ERR_SYSTEM)
		queue_note_body_failure(queue, &body->err);
	if (body->fd < 0) {
		free_body(body);
		return;
	}
	ending = mem_new(sizeof *ending);
	*ending = (struct ending){.queue = queue, .body = body, .remove = !keep};
	queue_hold(queue);
	pool_submit(queue->sync, work_end, done_end, ending);
}

void body_end(struct queue_body *body, bool keep)
{
	if (body != NULL)
		end_body(body, keep);
}

void queue_body_discard(struct queue_body *body)
{
	if (body == NULL)
		return;
	if (body->busy || body->posted)
		body->discarded = true;
	else
		end_body(body, false);
}

/* ---- writing ---- */

static bool write_pending(struct queue_body *body, struct err *err)
{
	if (body->fd < 0)
		body->fd = spool_create(&body->queue->spool, body->number, err);
	if (body->fd < 0 || !spool_write(body->fd, buf_bytes(&body->writing), body->written, err))
		return false;
	digest_add(body->digest, buf_bytes(&body->writing));
	space_written(&body->queue->space, body->writing.len);
	body->written += body->writing.len;
	buf_reset(&body->writing);
	if (body->written - body->flushed >= FLUSH_BYTES) {
		sync_file_range(body->fd, (off_t)body->flushed, (off_t)(body->written - body->flushed), SYNC_FILE_RANGE_WRITE);
		body->flushed = body->written;
	}
	return true;
}

static void work_write(void *arg)
{
	struct queue_body *body = arg;

	if (!write_pending(body, &body->job_err))
		return;
	if (body->last)
		digest_end(body->digest, body->result);
}

static void hand_over(struct queue_body *body)
{
	struct buf empty = body->writing;

	body->writing = body->filling;
	body->filling = empty;
}

static void done_write(void *arg);

static void submit_write(struct queue_body *body)
{
	body->handed = body->filling.len;
	hand_over(body);
	body->busy = true;
	body->last = body->sealing;
	queue_hold(body->queue);
	pool_submit(body->queue->sync, work_write, done_write, body);
}

static size_t outstanding(const struct queue_body *body)
{
	return body->filling.len + (body->busy ? body->handed : 0);
}

static void finish_seal(struct queue_body *body)
{
	body->sealing = false;
	body->sealed = !failed(body);
	body->on_sealed(failed(body) ? &body->err : NULL, body->sealed_arg);
}

/* A callback may discard the body: it comes last. */
static void go_on(struct queue_body *body)
{
	if (body->sealing && (failed(body) || body->last)) {
		finish_seal(body);
		return;
	}
	if (!failed(body) && (body->sealing || body->filling.len >= CHUNK_BYTES))
		submit_write(body);
	if (body->waiting && (failed(body) || outstanding(body) < QUEUE_APPEND_OUTSTANDING_BYTES)) {
		body->waiting = false;
		if (body->on_resume != NULL)
			body->on_resume(body->resume_arg);
	}
}

static void done_write(void *arg)
{
	struct queue_body *body = arg;
	struct queue *queue = body->queue;

	body->busy = false;
	if (body->job_err.code != ERR_NONE)
		body->err = body->job_err;
	if (body->discarded)
		end_body(body, false);
	else
		go_on(body);
	queue_release(queue);
}

/* ---- the caller's side ---- */

static void finish_posted_seal(struct queue *queue, struct request *request)
{
	struct queue_body *body = (struct queue_body *)request;

	(void)queue;
	body->posted = false;
	if (body->discarded)
		end_body(body, false);
	else
		finish_seal(body);
}

static void become_file(struct queue_body *body)
{
	body->is_file = true;
	body->digest = digest_new();
}

struct queue_body *queue_body_begin(struct queue *queue, uint64_t expected)
{
	struct queue_body *body = mem_new(sizeof *body);

	body->queue = queue;
	body->number = queue_new_id(queue);
	body->fd = -1;
	body->seal.finish = finish_posted_seal;
	if (expected > QUEUE_INLINE_BODY_MAX_BYTES)
		become_file(body);
	if (expected > QUEUE_INLINE_BODY_MAX_BYTES && !space_admits(&queue->space, expected))
		err_set(&body->err, ERR_LIMIT, "too little free space for a message of %llu octets",
			(unsigned long long)expected);
	return body;
}

/* Takes octets into `filling`; false when the body has failed. */
static bool take(struct queue_body *body, struct bytes data)
{
	if (failed(body))
		return false;
	buf_put_bytes(&body->filling, data);
	body->size += data.len;
	if (!body->is_file && body->size > QUEUE_INLINE_BODY_MAX_BYTES)
		become_file(body);
	if (body->is_file && !space_admits(&body->queue->space, body->filling.len))
		return err_set(&body->err, ERR_LIMIT, "too little free space for the queue");
	return true;
}

enum queue_append queue_body_append(struct queue_body *body, struct bytes data)
{
	if (!take(body, data))
		return QUEUE_APPEND_FAILED;
	if (!body->is_file)
		return QUEUE_APPEND_MORE;
	if (body->filling.len >= CHUNK_BYTES && !body->busy)
		submit_write(body);
	if (outstanding(body) < QUEUE_APPEND_OUTSTANDING_BYTES)
		return QUEUE_APPEND_MORE;
	body->waiting = true;
	return QUEUE_APPEND_WAIT;
}

bool queue_body_append_blocking(struct queue_body *body, struct bytes data, struct err *err)
{
	if (take(body, data) && body->is_file && body->filling.len >= CHUNK_BYTES) {
		hand_over(body);
		write_pending(body, &body->err);
	}
	if (failed(body) && err != NULL)
		*err = body->err;
	return !failed(body);
}

void queue_body_on_resume(struct queue_body *body, void (*resume)(void *arg), void *arg)
{
	body->on_resume = resume;
	body->resume_arg = arg;
}

const struct err *queue_body_error(const struct queue_body *body)
{
	return failed(body) ? &body->err : NULL;
}

uint64_t queue_body_size(const struct queue_body *body)
{
	return body->size;
}

void queue_body_seal(struct queue_body *body, void (*sealed)(const struct err *err, void *arg), void *arg)
{
	body->on_sealed = sealed;
	body->sealed_arg = arg;
	body->sealing = true;
	if (body->is_file && !body->busy && body->fd < 0 && body->size <= QUEUE_INLINE_BODY_MAX_BYTES)
		body->is_file = false; /* less came than was announced */
	if (body->busy)
		return; /* done_write goes on */
	if (body->is_file && !failed(body)) {
		submit_write(body);
		return;
	}
	body->posted = true;
	queue_post(body->queue, &body->seal);
}

/* ---- sealed ---- */

static ssize_t read_file(const struct queue_body *body, void *data, size_t len, uint64_t offset, struct err *err)
{
	ssize_t got;

	do
		got = pread(body->fd, data, len, (off_t)offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		err_errno(err, "read a body file");
	return got;
}

ssize_t queue_body_pread(const struct queue_body *body, void *data, size_t len, uint64_t offset, struct err *err)
{
	if (len > SSIZE_MAX)
		len = SSIZE_MAX;
	if (offset >= body->size || len == 0)
		return 0;
	if (body->is_file)
		return read_file(body, data, len, offset, err);
	if (len > body->size - offset)
		len = (size_t)(body->size - offset);
	memcpy(data, body->filling.data + offset, len);
	return (ssize_t)len;
}

struct bytes queue_body_memory(const struct queue_body *body)
{
	if (body->is_file)
		return (struct bytes){0};
	return body->size > 0 ? buf_bytes(&body->filling) : bytes_of((const uint8_t *)"", 0);
}

void body_take_data(struct queue_body *body, struct buf *data)
{
	*data = body->filling;
	body->filling = (struct buf){0};
}

bool body_is_file(const struct queue_body *body)
{
	return body->is_file;
}

uint64_t body_number(const struct queue_body *body)
{
	return body->number;
}

bool body_is_sealed(const struct queue_body *body)
{
	return body->sealed;
}

bool body_store(struct queue_body *body, bool *store_failed, struct err *err)
{
	body->stored = spool_store(&body->queue->spool, body->fd, body->number, store_failed, err);
	return body->stored;
}

void body_describe(const struct queue_body *body, struct stored_part *part)
{
	*part = (struct stored_part){.number = body->number, .file = body->is_file, .size = body->size};
	if (body->is_file) {
		memcpy(part->digest, body->result, sizeof part->digest);
		return;
	}
	part->data = buf_bytes(&body->filling);
	digest_of(part->data, part->digest);
}
