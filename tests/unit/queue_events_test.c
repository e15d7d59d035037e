/* Events: what is stored with messages and results, the lists that are made of them, places of receivers. */
#include "appliance/relay/queue/events.h"

#include <sqlite3.h>

#include "tests/unit/queue_fixture.h"

struct seen {
	bool done;
	char text[4096]; /* a line each: status to reason client source api_data */
	uint64_t last;
	size_t count;
	struct event_gap gap;
	struct err err;
};

static void note_rows(struct seen *seen, const struct event_row *rows, size_t count, const struct err *err)
{
	static const char *const names[] = {"queued", "succeeded", "failed", "deferred"};

	*seen = (struct seen){.done = true, .count = count};
	if (err != NULL)
		seen->err = *err;
	for (size_t i = 0; i < count; i++) {
		size_t at = strlen(seen->text);

		CHECK(rows[i].id > seen->last);
		seen->last = rows[i].id;
		snprintf(seen->text + at, sizeof seen->text - at, "%s %s [%s] [%s] [%s] [%s]\n", names[rows[i].status],
			 rows[i].to, rows[i].reason, rows[i].client_ip, rows[i].source_ip, rows[i].api_data);
	}
}

static void on_list(const struct event_row *rows, size_t count, const struct err *err, void *arg)
{
	note_rows(arg, rows, count, err);
}

static void on_next(const struct event_row *rows, size_t count, const struct event_gap *gap, const struct err *err, void *arg)
{
	struct seen *seen = arg;

	note_rows(seen, rows, count, err);
	if (gap != NULL)
		seen->gap = *gap;
}

static struct seen list(struct fixture *f, const struct event_filter *filter)
{
	struct seen seen = {0};

	event_list(f->queue, filter, on_list, &seen);
	CHECK(fixture_wait(f, &seen.done));
	return seen;
}

static struct seen next(struct fixture *f, size_t bound, size_t limit)
{
	struct seen seen = {0};

	event_next(f->queue, "default https://r.example/", "default", bound, limit, on_next, &seen);
	CHECK(fixture_wait(f, &seen.done));
	return seen;
}

static void place(struct fixture *f, uint64_t id)
{
	struct fixture_flag flag = {0};

	if (id == 0)
		event_begin_place(f->queue, "default https://r.example/", fixture_on_done, &flag);
	else
		event_set_place(f->queue, "default https://r.example/", id, fixture_on_done, &flag);
	CHECK(fixture_wait(f, &flag.done));
	CHECK_OK(flag.err.code == ERR_NONE, &flag.err);
}

/* A message to two readers, the first of them reached, the second put off. */
static void store(struct fixture *f, const char *server)
{
	struct queue_message message = fixture_message(f);
	const struct queue_recipient recipients[] = {{.address = "Reader@example.net", .rule = "default"},
						     {.address = "other@example.org", .rule = "default"}};
	struct fixture_commit commit = {0};

	message.server = server;
	message.header_from = "alice@example.com";
	message.subject = "hello";
	message.sender_ip = "192.0.2.9";
	message.api_data = "CMC1";
	message.plain_size = 10;
	queue_commit(f->queue, &message, recipients, 2, fixture_body(f, 10, 1, 10), NULL, fixture_on_commit, &commit);
	CHECK(fixture_wait(f, &commit.done));
	CHECK_INT(commit.result, QUEUE_STORED);
}

static void deliver(struct fixture *f)
{
	struct queue_claim *claim = fixture_claim(f, 2);

	CHECK(fixture_report_one(f, claim, 0, QUEUE_DELIVERED, 0, "250 2.0.0 ok"));
	CHECK(fixture_report_one(f, claim, 1, QUEUE_DEFERRED, clock_wall_ms() + 100000, "451 4.3.0 later"));
	queue_claim_free(claim);
}

static void lists_what_happened(void)
{
	struct fixture f = fixture_begin();
	struct event_filter filter = {.server = "default", .status = QUEUE_LOG_ANY, .limit = 10};
	struct seen seen;

	store(&f, "default");
	store(&f, "another");
	deliver(&f);
	seen = list(&f, &filter);
	CHECK_TEXT(seen.text, "queued Reader@example.net [] [192.0.2.9] [] [CMC1]\n"
			      "queued other@example.org [] [192.0.2.9] [] [CMC1]\n"
			      "succeeded Reader@example.net [250 2.0.0 ok] [192.0.2.9] [] [CMC1]\n"
			      "deferred other@example.org [451 4.3.0 later] [192.0.2.9] [] [CMC1]\n");
	filter.to = "READER@";
	CHECK_INT(list(&f, &filter).count, 2);
	filter.status = QUEUE_LOG_SUCCEEDED;
	CHECK_INT(list(&f, &filter).count, 1);
	filter.to = NULL;
	filter.from = "bob";
	CHECK_INT(list(&f, &filter).count, 0);
	filter = (struct event_filter){.server = "default", .status = QUEUE_LOG_ANY, .api_data = "CMC", .limit = 10};
	CHECK_INT(list(&f, &filter).count, 0);
	filter.api_data = NULL;
	filter.skip = 3;
	CHECK_INT(list(&f, &filter).count, 1);
	filter.skip = 0;
	filter.since = clock_wall_ms() + 60000;
	CHECK_INT(list(&f, &filter).count, 0);
	filter.since = clock_wall_ms() - 60000;
	filter.until = clock_wall_ms() + 1;
	CHECK_INT(list(&f, &filter).count, 4);
	fixture_end(&f);
}

static void on_days(const struct event_day *days, size_t count, const struct err *err, void *arg)
{
	struct seen *seen = arg;

	seen->done = true;
	seen->count = count;
	CHECK(err == NULL);
	if (count > 0)
		snprintf(seen->text, sizeof seen->text, "%d %d %d %d", (int)days[0].counts[QUEUE_LOG_QUEUED],
			 (int)days[0].counts[QUEUE_LOG_SUCCEEDED], (int)days[0].counts[QUEUE_LOG_FAILED],
			 (int)days[0].counts[QUEUE_LOG_DEFERRED]);
}

static void on_pruned(uint64_t messages, const struct err *err, void *arg)
{
	CHECK_INT(messages, 1);
	fixture_on_done(err, arg);
}

static void counts_days_and_outlives_the_log(void)
{
	struct fixture f = fixture_begin();
	const struct event_filter filter = {.server = "default", .status = QUEUE_LOG_ANY, .limit = 10};
	struct fixture_flag pruned = {0};
	int day = event_day_of(clock_wall_ms());
	struct seen seen = {0};

	store(&f, "default");
	deliver(&f);
	queue_log_prune(f.queue, "default", clock_wall_ms() + 1000, on_pruned, &pruned);
	CHECK(fixture_wait(&f, &pruned.done));
	CHECK_INT(list(&f, &filter).count, 0);
	event_days(f.queue, "default", day, day + 1, on_days, &seen);
	CHECK(fixture_wait(&f, &seen.done));
	CHECK_TEXT(seen.text, "2 1 0 1");
	fixture_end(&f);
}

static void on_hours(const struct event_hour *hours, size_t count, const struct err *err, void *arg)
{
	struct seen *seen = arg;
	struct event_hour sum = {0};

	seen->done = true;
	seen->count = count;
	CHECK(err == NULL);
	for (size_t i = 0; i < count; i++) { /* the hour may end in the middle of the test */
		sum.messages += hours[i].messages;
		sum.signed_messages += hours[i].signed_messages;
		for (int status = 0; status < QUEUE_LOG_ANY; status++)
			sum.counts[status] += hours[i].counts[status];
		CHECK(i == 0 || hours[i].hour > hours[i - 1].hour);
		CHECK(hours[i].hour >= clock_wall_seconds() / 3600 - 1);
	}
	snprintf(seen->text, sizeof seen->text, "%d %d: %d %d %d %d", (int)sum.messages, (int)sum.signed_messages,
		 (int)sum.counts[QUEUE_LOG_QUEUED], (int)sum.counts[QUEUE_LOG_SUCCEEDED], (int)sum.counts[QUEUE_LOG_FAILED],
		 (int)sum.counts[QUEUE_LOG_DEFERRED]);
}

static const char *hours_of(struct fixture *f, struct seen *seen, const char *server, int64_t since, int64_t until)
{
	*seen = (struct seen){0};
	event_hours(f->queue, server, since, until, on_hours, seen);
	CHECK(fixture_wait(f, &seen->done));
	return seen->text;
}

static void counts_hours_of_servers(void)
{
	struct fixture f = fixture_begin();
	int64_t now = clock_wall_ms();
	struct seen seen;

	store(&f, "default");
	deliver(&f);
	store(&f, "branch");
	CHECK_TEXT(hours_of(&f, &seen, "default", now - 3600000, now + 3600000), "1 0: 2 1 0 1");
	CHECK_TEXT(hours_of(&f, &seen, "branch", now - 3600000, now + 3600000), "1 0: 2 0 0 0");
	CHECK_TEXT(hours_of(&f, &seen, NULL, now - 3600000, now + 3600000), "2 0: 4 1 0 1");
	CHECK_TEXT(hours_of(&f, &seen, NULL, now - 7200000, now - 3600000), "0 0: 0 0 0 0");
	CHECK_INT(seen.count, 0);
	fixture_end(&f);
}

static void receivers_keep_their_place(void)
{
	struct fixture f = fixture_begin();
	struct seen seen;

	store(&f, "default");
	CHECK_INT(next(&f, 100, 10).count, 0); /* no place */
	place(&f, 0);
	CHECK_INT(next(&f, 100, 10).count, 0); /* behind what there was */
	deliver(&f);
	seen = next(&f, 100, 10);
	CHECK_INT(seen.count, 2);
	CHECK_INT(next(&f, 100, 1).count, 1);
	place(&f, 0); /* known already: stays */
	CHECK_INT(next(&f, 100, 10).count, 2);
	fixture_close(&f);
	CHECK_OK(fixture_open(&f), &f.err);
	CHECK_INT(next(&f, 100, 10).count, 2);
	place(&f, seen.last);
	CHECK_INT(next(&f, 100, 10).count, 0);
	fixture_end(&f);
}

static void a_backlog_beyond_its_bound_loses_the_oldest(void)
{
	struct fixture f = fixture_begin();
	struct seen seen;

	place(&f, 0);
	for (int i = 0; i < 5; i++)
		store(&f, "default");
	CHECK_INT(next(&f, 10, 100).gap.skipped, 0);
	seen = next(&f, 4, 100);
	CHECK_INT(seen.gap.skipped, 6);
	CHECK_INT(seen.count, 4);
	place(&f, seen.gap.until);
	CHECK_INT(next(&f, 4, 100).gap.skipped, 0);
	CHECK_INT(next(&f, 4, 100).count, 4);
	fixture_end(&f);
}

/* What schema 3 kept: one row an event by its number, and two indices. */
static const char to_schema_3[] =
    "DROP INDEX event_trouble;"
    "ALTER TABLE event RENAME TO event_4;"
    "CREATE TABLE event (id INTEGER PRIMARY KEY, server TEXT NOT NULL, status INTEGER NOT NULL,"
    " message INTEGER NOT NULL, recipient INTEGER NOT NULL, reason TEXT, source_ip TEXT) STRICT;"
    "INSERT INTO event SELECT id, server, status, message, recipient, reason, source_ip FROM event_4;"
    "DROP TABLE event_4;"
    "CREATE INDEX event_server ON event (server);"
    "CREATE INDEX event_status ON event (server, status);"
    "CREATE INDEX log_message_server ON log_message (server);"
    "PRAGMA user_version = 3;"
    "PRAGMA wal_checkpoint(TRUNCATE)";

static void make_schema_3(const struct fixture *f)
{
	char *path = mem_format("%s/queue.db", f->directory);
	sqlite3 *db;

	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_INT(sqlite3_exec(db, to_schema_3, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	free(path);
}

static void events_of_the_previous_schema_stay(void)
{
	struct fixture f = {.directory = test_directory()};
	struct event_filter filter = {.server = "default", .status = QUEUE_LOG_ANY, .limit = 10};
	struct seen before, after;

	CHECK_OK(fixture_open(&f), &f.err);
	place(&f, 0);
	store(&f, "another");
	store(&f, "default");
	deliver(&f);
	before = list(&f, &filter);
	fixture_close(&f);
	make_schema_3(&f);
	CHECK_OK(fixture_open(&f), &f.err);
	after = list(&f, &filter);
	CHECK_INT(after.count, 2);
	CHECK_TEXT(after.text, before.text);
	CHECK_INT(after.last, before.last);
	CHECK_INT(next(&f, 100, 10).count, 2);
	filter.server = "another";
	filter.status = QUEUE_LOG_DEFERRED;
	CHECK_INT(list(&f, &filter).count, 1);
	store(&f, "another"); /* numbered behind the events of every server */
	filter.status = QUEUE_LOG_ANY;
	CHECK(list(&f, &filter).last > after.last);
	fixture_end(&f);
}

static void note_pruned(uint64_t messages, const struct err *err, void *arg)
{
	struct fixture_flag *flag = arg;

	CHECK(err == NULL);
	*flag = (struct fixture_flag){.done = true};
	CHECK_INT(messages, 3);
}

/* More rows of others lie in between than a slice looks at. */
static void pruning_a_server_leaves_the_others(void)
{
	struct fixture f = fixture_begin();
	struct event_filter filter = {.server = "default", .status = QUEUE_LOG_ANY, .limit = 1000};
	struct fixture_flag pruned = {0};

	store(&f, "another");
	for (int i = 0; i < 1100; i++)
		store(&f, i == 550 ? "another" : "default");
	store(&f, "another");
	queue_log_prune(f.queue, "another", clock_wall_ms() + 1000, note_pruned, &pruned);
	CHECK(fixture_wait(&f, &pruned.done));
	filter.skip = 2 * 1099 - 1;
	CHECK_INT(list(&f, &filter).count, 1);
	filter = (struct event_filter){.server = "another", .status = QUEUE_LOG_ANY, .limit = 10};
	CHECK_INT(list(&f, &filter).count, 0);
	fixture_end(&f);
}

int main(void)
{
	fixture_use_memory();
	TEST(lists_what_happened);
	TEST(counts_days_and_outlives_the_log);
	TEST(counts_hours_of_servers);
	TEST(receivers_keep_their_place);
	TEST(a_backlog_beyond_its_bound_loses_the_oldest);
	TEST(events_of_the_previous_schema_stay);
	TEST(pruning_a_server_leaves_the_others);
	return test_finish();
}
