/* What must be true before the first message is taken. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/relay/queue/queue_private.h"
#include "appliance/relay/queue/transaction.h"

#define LOCK_WAIT_MS 2000 /* a predecessor that was killed may still be dying */
#define LOCK_POLL_MS 20

/* ---- the directory ---- */

static bool lock_directory(struct queue *queue, struct err *err)
{
	const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000};
	int64_t deadline = clock_monotonic_ms() + LOCK_WAIT_MS;

	while (flock(queue->directory_fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(err, "lock %s", queue->directory);
		if (queue->closing || clock_monotonic_ms() > deadline)
			return err_set(err, ERR_UNAVAILABLE, "%s is in use by another process", queue->directory);
		nanosleep(&pause, NULL);
	}
	return true;
}

static bool open_directory(struct queue *queue, struct err *err)
{
	if (mkdir(queue->directory, 0700) != 0 && errno != EEXIST)
		return err_errno(err, "make %s", queue->directory);
	queue->directory_fd = open(queue->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (queue->directory_fd < 0)
		return err_errno(err, "open %s", queue->directory);
	queue->space.directory_fd = queue->directory_fd;
	return lock_directory(queue, err) && spool_open(&queue->spool, queue->directory_fd, err);
}

static bool open_databases(struct queue *queue, struct err *err)
{
	char *path = mem_format("%s/queue.db", queue->directory);

	queue->keeper.database = database_open_writer(path, err);
	if (queue->keeper.database != NULL)
		queue->read_database = database_open_reader(path, err);
	if (queue->read_database != NULL)
		queue->list_database = database_open_reader(path, err);
	free(path);
	if (queue->list_database == NULL)
		return false;
	return fsync(queue->directory_fd) == 0 || err_errno(err, "sync %s", queue->directory);
}

/* On a full disk the WAL of the last run finds no room in the database: the ballast is for that. */
static bool open_databases_with_ballast(struct queue *queue, struct err *err)
{
	if (open_databases(queue, err))
		return true;
	if (err->code != ERR_LIMIT || queue->space.ballast_bytes == 0)
		return false;
	database_close(queue->read_database);
	database_close(queue->keeper.database);
	queue->read_database = queue->keeper.database = NULL;
	space_release_ballast(&queue->space);
	return open_databases(queue, err);
}

/* ---- rows and files ---- */

static bool list_numbers(struct database *database, enum statement statement, unsigned columns, struct buf *numbers,
			 struct err *err)
{
	sqlite3_stmt *select = database_statement(database, statement);
	bool row = true, ok = true;

	while (ok && row) {
		ok = database_step(database, select, &row, err);
		for (unsigned i = 0; ok && row && i < columns; i++) {
			uint64_t number = column_id(select, (int)i);

			buf_put(numbers, &number, sizeof number);
		}
	}
	database_reset(select);
	return ok;
}

static bool sweep_files(struct queue *queue, struct err *err)
{
	struct buf wanted = {0};
	uint64_t removed;
	bool ok = list_numbers(queue->keeper.database, S_LIST_FILES, 1, &wanted, err) &&
		  spool_sweep(&queue->spool, (const uint64_t *)(const void *)wanted.data, wanted.len / sizeof(uint64_t),
			      &queue->closing, &removed, err);

	buf_clear(&wanted);
	return ok;
}

/* What the operator deleted while it was leased, and whose result never came. */
static bool delete_marked(struct queue *queue, const uint64_t *pairs, size_t n_pairs, struct err *err)
{
	struct transaction transaction = {.queue = queue, .keeper = &queue->keeper, .database = queue->keeper.database};
	bool ok = database_run_plain(transaction.database, S_BEGIN, err);

	for (size_t i = 0; ok && i < n_pairs; i++)
		ok = transaction_delete_recipient(&transaction, pairs[2 * i], pairs[2 * i + 1], err);
	ok = ok && transaction_record_highest(&transaction, err) && database_run_plain(transaction.database, S_COMMIT, err);
	buf_clear(&transaction.files); /* the sweep removes them: their rows are gone */
	return ok;
}

static bool finish_deletions(struct queue *queue, struct err *err)
{
	struct buf pairs = {0};
	bool ok = list_numbers(queue->keeper.database, S_LIST_DELETING, 2, &pairs, err);

	if (ok && pairs.len > 0)
		ok = delete_marked(queue, (const uint64_t *)(const void *)pairs.data, pairs.len / (2 * sizeof(uint64_t)), err);
	buf_clear(&pairs);
	return ok;
}

/* ---- numbers ---- */

static bool count_rows(struct storekeeper *keeper, struct err *err)
{
	struct tally tally = {0};

	if (!database_number(keeper->database, S_COUNT_MESSAGES, 0, &tally.messages, err) ||
	    !database_number(keeper->database, S_COUNT_WAITING, 0, &tally.waiting, err) ||
	    !database_number(keeper->database, S_COUNT_HELD, 0, &tally.held, err) ||
	    !database_number(keeper->database, S_OLDEST, 0, &keeper->oldest, err))
		return false;
	keeper->tally = tally;
	return true;
}

static bool find_highest(struct storekeeper *keeper, struct err *err)
{
	static const enum statement sources[] = {S_RECORDED_HIGHEST, S_HIGHEST_MESSAGE, S_HIGHEST_RECIPIENT, S_HIGHEST_FILE};
	int64_t found, highest = 0;

	for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
		if (!database_number(keeper->database, sources[i], 0, &found, err))
			return false;
		if (found > highest)
			highest = found;
		if (sources[i] == S_RECORDED_HIGHEST)
			keeper->recorded_highest = (uint64_t)found;
	}
	pthread_mutex_lock(&keeper->lock);
	keeper->bulletin.highest = (uint64_t)highest;
	pthread_mutex_unlock(&keeper->lock);
	return true;
}

bool recovery_run(struct queue *queue, struct err *err)
{
	struct storekeeper *keeper = &queue->keeper;

	return open_directory(queue, err) && open_databases_with_ballast(queue, err) && space_measure(&queue->space, err) &&
	       find_highest(keeper, err) && finish_deletions(queue, err) && count_rows(keeper, err) && sweep_files(queue, err);
}
