/* Commit, claim, report, and what a restart finds. */
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/queue_fixture.h"

/* ---- commit ---- */

static void keeps_every_field(void)
{
	struct fixture f = fixture_begin();
	struct queue_message message = {
	    .id = queue_new_id(f.queue),
	    .server = "sales",
	    .sender = "",
	    .envelope_id = "QQ314159",
	    .ret = QUEUE_RETURN_HEADERS,
	    .smtputf8 = true,
	    .body_type = QUEUE_BINARYMIME,
	    .received = 1764000000,
	    .expires = 1764432000,
	    .prefix = bytes_text("Received: x\r\n"),
	    .addition = bytes_of("a\0b", 3),
	    .plain_size = 1013,
	    .signed_size = 5013,
	    .message_id = "<a@b>",
	};
	const struct queue_recipient recipient = {.address = "a..b@docomo.ne.jp",
						  .rendering = QUEUE_SIGNED,
						  .rule = "smime exclude",
						  .original = "rfc822;x@y",
						  .notify = QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY};
	struct fixture_commit commit = {0};
	struct queue_claim *claim;

	queue_commit(f.queue, &message, &recipient, 1, fixture_body(&f, 1000, 1, 1000), NULL, fixture_on_commit, &commit);
	CHECK(fixture_wait(&f, &commit.done));
	CHECK_INT(commit.result, QUEUE_STORED);
	claim = fixture_claim(&f, 10);
	if (CHECK_INT(claim->count, 1)) {
		const struct queue_item *item = &claim->items[0];
		const struct queue_stored *stored = item->message;

		CHECK_TEXT(item->address, "a..b@docomo.ne.jp");
		CHECK_INT(item->rendering, QUEUE_SIGNED);
		CHECK_TEXT(item->rule, "smime exclude");
		CHECK_TEXT(item->original, "rfc822;x@y");
		CHECK_INT(item->notify, QUEUE_NOTIFY_SUCCESS | QUEUE_NOTIFY_DELAY);
		CHECK_INT(item->attempts, 0);
		CHECK(stored->id == message.id);
		CHECK_TEXT(stored->server, "sales");
		CHECK_TEXT(stored->sender, "");
		CHECK_TEXT(stored->envelope_id, "QQ314159");
		CHECK_TEXT(stored->message_id, "<a@b>");
		CHECK(stored->ret == QUEUE_RETURN_HEADERS && stored->smtputf8);
		CHECK_INT(stored->body_type, QUEUE_BINARYMIME);
		CHECK_INT(stored->received, 1764000000);
		CHECK_INT(stored->expires, 1764432000);
		CHECK_BYTES(buf_bytes(&stored->prefix), message.prefix);
		CHECK_BYTES(buf_bytes(&stored->addition), message.addition);
		CHECK_INT(stored->plain_size, 1013);
		CHECK_INT(stored->signed_size, 5013);
		CHECK_INT(stored->original_size, 1000);
		CHECK_INT(stored->encoded_size, 0);
	}
	queue_claim_free(claim);
	fixture_end(&f);
}

static void refuses_what_could_never_leave(void)
{
	struct fixture f = fixture_begin();
	struct queue_message message = fixture_message(&f);
	struct fixture_commit commit = {0}, unsealed = {0};
	struct queue_body *body = queue_body_begin(f.queue, 0);

	queue_commit(f.queue, &message, NULL, 0, NULL, NULL, fixture_on_commit, &commit);
	queue_commit(f.queue, &message, &fixture_recipient, 1, body, NULL, fixture_on_commit, &unsealed);
	CHECK(!commit.done);
	CHECK(fixture_wait(&f, &unsealed.done));
	CHECK_INT(commit.result, QUEUE_COMMIT_FAILED);
	CHECK_INT(commit.err.code, ERR_INVALID);
	CHECK_INT(unsealed.result, QUEUE_COMMIT_FAILED);
	CHECK_INT(queue_count(f.queue).messages, 0);
	fixture_end(&f);
}

static void stores_the_same_id_once(void)
{
	static const size_t body_sizes[] = {100, 100000};
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < 2; i++) {
		struct queue_message message = fixture_message(&f);

		test_case("%zu octets", body_sizes[i]);
		CHECK_INT(fixture_commit(&f, &message, fixture_body(&f, body_sizes[i], 1, 9999), NULL), QUEUE_STORED);
		CHECK_INT(fixture_commit(&f, &message, fixture_body(&f, body_sizes[i], 2, 9999), NULL), QUEUE_STORED);
		fixture_run_ms(&f, 20);
		CHECK_INT(queue_count(f.queue).messages, i + 1);
		CHECK_INT(queue_count(f.queue).waiting, i + 1);
		CHECK_INT(fixture_files(&f), i); /* the repeated body's file is gone */
	}
	fixture_end(&f);
}

#define COMMITTERS 64

static void commits_in_groups(void)
{
	struct fixture f = fixture_begin();
	struct queue_body *bodies[COMMITTERS];
	struct fixture_commit commits[COMMITTERS] = {{0}};
	uint64_t transactions;

	for (uint32_t i = 0; i < COMMITTERS; i++)
		bodies[i] = fixture_body(&f, 10000, i, 10000);
	for (size_t i = 0; i < COMMITTERS; i++) {
		struct queue_message message = fixture_message(&f);

		queue_commit(f.queue, &message, &fixture_recipient, 1, bodies[i], NULL, fixture_on_commit, &commits[i]);
	}
	for (size_t i = 0; i < COMMITTERS; i++) {
		CHECK(fixture_wait(&f, &commits[i].done));
		CHECK_INT(commits[i].result, QUEUE_STORED);
	}
	transactions = queue_count(f.queue).transactions;
	test_case("%d messages, %llu transactions", COMMITTERS, (unsigned long long)transactions);
	CHECK(transactions > 0 && transactions <= COMMITTERS / 8);
	CHECK_INT(queue_count(f.queue).messages, COMMITTERS);
	fixture_end(&f);
}

/* ---- claim and report ---- */

#define MANY 1000

static void splits_one_message_to_many_recipients(void)
{
	struct fixture f = fixture_begin();
	struct queue_message message = fixture_message(&f);
	struct queue_recipient *recipients = mem_new_array(MANY, sizeof *recipients);
	struct queue_result *results = mem_new_array(MANY, sizeof *results);
	struct fixture_commit commit = {0};
	struct queue_claim *first, *second, *third;

	for (size_t i = 0; i < MANY; i++)
		recipients[i] = (struct queue_recipient){.address = mem_format("r%zu@example.net", i), .rendering = i % 2};
	queue_commit(f.queue, &message, recipients, MANY, fixture_body(&f, 40000, 1, 9999), NULL, fixture_on_commit, &commit);
	for (size_t i = 0; i < MANY; i++)
		free((void *)(uintptr_t)recipients[i].address);
	free(recipients);
	CHECK(fixture_wait(&f, &commit.done));
	CHECK_INT(queue_count(f.queue).waiting, MANY);
	first = fixture_claim(&f, 400);
	second = fixture_claim(&f, 10000);
	third = fixture_claim(&f, 10);
	CHECK_INT(first->count, 400);
	CHECK_INT(second->count, 600);
	CHECK_INT(third->count, 0);
	CHECK_TEXT(first->items[0].address, "r0@example.net");
	CHECK_TEXT(second->items[0].address, "r400@example.net");
	CHECK_INT(second->items[1].rendering, QUEUE_SIGNED);
	CHECK(second->items[0].message == second->items[599].message);
	CHECK_INT(queue_count(f.queue).leased, MANY);
	for (size_t i = 0; i < 600; i++)
		results[i] = (struct queue_result){.recipient = second->items[i].recipient, .kind = QUEUE_DELIVERED};
	CHECK_OK(fixture_report(&f, second->token, results, 600, NULL), &f.err);
	CHECK_INT(queue_count(f.queue).messages, 1);
	CHECK_INT(fixture_files(&f), 1);
	for (size_t i = 0; i < 400; i++)
		results[i] = (struct queue_result){.recipient = first->items[i].recipient, .kind = QUEUE_PERMANENT};
	CHECK_OK(fixture_report(&f, first->token, results, 400, NULL), &f.err);
	fixture_run_ms(&f, 20);
	CHECK_INT(queue_count(f.queue).messages, 0);
	CHECK_INT(queue_count(f.queue).leased, 0);
	CHECK_INT(fixture_files(&f), 0);
	queue_claim_free(first);
	queue_claim_free(second);
	queue_claim_free(third);
	free(results);
	fixture_end(&f);
}

static void claims_in_order_of_due_time(void)
{
	struct fixture f = fixture_begin();
	uint64_t ids[3];
	struct queue_claim *claim;
	int64_t now;

	for (uint32_t i = 0; i < 3; i++) {
		ids[i] = fixture_store(&f, 10, i);
		fixture_run_ms(&f, 2);
	}
	claim = fixture_claim(&f, 10);
	CHECK_INT(claim->count, 3);
	for (size_t i = 0; i < 3; i++)
		CHECK(claim->items[i].message->id == ids[i]);
	now = clock_wall_ms();
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DEFERRED, now - 10, "421 later"));
	CHECK(fixture_report_one(&f, claim, 1, QUEUE_DEFERRED, now - 20, "421 later"));
	CHECK(fixture_report_one(&f, claim, 2, QUEUE_DEFERRED, now + 100000, "421 later"));
	CHECK_INT(queue_next_due(f.queue), 0);
	queue_claim_free(claim);
	claim = fixture_claim(&f, 10);
	CHECK_INT(claim->count, 2);
	CHECK(claim->items[0].message->id == ids[1]);
	CHECK(claim->items[1].message->id == ids[0]);
	CHECK_INT(claim->items[0].attempts, 1);
	CHECK_INT(queue_next_due(f.queue), now + 100000);
	queue_claim_free(claim);
	fixture_end(&f);
}

static void claims_a_deferred_one_when_it_is_due(void)
{
	struct fixture f = fixture_begin();
	struct queue_claim *claim;
	int64_t due;

	CHECK_INT(queue_next_due(f.queue), -1);
	fixture_store(&f, 10, 1);
	claim = fixture_claim(&f, 1);
	due = clock_wall_ms() + 300;
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DEFERRED, due, "450 busy"));
	queue_claim_free(claim);
	CHECK_INT(queue_next_due(f.queue), due);
	claim = fixture_claim(&f, 1);
	CHECK_INT(claim->count, 0);
	queue_claim_free(claim);
	fixture_run_ms(&f, 320);
	CHECK_INT(queue_next_due(f.queue), 0);
	claim = fixture_claim(&f, 1);
	CHECK_INT(claim->count, 1);
	queue_claim_free(claim);
	fixture_end(&f);
}

static void hints_that_mail_is_due(void)
{
	struct fixture f = fixture_begin();

	CHECK_INT(f.seen->due_events, 0);
	fixture_store(&f, 10, 1);
	fixture_run_ms(&f, 20);
	CHECK(f.seen->due_events >= 1);
	fixture_end(&f);
}

static void loses_results_without_a_lease(void)
{
	struct fixture f = fixture_begin();
	struct queue_claim *claim;
	struct queue_result results[2];

	fixture_store(&f, 10, 1);
	fixture_store(&f, 10, 2);
	claim = fixture_claim(&f, 10);
	CHECK_INT(claim->count, 2);
	for (size_t i = 0; i < 2; i++)
		results[i] = (struct queue_result){.recipient = claim->items[i].recipient, .kind = QUEUE_DELIVERED};
	test_case("another token");
	CHECK(!fixture_report(&f, claim->token + 1, results, 2, NULL));
	CHECK_INT(f.err.code, ERR_NOT_FOUND);
	CHECK_CONTAINS(f.err.text, "2 of 2");
	CHECK_INT(queue_count(f.queue).messages, 2);
	test_case("one of two");
	CHECK(fixture_report(&f, claim->token, results, 1, NULL));
	CHECK(!fixture_report(&f, claim->token, results, 2, NULL));
	CHECK_CONTAINS(f.err.text, "1 of 2");
	CHECK_INT(queue_count(f.queue).messages, 0);
	queue_claim_free(claim);
	fixture_end(&f);
}

static void reports_lazily(void)
{
	struct fixture f = fixture_begin();
	struct fixture_flag flags[10] = {{0}};
	struct queue_claim *claim;
	uint64_t before;

	for (uint32_t i = 0; i < 10; i++)
		fixture_store(&f, 10, i);
	claim = fixture_claim(&f, 10);
	before = queue_count(f.queue).transactions;
	for (size_t i = 0; i < 10; i++) {
		struct queue_result result = {.recipient = claim->items[i].recipient, .kind = QUEUE_DELIVERED};

		queue_report(f.queue, claim->token, &result, 1, NULL, fixture_on_done, &flags[i]);
		fixture_run_ms(&f, 1);
	}
	CHECK(fixture_wait(&f, &flags[9].done));
	CHECK(queue_count(f.queue).transactions - before <= 2);
	CHECK_INT(queue_count(f.queue).messages, 0);
	queue_claim_free(claim);
	fixture_end(&f);
}

static struct queue_notice bounce(struct fixture *f, const char *body)
{
	struct queue_notice notice = {.message = fixture_message(f), .body = bytes_text(body)};

	notice.message.sender = "";
	notice.recipient = (struct queue_recipient){.address = "sender@example.com", .notify = QUEUE_NOTIFY_NEVER};
	return notice;
}

static void stores_a_bounce_with_its_result(void)
{
	struct fixture f = fixture_begin();
	struct queue_claim *claim;
	struct queue_result result;
	struct queue_notice notice;
	struct queue_reader *reader;
	struct buf got = {0};

	fixture_store(&f, 10, 1);
	claim = fixture_claim(&f, 1);
	result = (struct queue_result){.recipient = claim->items[0].recipient, .kind = QUEUE_PERMANENT, .reply = "550 no"};
	notice = bounce(&f, "Your mail could not be delivered");
	test_case("a lost result stores no bounce");
	CHECK(!fixture_report(&f, claim->token + 1, &result, 1, &notice));
	CHECK_INT(queue_count(f.queue).messages, 1);
	test_case("the right token");
	CHECK_OK(fixture_report(&f, claim->token, &result, 1, &notice), &f.err);
	CHECK_INT(queue_count(f.queue).messages, 1);
	queue_claim_free(claim);
	claim = fixture_claim(&f, 1);
	if (CHECK_INT(claim->count, 1)) {
		CHECK_TEXT(claim->items[0].address, "sender@example.com");
		reader = fixture_reader(&f, claim->items[0].message);
		CHECK(fixture_read_all(&f, reader, QUEUE_PART_ORIGINAL, &got));
		CHECK_BYTES(buf_bytes(&got), notice.body);
		queue_reader_close(reader);
	}
	queue_claim_free(claim);
	buf_clear(&got);
	fixture_end(&f);
}

/* ---- restart ---- */

static void resumes_after_a_restart(void)
{
	struct fixture f = fixture_begin();
	uint64_t small = fixture_store(&f, 100, 1), large = fixture_store(&f, 100000, 2);
	struct queue_claim *claim = fixture_claim(&f, 10);
	int64_t due = clock_wall_ms() + 100000;

	CHECK_INT(claim->count, 2);
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DEFERRED, due, "421 x"));
	queue_claim_free(claim);
	fixture_close(&f); /* the second is leased still */
	CHECK_OK(fixture_open(&f), &f.err);
	CHECK_INT(queue_count(f.queue).messages, 2);
	CHECK_INT(queue_count(f.queue).waiting, 2);
	CHECK_INT(queue_count(f.queue).leased, 0);
	fixture_run_ms(&f, 20);
	CHECK_INT(queue_next_due(f.queue), 0);
	claim = fixture_claim(&f, 10);
	CHECK_INT(claim->count, 1);
	CHECK(claim->items[0].message->id == large);
	CHECK_INT(queue_next_due(f.queue), due);
	CHECK(queue_new_id(f.queue) > large && small < large);
	queue_claim_free(claim);
	fixture_end(&f);
}

static void numbers_never_go_back(void)
{
	struct fixture f = fixture_begin();
	struct queue_message message = fixture_message(&f);
	struct queue_claim *claim;
	uint64_t far = message.id + (UINT64_C(1) << 50), last; /* as if the clock had been years ahead */

	CHECK_INT(message.id >> 12 & 0x3ff, 7);
	last = queue_new_id(f.queue);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t next = queue_new_id(f.queue);

		if (!CHECK(next > last))
			break;
		last = next;
	}
	message.id = far;
	CHECK_INT(fixture_commit(&f, &message, fixture_body(&f, 10, 1, 10), NULL), QUEUE_STORED);
	test_case("the row is there");
	fixture_close(&f);
	CHECK(fixture_open(&f));
	CHECK(queue_new_id(f.queue) > far);
	test_case("the row is gone");
	claim = fixture_claim(&f, 1);
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DELIVERED, 0, NULL));
	queue_claim_free(claim);
	fixture_close(&f);
	CHECK(fixture_open(&f));
	CHECK(queue_new_id(f.queue) > far);
	fixture_end(&f);
}

static void sweeps_orphans(void)
{
	struct fixture f = fixture_begin();
	static const struct {
		const char *name;
		bool stays;
	} table[] = {
	    {"00/0123456789abcdef", false}, {"7f/0123456789abcdef.tmp", false},
	    {"ff/00000000000000ff", false}, {"ff/README", true},
	    {"ff/0123456789abcde", true},
	};

	fixture_store(&f, 50000, 1);
	fixture_close(&f);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char *path = mem_format("%s/spool/%s", f.directory, table[i].name);

		CHECK(test_write_file(path, bytes_text("x")));
		free(path);
	}
	CHECK(fixture_open(&f));
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char *path = mem_format("%s/spool/%s", f.directory, table[i].name);

		test_case("%s", table[i].name);
		CHECK_INT(access(path, F_OK) == 0, table[i].stays);
		free(path);
	}
	CHECK_INT(fixture_files(&f), 3);
	fixture_end(&f);
}

static void refuses_a_newer_schema(void)
{
	struct fixture f = fixture_begin();
	char *path = mem_format("%s/queue.db", f.directory);
	struct buf before = {0}, after = {0};
	sqlite3 *db;

	fixture_close(&f);
	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	CHECK_INT(sqlite3_exec(db, "PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	CHECK(test_read_file(path, &before));
	CHECK(!fixture_open(&f));
	CHECK_INT(f.err.code, ERR_INVALID);
	CHECK_CONTAINS(f.err.text, "schema 99");
	CHECK_CONTAINS(f.err.text, "newer release");
	fixture_close(&f);
	CHECK(test_read_file(path, &after));
	CHECK(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
	buf_clear(&before);
	buf_clear(&after);
	free(path);
	fixture_end(&f);
}

static void refuses_what_is_no_database(void)
{
	struct fixture f = {.directory = test_directory()};
	char *path = mem_format("%s/queue.db", f.directory);

	CHECK(test_write_file(path,
			      bytes_text("this is not a database, whatever its name says; it is only text that goes on and on")));
	CHECK(!fixture_open(&f));
	CHECK_INT(f.err.code, ERR_SYSTEM);
	CHECK_CONTAINS(f.err.text, "queue.db");
	free(path);
	fixture_end(&f);
}

static void belongs_to_one_process(void)
{
	struct fixture f = {.directory = test_directory()};
	int fd = open(f.directory, O_RDONLY | O_DIRECTORY);
	const struct queue_settings settings = {.directory = f.directory};

	CHECK(flock(fd, LOCK_EX) == 0);
	CHECK(!fixture_open_with(&f, &settings));
	CHECK_INT(f.err.code, ERR_UNAVAILABLE);
	CHECK_CONTAINS(f.err.text, "in use");
	fixture_close(&f);
	close(fd);
	CHECK(fixture_open_with(&f, &settings));
	fixture_end(&f);
}

static void is_private(void)
{
	static const struct {
		const char *name;
		mode_t mode;
	} table[] = {{"queue.db", 0600}, {"queue.db-wal", 0600}, {"spool", 0700}, {"spool/00", 0700}, {"", 0700}};
	struct fixture f = {.directory = NULL};
	char *inner = mem_format("%s/mail", test_directory());
	struct stat status;

	f.directory = inner;
	umask(0);
	CHECK(fixture_open(&f));
	fixture_store(&f, 10, 1);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char *path = mem_format("%s/%s", f.directory, table[i].name);

		test_case("%s", table[i].name);
		CHECK(stat(path, &status) == 0);
		CHECK_INT(status.st_mode & 0777, table[i].mode);
		free(path);
	}
	fixture_end(&f);
	free(inner);
}

static void closes_at_any_time(void)
{
	struct fixture f = {.directory = test_directory(), .base = event_base_new()};
	const struct queue_settings settings = {.directory = f.directory, .min_free_bytes = 1};
	struct fixture_seen seen = {0};
	const struct queue_events events = {.ready = fixture_ready, .arg = &seen};
	struct queue_message message;
	struct fixture_commit commit = {0};
	struct fixture_claim claim = {0};

	test_case("before it is ready");
	f.queue = queue_open(f.base, &settings, &events, &f.err);
	fixture_close(&f);
	CHECK(!seen.opened);
	test_case("with a commit and a claim under way");
	CHECK(fixture_open(&f));
	message = fixture_message(&f);
	queue_commit(f.queue, &message, &fixture_recipient, 1, fixture_body(&f, 50000, 1, 50000), NULL, fixture_on_commit,
		     &commit);
	queue_claim(f.queue, 10, fixture_on_claim, &claim);
	fixture_close(&f);
	CHECK(commit.done && claim.done);
	CHECK_INT(commit.result, QUEUE_STORED);
	queue_claim_free(claim.claim);
	fixture_end(&f);
}

static void refuses_a_node_out_of_range(void)
{
	struct fixture f = {.directory = test_directory()};
	const struct queue_settings settings = {.directory = f.directory, .node = 1024};

	CHECK(!fixture_open_with(&f, &settings));
	CHECK_CONTAINS(f.err.text, "0..1023");
	fixture_end(&f);
}

int main(void)
{
	fixture_use_memory();
	TEST(keeps_every_field);
	TEST(refuses_what_could_never_leave);
	TEST(stores_the_same_id_once);
	TEST(commits_in_groups);
	TEST(splits_one_message_to_many_recipients);
	TEST(claims_in_order_of_due_time);
	TEST(claims_a_deferred_one_when_it_is_due);
	TEST(hints_that_mail_is_due);
	TEST(loses_results_without_a_lease);
	TEST(reports_lazily);
	TEST(stores_a_bounce_with_its_result);
	TEST(resumes_after_a_restart);
	TEST(numbers_never_go_back);
	TEST(sweeps_orphans);
	TEST(refuses_a_newer_schema);
	TEST(refuses_what_is_no_database);
	TEST(belongs_to_one_process);
	TEST(is_private);
	TEST(closes_at_any_time);
	TEST(refuses_a_node_out_of_range);
	return test_finish();
}
