/* The delivery log: rows come with a message, follow its results, outlive it, are found by each filter, and go by age. */
#include "tests/unit/queue_fixture.h"

struct listed {
	struct buf text; /* "recipient status reason;" of each row */
	uint64_t message, recipient; /* of the last row */
	size_t count;
	bool done;
};

static const char *const statuses[] = {"queued", "succeeded", "failed", "deferred"};

static void on_list(const struct queue_log_row *rows, size_t count, const struct err *err, void *arg)
{
	struct listed *listed = arg;

	CHECK(err == NULL);
	for (size_t i = 0; i < count; i++) {
		buf_printf(&listed->text, "%s %s %s;", rows[i].address, statuses[rows[i].status], rows[i].reason);
		listed->message = rows[i].message;
		listed->recipient = rows[i].recipient;
	}
	listed->count = count;
	listed->done = true;
}

static void list(struct fixture *f, const struct queue_log_filter *filter, size_t limit, struct listed *listed)
{
	listed->done = false;
	queue_log_list(f->queue, filter, listed->message, listed->recipient, limit, on_list, listed);
	CHECK(fixture_run(f, &listed->done, FIXTURE_WAIT_MS));
}

static void expect(struct fixture *f, const char *name, struct queue_log_filter filter, const char *want)
{
	struct listed listed = {0};

	test_case("%s", name);
	list(f, &filter, 100, &listed);
	CHECK_TEXT(buf_text(&listed.text), want);
	buf_clear(&listed.text);
}

static uint64_t store(struct fixture *f, const char *from, const char *const *to, size_t count)
{
	struct queue_recipient recipients[4] = {0};
	struct queue_message message = fixture_message(f);

	message.header_from = from;
	message.subject = "s";
	for (size_t i = 0; i < count; i++)
		recipients[i] = (struct queue_recipient){.address = to[i], .rule = "r"};
	CHECK_INT(fixture_commit_to(f, &message, recipients, count, fixture_body(f, 100, 1, 100), NULL), QUEUE_STORED);
	return message.id;
}

static void on_pruned(uint64_t messages, const struct err *err, void *arg)
{
	CHECK(err == NULL);
	*(uint64_t *)arg = messages + 1;
}

static uint64_t prune(struct fixture *f, const char *server, int64_t before)
{
	uint64_t pruned = 0;

	queue_log_prune(f->queue, server, before, on_pruned, &pruned);
	for (unsigned i = 0; pruned == 0 && i < 2000; i++)
		fixture_run(f, NULL, 5);
	return pruned - 1;
}

static void follows_results_and_goes_by_age(void)
{
	struct fixture f = {.directory = test_directory()};
	const char *const first[] = {"a@x.y", "b@x.y"}, *const second[] = {"A@x.y"};
	struct queue_result results[3];
	struct queue_claim *claim;
	struct listed listed = {0};
	uint64_t id;

	CHECK_OK(fixture_open(&f), &f.err);
	id = store(&f, "me@x.y", first, 2);
	store(&f, "you@x.y", second, 1);
	expect(&f, "new", (struct queue_log_filter){.status = QUEUE_LOG_ANY}, "A@x.y queued ;b@x.y queued ;a@x.y queued ;");
	claim = fixture_claim(&f, 10);
	if (!CHECK_INT(claim->count, 3))
		return;
	results[0] = (struct queue_result){.recipient = claim->items[0].recipient, .kind = QUEUE_DELIVERED, .reply = "ok"};
	results[1] = (struct queue_result){.recipient = claim->items[1].recipient, .kind = QUEUE_PERMANENT, .reply = "no"};
	results[2] = (struct queue_result){
	    .recipient = claim->items[2].recipient, .kind = QUEUE_DEFERRED, .due = INT64_MAX / 2, .reply = "later"};
	CHECK_OK(fixture_report(&f, claim->token, results, 3, NULL), &f.err);
	queue_claim_free(claim);
	expect(&f, "after results", (struct queue_log_filter){.status = QUEUE_LOG_ANY},
	       "A@x.y deferred later;b@x.y failed no;a@x.y succeeded ok;");
	expect(&f, "by recipient", (struct queue_log_filter){.to = "a@X.y", .status = QUEUE_LOG_ANY},
	       "A@x.y deferred later;a@x.y succeeded ok;");
	expect(&f, "by From", (struct queue_log_filter){.from = "ME@x.y", .status = QUEUE_LOG_ANY},
	       "b@x.y failed no;a@x.y succeeded ok;");
	expect(&f, "by both", (struct queue_log_filter){.from = "me@x.y", .to = "a@x.y", .status = QUEUE_LOG_ANY},
	       "a@x.y succeeded ok;");
	expect(&f, "by id", (struct queue_log_filter){.message = id, .status = QUEUE_LOG_ANY},
	       "b@x.y failed no;a@x.y succeeded ok;");
	expect(&f, "by status", (struct queue_log_filter){.status = QUEUE_LOG_FAILED}, "b@x.y failed no;");
	expect(&f, "by another server", (struct queue_log_filter){.server = "other", .status = QUEUE_LOG_ANY}, "");
	expect(&f, "from tomorrow on", (struct queue_log_filter){.since = clock_wall_ms() + 86400000, .status = QUEUE_LOG_ANY},
	       "");
	expect(&f, "until yesterday", (struct queue_log_filter){.until = clock_wall_ms() - 86400000, .status = QUEUE_LOG_ANY},
	       "");
	test_case("page by page");
	for (size_t pages = 0; pages == 0 || listed.count > 0; pages++)
		list(&f, &(struct queue_log_filter){.status = QUEUE_LOG_ANY}, 1, &listed);
	CHECK_TEXT(buf_text(&listed.text), "A@x.y deferred later;b@x.y failed no;a@x.y succeeded ok;");
	buf_clear(&listed.text);
	test_case("pruned");
	CHECK_INT(prune(&f, "other", clock_wall_ms() + 1000), 0);
	CHECK_INT(prune(&f, NULL, clock_wall_ms() - 86400000), 0);
	CHECK_INT(prune(&f, NULL, clock_wall_ms() + 1000), 2);
	expect(&f, "nothing is left", (struct queue_log_filter){.status = QUEUE_LOG_ANY}, "");
	fixture_end(&f);
}

static void a_copy_has_an_envelope_of_its_own(void)
{
	struct fixture f = {.directory = test_directory()};
	struct queue_message message;
	struct queue_recipient recipients[] = {{.address = "a@x.y"}, {.address = "copy@x.y", .sender = ""}};
	struct queue_claim *claim;

	CHECK_OK(fixture_open(&f), &f.err);
	message = fixture_message(&f);
	CHECK_INT(fixture_commit_to(&f, &message, recipients, 2, fixture_body(&f, 100, 1, 100), NULL), QUEUE_STORED);
	claim = fixture_claim(&f, 10);
	if (CHECK_INT(claim->count, 2)) {
		CHECK(claim->items[0].message != claim->items[1].message);
		CHECK_INT(claim->items[0].message->id, claim->items[1].message->id);
		CHECK_TEXT(claim->items[0].message->sender, message.sender);
		CHECK_TEXT(claim->items[1].message->sender, "");
	}
	queue_claim_free(claim);
	fixture_end(&f);
}

int main(void)
{
	fixture_use_memory();
	TEST(follows_results_and_goes_by_age);
	TEST(a_copy_has_an_envelope_of_its_own);
	return test_finish();
}
