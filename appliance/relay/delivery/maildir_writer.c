#include "appliance/relay/delivery/maildir_writer.h"

#include <stdlib.h>

#include "appliance/base/clock.h"
#include "appliance/base/pool.h"
#include "appliance/relay/delivery/maildir.h"
#include "appliance/relay/delivery/source.h"

/* One file on its way. Belongs to the pool thread while `running`, else to the loop. */
struct job {
	struct maildir_writer *writer; /* NULL: given up; the file goes when the thread is done with it */
	char *directory;
	struct maildir_file file;
	struct maildir_lines lines;
	struct buf octets; /* to be written next */
	bool last;
	bool running;
	bool ok;
	struct err err;
};

struct maildir_writer {
	struct event_base *base;
	struct queue *queue;
	struct pool *pool;
	char *path, *label;
	maildir_finished_cb *finished;
	void *arg;
	struct group *group; /* NULL: none runs */
	size_t recipient; /* of the group: being delivered */
	struct source *source;
	struct job *job;
};

static void job_free(struct job *job)
{
	maildir_file_discard(&job->file);
	buf_clear(&job->octets);
	free(job->directory);
	free(job);
}

static bool write_step(struct job *job)
{
	if (job->file.name == NULL &&
	    (!maildir_make(job->directory, &job->err) || !maildir_file_create(&job->file, job->directory, &job->err)))
		return false;
	if (!maildir_file_write(&job->file, buf_bytes(&job->octets), &job->err))
		return false;
	return !job->last || maildir_file_finish(&job->file, &job->err);
}

static void work(void *arg)
{
	struct job *job = arg;

	job->ok = write_step(job);
	if (!job->ok)
		maildir_file_discard(&job->file);
}

static void begin_recipient(struct maildir_writer *writer);

static void drop_job(struct maildir_writer *writer)
{
	struct job *job = writer->job;

	source_close(writer->source);
	writer->source = NULL;
	writer->job = NULL;
	if (job == NULL)
		return;
	job->writer = NULL;
	if (!job->running)
		job_free(job);
}

/* The recipient is settled: on with the next one, or done. */
static void end_recipient(struct maildir_writer *writer)
{
	struct group *group = writer->group;

	drop_job(writer);
	if (++writer->recipient < group->count) {
		begin_recipient(writer);
		return;
	}
	writer->group = NULL;
	writer->finished(group, writer->arg);
}

static void settle(struct maildir_writer *writer, enum queue_result_kind kind, const char *status, const char *reply)
{
	group_settle(&writer->group->recipients[writer->recipient], kind, status, reply);
}

static void on_written(void *arg)
{
	struct job *job = arg;
	struct maildir_writer *writer = job->writer;

	job->running = false;
	if (writer == NULL) {
		job_free(job);
		return;
	}
	if (job->ok && !job->last) {
		buf_reset(&job->octets);
		source_next(writer->source);
		return;
	}
	if (job->ok)
		settle(writer, QUEUE_DELIVERED, "2.0.0", "delivered to the maildir");
	else
		settle(writer, QUEUE_DEFERRED, "4.3.0", job->err.text);
	end_recipient(writer);
}

static void on_chunk(struct bytes chunk, bool last, const struct err *err, void *arg)
{
	struct maildir_writer *writer = arg;
	struct job *job = writer->job;

	if (err != NULL) {
		settle(writer, err->code == ERR_INTEGRITY ? QUEUE_DAMAGED : QUEUE_DEFERRED, "4.3.0", err->text);
		end_recipient(writer);
		return;
	}
	maildir_lines_feed(&job->lines, chunk, &job->octets);
	if (last)
		maildir_lines_finish(&job->lines, &job->octets);
	job->last = last;
	job->running = true;
	pool_submit(writer->pool, work, on_written, job);
}

static void begin_recipient(struct maildir_writer *writer)
{
	struct group *group = writer->group;
	struct job *job = mem_new(sizeof *job);

	job->writer = writer;
	job->directory = mem_string(writer->path);
	maildir_put_header(&job->octets, group->message->sender, group->recipients[writer->recipient].address);
	writer->job = job;
	writer->source = source_open(writer->base, writer->queue, group->message, group->rendering, on_chunk, writer);
}

struct maildir_writer *maildir_writer_new(struct event_base *base, struct queue *queue, struct pool *pool, const char *path,
					  maildir_finished_cb *finished, void *arg)
{
	struct maildir_writer *writer = mem_new(sizeof *writer);

	writer->base = base;
	writer->queue = queue;
	writer->pool = pool;
	writer->path = mem_string(path);
	writer->label = mem_format("maildir:%s", path);
	writer->finished = finished;
	writer->arg = arg;
	return writer;
}

void maildir_writer_send(struct maildir_writer *writer, struct group *group)
{
	group_set_hop(group, writer->label);
	group->sent_ms = clock_monotonic_ms();
	writer->group = group;
	writer->recipient = 0;
	begin_recipient(writer);
}

void maildir_writer_free(struct maildir_writer *writer)
{
	if (writer == NULL)
		return;
	drop_job(writer);
	group_free(writer->group);
	free(writer->path);
	free(writer->label);
	free(writer);
}
