/* Bodies on their way out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/relay/queue/digest.h"
#include "appliance/relay/queue/queue_private.h"

#define READ_MAX_BYTES 65536
#define N_PARTS 2

struct part {
	uint64_t number; /* 0: the message has no such part */
	bool file;
	uint64_t size;
	uint8_t want[DIGEST_BYTES];
	struct buf data; /* of a part that is no file; checked when it was opened */
	int fd;
	struct digest *digest; /* of the octets before `hashed`; made with the first read */
	uint64_t hashed;
};

/*
 * One operation at a time: it runs as a job, and comes back as a request where it needs no thread. A reader that is closed
 * meanwhile is freed when the operation comes back, so a job never writes into the caller's memory: it reads into `chunk`.
 */
struct queue_reader {
	struct request request;
	struct queue *queue;
	uint64_t message;
	struct part parts[N_PARTS];
	bool busy, closed;
	struct err err;

	struct part *part;
	uint64_t offset;
	size_t len;
	void *data;
	uint8_t *chunk; /* of a file; made with the first read */
	const uint8_t *octets; /* what was read */
	ssize_t got;

	queue_opened_cb *opened;
	queue_read_cb *read;
	queue_verified_cb *verified;
	void *arg;
};

static void free_reader(struct queue_reader *reader)
{
	for (int i = 0; i < N_PARTS; i++) {
		buf_clear(&reader->parts[i].data);
		digest_free(reader->parts[i].digest);
		if (reader->parts[i].fd >= 0)
			close(reader->parts[i].fd);
	}
	free(reader->chunk);
	free(reader);
}

static const struct err *error_of(const struct queue_reader *reader)
{
	return reader->err.code != ERR_NONE ? &reader->err : NULL;
}

/* True when the caller has closed it meanwhile. */
static bool end_operation(struct queue_reader *reader)
{
	reader->busy = false;
	if (!reader->closed)
		return false;
	free_reader(reader);
	return true;
}

void queue_reader_close(struct queue_reader *reader)
{
	if (reader == NULL)
		return;
	reader->closed = true;
	if (!reader->busy)
		free_reader(reader);
}

/* ---- opening: on the reader thread ---- */

static bool damaged(const struct queue_reader *reader, const struct part *part, const char *how, struct err *err)
{
	return err_set(err, ERR_INTEGRITY, "message %llu: the stored %s body %s", (unsigned long long)reader->message,
		       part == &reader->parts[QUEUE_PART_ENCODED] ? "encoded" : "original", how);
}

static bool read_part_row(struct queue_reader *reader, struct part *part, sqlite3_stmt *select, int at, struct err *err)
{
	if (sqlite3_column_type(select, at) == SQLITE_NULL)
		return true;
	part->number = column_id(select, at);
	part->file = column_id(select, at + 1) != 0;
	part->size = column_id(select, at + 2);
	if (sqlite3_column_bytes(select, at + 3) != DIGEST_BYTES)
		return damaged(reader, part, "has no digest", err);
	memcpy(part->want, sqlite3_column_blob(select, at + 3), DIGEST_BYTES);
	return true;
}

static bool load_parts(struct queue_reader *reader, struct database *database, struct err *err)
{
	sqlite3_stmt *select = database_statement(database, S_LOAD_PARTS);
	bool row, ok;

	bind_id(select, 1, reader->message);
	ok = database_step(database, select, &row, err);
	if (ok && !row)
		ok = err_set(err, ERR_NOT_FOUND, "message %llu is not in the queue", (unsigned long long)reader->message);
	for (int i = 0; ok && i < N_PARTS; i++)
		ok = read_part_row(reader, &reader->parts[i], select, 4 * i, err);
	database_reset(select);
	return ok;
}

static bool load_blob(struct queue_reader *reader, struct database *database, struct part *part, struct err *err)
{
	sqlite3_stmt *select = database_statement(database, S_LOAD_BODY);
	uint8_t have[DIGEST_BYTES];
	bool row, ok;

	bind_id(select, 1, part->number);
	ok = database_step(database, select, &row, err);
	if (ok && row)
		column_octets(select, 0, &part->data);
	database_reset(select);
	if (!ok)
		return false;
	if (!row)
		return damaged(reader, part, "is missing", err);
	digest_of(buf_bytes(&part->data), have);
	if (part->data.len != part->size || memcmp(have, part->want, DIGEST_BYTES) != 0)
		return damaged(reader, part, "does not have its digest", err);
	return true;
}

static bool open_file(struct queue_reader *reader, struct part *part, struct err *err)
{
	off_t size;

	part->fd = spool_open_stored(&reader->queue->spool, part->number, err);
	if (part->fd < 0)
		return false;
	size = lseek(part->fd, 0, SEEK_END);
	if (size < 0)
		return err_errno(err, "size of a body file");
	return (uint64_t)size == part->size || damaged(reader, part, "does not have its size", err);
}

static void work_open(void *arg)
{
	struct queue_reader *reader = arg;
	struct database *database = reader->queue->read_database;

	if (!load_parts(reader, database, &reader->err))
		return;
	for (int i = 0; i < N_PARTS; i++) {
		struct part *part = &reader->parts[i];
		bool ok = part->number == 0 ||
			  (part->file ? open_file(reader, part, &reader->err) : load_blob(reader, database, part, &reader->err));

		if (!ok)
			return;
	}
}

static void finish_open(struct queue_reader *reader)
{
	queue_opened_cb *opened = reader->opened;
	struct err err = reader->err;

	reader->busy = false;
	if (err.code == ERR_NONE) {
		opened(reader, NULL, reader->arg);
	} else {
		void *opened_arg = reader->arg;

		free_reader(reader);
		opened(NULL, &err, opened_arg);
	}
}

static void done_open(void *arg)
{
	struct queue_reader *reader = arg;
	struct queue *queue = reader->queue;

	finish_open(reader);
	queue_release(queue);
}

static void finish_posted_open(struct queue *queue, struct request *request)
{
	(void)queue;
	finish_open((struct queue_reader *)request);
}

/* False: it must be read from the store. */
static bool take_recent(struct queue_reader *reader)
{
	const struct recent_message *recent = recent_find(&reader->queue->recent, reader->message);

	for (int i = 0; recent != NULL && i < N_PARTS; i++) {
		struct part *part = &reader->parts[i];

		part->number = recent->numbers[i];
		part->size = recent->parts[i].len;
		buf_put_bytes(&part->data, buf_bytes(&recent->parts[i]));
	}
	return recent != NULL;
}

void queue_body_open(struct queue *queue, const struct queue_stored *message, queue_opened_cb *opened, void *arg)
{
	struct queue_reader *reader = mem_new(sizeof *reader);

	*reader = (struct queue_reader){.queue = queue, .message = message->id, .busy = true, .opened = opened, .arg = arg};
	for (int i = 0; i < N_PARTS; i++)
		reader->parts[i].fd = -1;
	if (take_recent(reader)) {
		reader->request.finish = finish_posted_open;
		queue_post(queue, &reader->request);
		return;
	}
	queue_hold(queue);
	pool_submit(queue->reader, work_open, done_open, reader);
}

/* ---- reading ---- */

static size_t least(size_t a, uint64_t b)
{
	return a < b ? a : (size_t)b;
}

static bool read_file(struct queue_reader *reader, const struct part *part, uint64_t offset, size_t len, ssize_t *got,
		      struct err *err)
{
	do
		*got = pread(part->fd, reader->chunk, len, (off_t)offset);
	while (*got < 0 && errno == EINTR);
	if (*got < 0)
		return err_errno(err, "read a body file of message %llu", (unsigned long long)reader->message);
	return *got > 0 || damaged(reader, part, "has become shorter", err);
}

/* Octets that a rendering leaves out are hashed as well. */
static bool hash_up_to(struct queue_reader *reader, struct part *part, uint64_t offset, struct err *err)
{
	while (part->hashed < offset) {
		ssize_t got;

		if (!read_file(reader, part, part->hashed, least(READ_MAX_BYTES, offset - part->hashed), &got, err))
			return false;
		digest_add(part->digest, bytes_of(reader->chunk, (size_t)got));
		part->hashed += (uint64_t)got;
	}
	return true;
}

/* Hashes what is new of the octets just read at `offset`, which are not beyond part->hashed. */
static void hash_chunk(struct part *part, const uint8_t *chunk, uint64_t offset, size_t got)
{
	uint64_t end = offset + got;

	if (end <= part->hashed)
		return;
	digest_add(part->digest, bytes_of(chunk + (part->hashed - offset), (size_t)(end - part->hashed)));
	part->hashed = end;
}

static void work_read(void *arg)
{
	struct queue_reader *reader = arg;
	struct part *part = reader->part;
	size_t len = least(reader->len, part->size - reader->offset);

	if (part->digest == NULL)
		part->digest = digest_new();
	if (!hash_up_to(reader, part, reader->offset, &reader->err) ||
	    !read_file(reader, part, reader->offset, len, &reader->got, &reader->err))
		return;
	hash_chunk(part, reader->chunk, reader->offset, (size_t)reader->got);
}

static void finish_read(struct queue_reader *reader)
{
	if (end_operation(reader))
		return;
	if (error_of(reader) == NULL)
		memcpy(reader->data, reader->octets, (size_t)reader->got);
	reader->read(error_of(reader) == NULL ? reader->got : -1, error_of(reader), reader->arg);
}

static void done_read(void *arg)
{
	struct queue_reader *reader = arg;
	struct queue *queue = reader->queue;

	finish_read(reader);
	queue_release(queue);
}

static void finish_posted_read(struct queue *queue, struct request *request)
{
	(void)queue;
	finish_read((struct queue_reader *)request);
}

static void read_from_memory(struct queue_reader *reader)
{
	size_t len = reader->offset < reader->part->size ? least(reader->len, reader->part->size - reader->offset) : 0;

	reader->octets = len > 0 ? reader->part->data.data + reader->offset : (const uint8_t *)"";
	reader->got = (ssize_t)len;
	reader->request.finish = finish_posted_read;
	queue_post(reader->queue, &reader->request);
}

void queue_reader_read(struct queue_reader *reader, enum queue_part part, uint64_t offset, void *data, size_t len,
		       queue_read_cb *cb, void *arg)
{
	reader->busy = true;
	reader->part = &reader->parts[part];
	reader->offset = offset;
	reader->len = least(len, READ_MAX_BYTES);
	reader->data = data;
	reader->read = cb;
	reader->arg = arg;
	if (!reader->part->file || reader->len == 0 || offset >= reader->part->size) {
		read_from_memory(reader);
		return;
	}
	if (reader->chunk == NULL)
		reader->chunk = mem_new(READ_MAX_BYTES);
	reader->octets = reader->chunk;
	queue_hold(reader->queue);
	pool_submit(reader->queue->files, work_read, done_read, reader);
}

/* ---- verifying ---- */

static bool verify_part(struct queue_reader *reader, struct part *part, struct err *err)
{
	uint8_t have[DIGEST_BYTES];

	if (part->digest == NULL)
		return true;
	if (!hash_up_to(reader, part, part->size, err))
		return false;
	digest_end(part->digest, have);
	digest_free(part->digest);
	part->digest = NULL;
	part->hashed = 0;
	return memcmp(have, part->want, DIGEST_BYTES) == 0 || damaged(reader, part, "does not have its digest", err);
}

static void work_verify(void *arg)
{
	struct queue_reader *reader = arg;

	for (int i = 0; i < N_PARTS; i++)
		if (!verify_part(reader, &reader->parts[i], &reader->err))
			return;
}

static void done_verify(void *arg)
{
	struct queue_reader *reader = arg;
	struct queue *queue = reader->queue;

	if (!end_operation(reader))
		reader->verified(error_of(reader), reader->arg);
	queue_release(queue);
}

static void finish_posted_verify(struct queue *queue, struct request *request)
{
	struct queue_reader *reader = (struct queue_reader *)request;

	(void)queue;
	if (!end_operation(reader))
		reader->verified(error_of(reader), reader->arg);
}

/* What was not read from a file needs no thread: its digest was checked when it was opened. */
void queue_reader_verify(struct queue_reader *reader, queue_verified_cb *cb, void *arg)
{
	reader->busy = true;
	reader->verified = cb;
	reader->arg = arg;
	if (reader->err.code != ERR_NONE || (reader->parts[0].digest == NULL && reader->parts[1].digest == NULL)) {
		reader->request.finish = finish_posted_verify;
		queue_post(reader->queue, &reader->request);
		return;
	}
	queue_hold(reader->queue);
	pool_submit(reader->queue->files, work_verify, done_verify, reader);
}
