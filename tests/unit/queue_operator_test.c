/* What the operator sees and does, and what the queue says of itself: lists, counts, changes, free space. */
#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/unit/queue_fixture.h"

/* ---- list and count ---- */

static void lists_in_pages(void)
{
	struct fixture f = fixture_begin();
	struct fixture_list_result list;
	uint64_t after = 0, ids[5];
	size_t seen = 0;

	for (uint32_t i = 0; i < 5; i++)
		ids[i] = fixture_store(&f, 10, i);
	do {
		list = fixture_list(&f, 0, after, 2);
		after = list.last;
		seen += list.count;
		fixture_list_clear(&list);
	} while (list.count > 0);
	CHECK_INT(seen, 5);
	list = fixture_list(&f, ids[3], 0, 10);
	CHECK_INT(list.count, 1);
	fixture_list_clear(&list);
	list = fixture_list(&f, ids[3] + 1, 0, 10);
	CHECK_INT(list.count, 0);
	fixture_end(&f);
}

static void shows_states(void)
{
	struct fixture f = fixture_begin();
	struct fixture_list_result list;
	struct queue_claim *claim;

	fixture_store(&f, 10, 1);
	fixture_store(&f, 10, 2);
	claim = fixture_claim(&f, 1);
	list = fixture_list(&f, 0, 0, 10);
	CHECK_TEXT(list.states[0], "reader@example.net leased -");
	CHECK_TEXT(list.states[1], "reader@example.net waiting -");
	fixture_list_clear(&list);
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DEFERRED, clock_wall_ms() + 100000, "421 4.3.2 not now"));
	list = fixture_list(&f, 0, 0, 10);
	CHECK_TEXT(list.states[0], "reader@example.net waiting 421 4.3.2 not now");
	fixture_list_clear(&list);
	queue_claim_free(claim);
	fixture_end(&f);
}

static void counts(void)
{
	struct fixture f = fixture_begin();
	struct queue_claim *claim;
	struct queue_count count = queue_count(f.queue);

	CHECK_INT(count.messages, 0);
	CHECK_INT(count.oldest, 0);
	for (uint32_t i = 0; i < 4; i++)
		fixture_store(&f, 10, i);
	claim = fixture_claim(&f, 3);
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DEFERRED, clock_wall_ms() + 100000, NULL));
	CHECK(fixture_report_one(&f, claim, 1, QUEUE_DAMAGED, 0, "damaged"));
	count = queue_count(f.queue);
	CHECK_INT(count.messages, 4);
	CHECK_INT(count.waiting, 2);
	CHECK_INT(count.leased, 1);
	CHECK_INT(count.held, 1);
	queue_claim_free(claim);
	fixture_close(&f);
	CHECK(fixture_open(&f));
	count = queue_count(f.queue);
	test_case("after a restart");
	CHECK_INT(count.messages, 4);
	CHECK_INT(count.waiting, 3);
	CHECK_INT(count.leased, 0);
	CHECK_INT(count.held, 1);
	CHECK(count.oldest > clock_wall_seconds() - 60);
	fixture_end(&f);
}

/* ---- set ---- */

static void holds_and_releases(void)
{
	struct fixture f = fixture_begin();
	uint64_t id = fixture_store(&f, 10, 1);
	struct queue_claim *claim;

	fixture_store(&f, 10, 2);
	CHECK_INT(fixture_set(&f, id, QUEUE_HOLD), 1);
	CHECK_INT(fixture_set(&f, id, QUEUE_HOLD), 0);
	CHECK_INT(queue_count(f.queue).held, 1);
	claim = fixture_claim(&f, 10);
	CHECK_INT(claim->count, 1);
	CHECK(claim->items[0].message->id != id);
	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DELIVERED, 0, NULL));
	queue_claim_free(claim);
	CHECK_INT(queue_next_due(f.queue), -1);
	CHECK_INT(fixture_set(&f, id + 1, QUEUE_RELEASE), 0);
	CHECK_INT(fixture_set(&f, 0, QUEUE_RELEASE), 1);
	claim = fixture_claim(&f, 10);
	CHECK_INT(claim->count, 1);
	queue_claim_free(claim);
	fixture_end(&f);
}

static void retries_now(void)
{
	struct fixture f = fixture_begin();
	uint64_t id = fixture_store(&f, 10, 1);
	struct queue_claim *claim = fixture_claim(&f, 1);
	unsigned events;

	CHECK(fixture_report_one(&f, claim, 0, QUEUE_DEFERRED, clock_wall_ms() + 1000000, NULL));
	queue_claim_free(claim);
	fixture_run_ms(&f, 20);
	events = f.seen->due_events;
	CHECK_INT(fixture_set(&f, id, QUEUE_RETRY_NOW), 1);
	fixture_run_ms(&f, 20);
	CHECK(f.seen->due_events > events);
	claim = fixture_claim(&f, 1);
	CHECK_INT(claim->count, 1);
	CHECK_INT(fixture_set(&f, id, QUEUE_RETRY_NOW), 0); /* it is on its way */
	queue_claim_free(claim);
	fixture_end(&f);
}

static void deletes(void)
{
	struct fixture f = fixture_begin();
	uint64_t large = fixture_store(&f, 50000, 1);

	fixture_store(&f, 10, 2);
	CHECK_INT(fixture_set(&f, large, QUEUE_DELETE), 1);
	fixture_run_ms(&f, 20);
	CHECK_INT(fixture_files(&f), 0);
	CHECK_INT(queue_count(f.queue).messages, 1);
	CHECK_INT(fixture_set(&f, 0, QUEUE_DELETE), 1);
	CHECK_INT(queue_count(f.queue).messages, 0);
	CHECK_INT(queue_count(f.queue).waiting, 0);
	fixture_end(&f);
}

static const struct {
	const char *name;
	enum queue_action action;
	enum queue_result_kind kind;
	uint64_t messages, waiting, held;
} while_leased[] = {
    {"hold, then deferred", QUEUE_HOLD, QUEUE_DEFERRED, 1, 0, 1},
    {"hold, then delivered", QUEUE_HOLD, QUEUE_DELIVERED, 0, 0, 0},
    {"hold, then damaged", QUEUE_HOLD, QUEUE_DAMAGED, 1, 0, 1},
    {"delete, then deferred", QUEUE_DELETE, QUEUE_DEFERRED, 0, 0, 0},
    {"delete, then delivered", QUEUE_DELETE, QUEUE_DELIVERED, 0, 0, 0},
    {"delete, then damaged", QUEUE_DELETE, QUEUE_DAMAGED, 0, 0, 0},
    {"retry, then deferred", QUEUE_RETRY_NOW, QUEUE_DEFERRED, 1, 1, 0},
};

static void marks_leased_items(void)
{
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < sizeof while_leased / sizeof *while_leased; i++) {
		uint64_t id = fixture_store(&f, 10, 1);
		struct queue_claim *claim = fixture_claim(&f, 1);
		struct queue_count count;

		test_case("%s", while_leased[i].name);
		fixture_set(&f, id, while_leased[i].action);
		CHECK_INT(queue_count(f.queue).leased, 1);
		CHECK_INT(queue_count(f.queue).messages, 1);
		CHECK_OK(fixture_report_one(&f, claim, 0, while_leased[i].kind, clock_wall_ms() + 100000, "x"), &f.err);
		count = queue_count(f.queue);
		CHECK_INT(count.messages, while_leased[i].messages);
		CHECK_INT(count.waiting, while_leased[i].waiting);
		CHECK_INT(count.held, while_leased[i].held);
		CHECK_INT(count.leased, 0);
		queue_claim_free(claim);
		fixture_set(&f, 0, QUEUE_DELETE);
	}
	fixture_end(&f);
}

static void finishes_a_deletion_at_the_next_start(void)
{
	struct fixture f = fixture_begin();
	uint64_t id = fixture_store(&f, 50000, 1);

	queue_claim_free(fixture_claim(&f, 1));
	CHECK_INT(fixture_set(&f, id, QUEUE_DELETE), 1);
	CHECK_INT(queue_count(f.queue).messages, 1);
	fixture_close(&f);
	CHECK(fixture_open(&f));
	CHECK_INT(queue_count(f.queue).messages, 0);
	CHECK_INT(fixture_files(&f), 0);
	CHECK(queue_new_id(f.queue) > id);
	fixture_end(&f);
}

#define MANY 700 /* more than two slices of a set */

static void changes_many_in_slices(void)
{
	struct fixture f = fixture_begin();
	struct queue_message message = fixture_message(&f);
	struct queue_recipient *recipients = mem_new_array(MANY, sizeof *recipients);
	struct fixture_commit commit = {0};

	for (size_t i = 0; i < MANY; i++)
		recipients[i] = fixture_recipient;
	queue_commit(f.queue, &message, recipients, MANY, fixture_body(&f, 10, 1, 10), NULL, fixture_on_commit, &commit);
	CHECK(fixture_wait(&f, &commit.done));
	CHECK_INT(fixture_set(&f, 0, QUEUE_HOLD), MANY);
	CHECK_INT(queue_count(f.queue).held, MANY);
	CHECK_INT(fixture_set(&f, message.id, QUEUE_RELEASE), MANY);
	CHECK_INT(queue_count(f.queue).waiting, MANY);
	CHECK_INT(fixture_set(&f, message.id, QUEUE_DELETE), MANY);
	CHECK_INT(queue_count(f.queue).messages, 0);
	free(recipients);
	fixture_end(&f);
}

/* ---- space ---- */

static void says_full_below_the_limit(void)
{
	struct fixture f = {.directory = test_directory()};
	const struct queue_settings settings = {.directory = f.directory, .min_free_bytes = UINT64_MAX / 4};
	struct queue_message message;
	struct queue_body *body;

	CHECK_OK(fixture_open_with(&f, &settings), &f.err);
	fixture_run_ms(&f, 50);
	CHECK_INT(f.seen->health, QUEUE_FULL);
	CHECK_INT(f.seen->health_err.code, ERR_LIMIT);
	CHECK_INT(queue_health(f.queue), QUEUE_FULL);
	test_case("a commit");
	message = fixture_message(&f);
	CHECK_INT(fixture_commit(&f, &message, fixture_body(&f, 10, 1, 10), NULL), QUEUE_COMMIT_FULL);
	CHECK_INT(f.err.code, ERR_LIMIT);
	test_case("a large body");
	CHECK(fixture_body(&f, 100000, 1, 10000) == NULL);
	CHECK_INT(f.err.code, ERR_LIMIT);
	test_case("an announced body");
	body = queue_body_begin(f.queue, 100000);
	CHECK(queue_body_error(body) != NULL);
	CHECK_INT(queue_body_append(body, bytes_text("x")), QUEUE_APPEND_FAILED);
	queue_body_discard(body);
	fixture_end(&f);
}

static void wait_for_ballast(struct fixture *f, off_t size)
{
	char *path = mem_format("%s/ballast", f->directory);
	struct stat status = {0};

	for (unsigned i = 0; i < 300 && (stat(path, &status) != 0 || status.st_size < size); i++)
		fixture_run_ms(f, 20);
	CHECK_INT(status.st_size, size);
	free(path);
}

static void keeps_a_ballast(void)
{
	struct fixture f = {.directory = test_directory()};
	const struct queue_settings settings = {.directory = f.directory, .min_free_bytes = 1 << 20, .ballast_bytes = 3 << 20};
	char *path = mem_format("%s/ballast", f.directory);
	struct stat status = {0};

	CHECK(fixture_open_with(&f, &settings));
	wait_for_ballast(&f, 3 << 20);
	CHECK(stat(path, &status) == 0);
	CHECK(status.st_blocks * 512 >= 3 << 20); /* written, not sparse */
	free(path);
	fixture_end(&f);
}

/* A real full disk: a small file system. Only root may mount one; then the test needs it. */
static bool mount_small(const char *directory)
{
	return mount("none", directory, "tmpfs", 0, "size=48m,mode=0700") == 0;
}

static unsigned fill(struct fixture *f)
{
	unsigned stored = 0;

	while (stored < 3000 && fixture_store(f, 30000, stored) != 0)
		stored++;
	return stored;
}

static void deliver_all(struct fixture *f, unsigned expected)
{
	struct queue_result results[1000];
	unsigned delivered = 0;

	for (unsigned rounds = 0; delivered < expected && rounds < 20; rounds++) {
		struct queue_claim *claim = fixture_claim(f, 1000);

		for (size_t i = 0; i < claim->count; i++)
			results[i] = (struct queue_result){.recipient = claim->items[i].recipient, .kind = QUEUE_DELIVERED};
		CHECK_OK(fixture_report(f, claim->token, results, claim->count, NULL), &f->err);
		delivered += (unsigned)claim->count;
		queue_claim_free(claim);
	}
	CHECK_INT(delivered, expected);
}

static void fills_and_empties(struct fixture *f, const struct queue_settings *settings)
{
	unsigned stored;

	wait_for_ballast(f, (off_t)settings->ballast_bytes);
	stored = fill(f);
	CHECK(stored > 300 && stored < 1500);
	CHECK_INT(f->err.code, ERR_LIMIT);
	CHECK(queue_health(f->queue) != QUEUE_FAILED);
	CHECK_INT(queue_count(f->queue).messages, stored);
	deliver_all(f, stored);
	CHECK_INT(queue_count(f->queue).messages, 0);
	CHECK(queue_health(f->queue) != QUEUE_FAILED);
	test_case("new mail after it");
	wait_for_ballast(f, (off_t)settings->ballast_bytes);
	for (unsigned i = 0; i < 100 && queue_health(f->queue) != QUEUE_OK; i++)
		fixture_run_ms(f, 50);
	CHECK_INT(queue_health(f->queue), QUEUE_OK);
	CHECK(fixture_store(f, 30000, 1) != 0);
	fixture_close(f);
	CHECK_OK(fixture_open_with(f, settings), &f->err);
	CHECK_INT(queue_count(f->queue).messages, 1);
}

static void restarts_on_a_full_disk(struct fixture *f, const struct queue_settings *settings)
{
	unsigned stored;

	wait_for_ballast(f, (off_t)settings->ballast_bytes);
	stored = fill(f);
	fixture_close(f);
	CHECK_OK(fixture_open_with(f, settings), &f->err);
	CHECK_INT(queue_count(f->queue).messages, stored + 1);
	deliver_all(f, stored + 1);
}

static void survives_a_full_disk(void)
{
	struct fixture f = {.directory = test_directory()};
	const struct queue_settings settings = {.directory = f.directory, .min_free_bytes = 1, .ballast_bytes = 16 << 20};

	if (!mount_small(f.directory)) {
		CHECK(geteuid() != 0 && errno == EPERM);
		return;
	}
	if (CHECK_OK(fixture_open_with(&f, &settings), &f.err)) {
		fills_and_empties(&f, &settings);
		restarts_on_a_full_disk(&f, &settings);
	}
	fixture_end(&f);
	CHECK(umount(f.directory) == 0);
}

#define WAL_BYTES_MAX (40 << 20) /* 8000 pages (STOREKEEPER_WAL_PAGES) and what one group may add here */
#define LOGGED_MESSAGES 1800

static void keeps_the_log_short(void)
{
	struct fixture f = fixture_begin();
	char *path = mem_format("%s/queue.db-wal", f.directory);
	struct stat status = {0};

	for (uint32_t i = 0; i < LOGGED_MESSAGES; i++)
		if (!CHECK(fixture_store(&f, 30000, i) != 0))
			break;
	CHECK(stat(path, &status) == 0);
	test_case("%lld octets after 54 MB of mail", (long long)status.st_size);
	CHECK(status.st_size < WAL_BYTES_MAX);
	test_case("the file shrinks when its mail is gone");
	CHECK_INT(fixture_set(&f, 0, QUEUE_DELETE), LOGGED_MESSAGES);
	fixture_run_ms(&f, 3500);
	path[strlen(path) - 4] = '\0';
	CHECK(stat(path, &status) == 0);
	CHECK(status.st_size < 20 << 20);
	free(path);
	fixture_end(&f);
}

int main(void)
{
	fixture_use_memory();
	TEST(lists_in_pages);
	TEST(shows_states);
	TEST(counts);
	TEST(holds_and_releases);
	TEST(retries_now);
	TEST(deletes);
	TEST(marks_leased_items);
	TEST(finishes_a_deletion_at_the_next_start);
	TEST(changes_many_in_slices);
	TEST(keeps_the_log_short);
	TEST(says_full_below_the_limit);
	TEST(keeps_a_ballast);
	TEST(survives_a_full_disk);
	return test_finish();
}
