/* Bodies in and out: sizes around the limits, both parts, discarding, damage. */
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/queue_fixture.h"

static const struct {
	const char *name;
	size_t size;
	unsigned files;
} sizes[] = {
    {"empty", 0, 0},
    {"one octet", 1, 0},
    {"the last blob", 32768, 0},
    {"the first file", 32769, 1},
    {"some chunks", 200001, 1},
    {"10 MB", 10u << 20, 1},
};

static void check_content(struct fixture *f, const struct queue_stored *stored, enum queue_part part, size_t size, uint32_t seed)
{
	struct queue_reader *reader = fixture_reader(f, stored);
	uint8_t *want = fixture_octets(size, seed);
	struct buf got = {0};

	if (CHECK_OK(reader != NULL, &f->err)) {
		CHECK(fixture_read_all(f, reader, part, &got));
		CHECK(got.len == size && memcmp(got.data != NULL ? got.data : want, want, size) == 0);
		CHECK_OK(fixture_verify(f, reader), &f->err);
	}
	queue_reader_close(reader);
	buf_clear(&got);
	free(want);
}

static void stores_and_reads_every_size(void)
{
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct queue_claim *claim;

		test_case("%s", sizes[i].name);
		CHECK(fixture_store(&f, sizes[i].size, (uint32_t)i) != 0);
		CHECK_INT(fixture_files(&f), sizes[i].files);
		claim = fixture_claim(&f, 10);
		if (CHECK_INT(claim->count, 1)) {
			CHECK_INT(claim->items[0].message->original_size, sizes[i].size);
			check_content(&f, claim->items[0].message, QUEUE_PART_ORIGINAL, sizes[i].size, (uint32_t)i);
			CHECK(fixture_report_one(&f, claim, 0, QUEUE_DELIVERED, 0, "250 ok"));
		}
		queue_claim_free(claim);
		fixture_run_ms(&f, 20); /* unlinking comes after the report */
		CHECK_INT(fixture_files(&f), 0);
	}
	fixture_end(&f);
}

static void stores_two_parts(void)
{
	static const struct {
		const char *name;
		size_t original, encoded;
	} table[] = {{"both blobs", 1000, 2000},
		     {"blob and file", 1000, 50000},
		     {"file and blob", 50000, 0},
		     {"both files", 40000, 60000}};
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct queue_message message = fixture_message(&f);
		struct queue_claim *claim;

		test_case("%s", table[i].name);
		CHECK_INT(fixture_commit(&f, &message, fixture_body(&f, table[i].original, 1, 4096),
					 fixture_body(&f, table[i].encoded, 2, 4096)),
			  QUEUE_STORED);
		claim = fixture_claim(&f, 1);
		if (CHECK_INT(claim->count, 1)) {
			check_content(&f, claim->items[0].message, QUEUE_PART_ORIGINAL, table[i].original, 1);
			check_content(&f, claim->items[0].message, QUEUE_PART_ENCODED, table[i].encoded, 2);
			CHECK_INT(claim->items[0].message->encoded_size, table[i].encoded);
			CHECK(fixture_report_one(&f, claim, 0, QUEUE_DELIVERED, 0, NULL));
		}
		queue_claim_free(claim);
	}
	fixture_close(&f);
	CHECK_INT(fixture_files(&f), 0);
	fixture_end(&f);
}

static void reads_a_sealed_body_before_the_commit(void)
{
	static const size_t body_sizes[] = {100, 100000};
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < 2; i++) {
		struct queue_body *body = fixture_body(&f, body_sizes[i], 3, 1000);
		uint8_t *want = fixture_octets(body_sizes[i], 3), got[64];

		test_case("%zu octets", body_sizes[i]);
		CHECK_INT(queue_body_size(body), body_sizes[i]);
		CHECK_INT(queue_body_pread(body, got, 40, 50, &f.err), 40);
		CHECK_BYTES(bytes_of(got, 40), bytes_of(want + 50, 40));
		CHECK_INT(queue_body_pread(body, got, 40, body_sizes[i] - 1, &f.err), 1);
		CHECK_INT(queue_body_pread(body, got, 40, body_sizes[i], &f.err), 0);
		queue_body_discard(body);
		free(want);
	}
	fixture_end(&f);
}

/* The announcement decides only where octets go first. */
static void believes_no_announcement(void)
{
	static const struct {
		const char *name;
		uint64_t expected;
		size_t size;
		unsigned files;
	} table[] = {{"less came", 100000, 10, 0},
		     {"nothing came", 100000, 0, 0},
		     {"more came", 10, 100000, 1},
		     {"as said", 50000, 50000, 1}};
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct queue_body *body = queue_body_begin(f.queue, table[i].expected);
		uint8_t *octets = fixture_octets(table[i].size, 4);
		struct queue_message message = fixture_message(&f);
		struct queue_claim *claim;

		test_case("%s", table[i].name);
		CHECK(fixture_append(&f, body, bytes_of(octets, table[i].size)));
		CHECK_OK(fixture_seal(&f, body), &f.err);
		CHECK_INT(fixture_commit(&f, &message, body, NULL), QUEUE_STORED);
		CHECK_INT(fixture_files(&f), table[i].files);
		claim = fixture_claim(&f, 1);
		if (CHECK_INT(claim->count, 1)) {
			check_content(&f, claim->items[0].message, QUEUE_PART_ORIGINAL, table[i].size, 4);
			CHECK(fixture_report_one(&f, claim, 0, QUEUE_DELIVERED, 0, NULL));
		}
		queue_claim_free(claim);
		fixture_run_ms(&f, 20);
		free(octets);
	}
	fixture_end(&f);
}

static void discards_without_a_trace(void)
{
	struct fixture f = fixture_begin();
	struct queue_body *body;
	uint8_t *octets = fixture_octets(300000, 5);
	struct fixture_flag never = {0};

	queue_body_discard(NULL);
	test_case("small");
	body = queue_body_begin(f.queue, 0);
	CHECK_INT(queue_body_append(body, bytes_of(octets, 100)), QUEUE_APPEND_MORE);
	queue_body_discard(body);
	test_case("a write is running");
	body = queue_body_begin(f.queue, 0);
	CHECK_INT(queue_body_append(body, bytes_of(octets, 300000)), QUEUE_APPEND_WAIT);
	queue_body_discard(body);
	test_case("a small seal is running");
	body = queue_body_begin(f.queue, 0);
	queue_body_seal(body, fixture_on_done, &never);
	queue_body_discard(body);
	test_case("a large seal is running");
	body = queue_body_begin(f.queue, 0);
	queue_body_append(body, bytes_of(octets, 40000));
	queue_body_seal(body, fixture_on_done, &never);
	queue_body_discard(body);
	test_case("sealed");
	queue_body_discard(fixture_body(&f, 50000, 6, 50000));
	fixture_close(&f);
	CHECK(!never.done);
	CHECK_INT(fixture_files(&f), 0);
	free(octets);
	fixture_end(&f);
}

struct writer {
	struct queue_body *body;
	const uint8_t *octets;
	size_t size;
	bool ok;
	struct err err;
};

static void *write_blocking(void *arg)
{
	struct writer *writer = arg;

	writer->ok = true;
	for (size_t at = 0; writer->ok && at < writer->size; at += 7000)
		writer->ok = queue_body_append_blocking(
		    writer->body, bytes_slice(bytes_of(writer->octets, writer->size), at, at + 7000), &writer->err);
	return NULL;
}

static void appends_from_a_thread(void)
{
	static const size_t body_sizes[] = {20000, 500000};
	struct fixture f = fixture_begin();

	for (size_t i = 0; i < 2; i++) {
		struct writer writer = {.body = queue_body_begin(f.queue, 0), .size = body_sizes[i]};
		struct queue_message message = fixture_message(&f);
		struct queue_claim *claim;
		uint8_t *octets = fixture_octets(writer.size, 9);
		pthread_t thread;

		test_case("%zu octets", writer.size);
		writer.octets = octets;
		CHECK(pthread_create(&thread, NULL, write_blocking, &writer) == 0);
		pthread_join(thread, NULL);
		CHECK_OK(writer.ok, &writer.err);
		CHECK_OK(fixture_seal(&f, writer.body), &f.err);
		CHECK_INT(fixture_commit(&f, &message, writer.body, NULL), QUEUE_STORED);
		claim = fixture_claim(&f, 1);
		if (CHECK_INT(claim->count, 1)) {
			check_content(&f, claim->items[0].message, QUEUE_PART_ORIGINAL, writer.size, 9);
			CHECK(fixture_report_one(&f, claim, 0, QUEUE_DELIVERED, 0, NULL));
		}
		queue_claim_free(claim);
		free(octets);
	}
	fixture_end(&f);
}

/* Ranges in any order, with gaps: the digest still covers every octet. */
static void reads_in_pieces(void)
{
	static const struct {
		uint64_t offset;
		size_t len;
	} pieces[] = {{90000, 100}, {0, 10}, {50, 20000}, {100000, 65536}, {99999, 3}};
	struct fixture f = fixture_begin();
	struct queue_claim *claim;
	struct queue_reader *reader;
	uint8_t *want = fixture_octets(200000, 10), got[65536];

	fixture_store(&f, 200000, 10);
	claim = fixture_claim(&f, 1);
	reader = fixture_reader(&f, claim->items[0].message);
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		test_case("%zu at %llu", pieces[i].len, (unsigned long long)pieces[i].offset);
		CHECK_INT(fixture_read(&f, reader, QUEUE_PART_ORIGINAL, pieces[i].offset, got, pieces[i].len), pieces[i].len);
		CHECK(memcmp(got, want + pieces[i].offset, pieces[i].len) == 0);
	}
	CHECK_INT(fixture_read(&f, reader, QUEUE_PART_ORIGINAL, 200000, got, 10), 0);
	CHECK_INT(fixture_read(&f, reader, QUEUE_PART_ENCODED, 0, got, 10), 0);
	CHECK_OK(fixture_verify(&f, reader), &f.err);
	queue_reader_close(reader);
	queue_claim_free(claim);
	free(want);
	fixture_end(&f);
}

static void closes_while_a_read_runs(void)
{
	struct fixture f = fixture_begin();
	struct fixture_read_result never = {0};
	struct fixture_flag never_verified = {0};
	struct queue_claim *claim;
	struct queue_reader *reader;
	uint8_t *data = mem_new(65536);

	fixture_store(&f, 200000, 11);
	claim = fixture_claim(&f, 1);
	reader = fixture_reader(&f, claim->items[0].message);
	queue_reader_read(reader, QUEUE_PART_ORIGINAL, 0, data, 65536, fixture_on_read, &never);
	queue_reader_close(reader);
	free(data);
	reader = fixture_reader(&f, claim->items[0].message);
	queue_reader_verify(reader, fixture_on_done, &never_verified);
	queue_reader_close(reader);
	queue_reader_close(NULL);
	fixture_run_ms(&f, 50);
	CHECK(!never.done && !never_verified.done);
	queue_claim_free(claim);
	fixture_end(&f);
}

/* ---- damage ---- */

static void flip_in_file(const struct fixture *f)
{
	char *command = mem_format("find '%s/spool' -type f", f->directory);
	char path[4096] = "";
	FILE *pipe = popen(command, "r");
	uint8_t octet = 0;
	int fd;

	CHECK(pipe != NULL && fscanf(pipe, "%4095s", path) == 1);
	if (pipe != NULL)
		pclose(pipe);
	fd = open(path, O_RDWR);
	CHECK(pread(fd, &octet, 1, 150000) == 1);
	octet ^= 1;
	CHECK(pwrite(fd, &octet, 1, 150000) == 1);
	close(fd);
	free(command);
}

static void execute(const struct fixture *f, const char *sql)
{
	char *path = mem_format("%s/queue.db", f->directory);
	sqlite3 *db;

	CHECK_INT(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 5000);
	CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	free(path);
}

static void holds_a_damaged_message(struct fixture *f, const struct queue_claim *claim)
{
	struct fixture_list_result list;

	CHECK(fixture_report_one(f, claim, 0, QUEUE_DAMAGED, 0, "damaged"));
	list = fixture_list(f, 0, 0, 10);
	CHECK_INT(list.count, 1);
	CHECK_TEXT(list.states[0], "reader@example.net held damaged");
	fixture_list_clear(&list);
	CHECK_INT(queue_count(f->queue).held, 1);
	CHECK_INT(queue_next_due(f->queue), -1);
}

static void finds_a_flipped_bit_in_a_file(void)
{
	struct fixture f = fixture_begin();
	struct queue_claim *claim;
	struct queue_reader *reader;
	struct buf got = {0};

	fixture_store(&f, 300000, 12);
	flip_in_file(&f);
	claim = fixture_claim(&f, 1);
	test_case("read from front to end");
	reader = fixture_reader(&f, claim->items[0].message);
	CHECK(fixture_read_all(&f, reader, QUEUE_PART_ORIGINAL, &got));
	CHECK(!fixture_verify(&f, reader));
	CHECK_INT(f.err.code, ERR_INTEGRITY);
	queue_reader_close(reader);
	test_case("in an octet that was left out");
	reader = fixture_reader(&f, claim->items[0].message);
	buf_reserve(&got, 65536);
	CHECK_INT(fixture_read(&f, reader, QUEUE_PART_ORIGINAL, 0, got.data, 100), 100);
	CHECK_INT(fixture_read(&f, reader, QUEUE_PART_ORIGINAL, 250000, got.data, 100), 100);
	CHECK(!fixture_verify(&f, reader));
	CHECK_INT(f.err.code, ERR_INTEGRITY);
	queue_reader_close(reader);
	holds_a_damaged_message(&f, claim);
	queue_claim_free(claim);
	buf_clear(&got);
	fixture_end(&f);
}

static void finds_other_damage(void)
{
	static const struct {
		const char *name;
		size_t size;
		const char *sql;
		const char *command; /* in the spool */
		const char *says;
	} table[] = {
	    {"a flipped octet in a blob", 5000,
	     "UPDATE body SET data = CAST(substr(data, 1, 99) || x'00ff00' || substr(data, 103) AS BLOB)", NULL,
	     "does not have its digest"},
	    {"a shorter blob", 5000, "UPDATE body SET data = substr(data, 1, 99)", NULL, "does not have its digest"},
	    {"no blob", 5000, "DELETE FROM body", NULL, "is missing"},
	    {"a shorter file", 50000, NULL, "truncate -s 49999", "does not have its size"},
	    {"no file", 50000, NULL, "rm", "is missing"},
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct fixture f = fixture_begin();
		struct queue_claim *claim;

		test_case("%s", table[i].name);
		fixture_store(&f, table[i].size, 13);
		if (table[i].sql != NULL)
			execute(&f, table[i].sql);
		if (table[i].command != NULL) {
			char *command = mem_format("find '%s/spool' -type f -exec %s {} ';'", f.directory, table[i].command);

			CHECK_INT(system(command), 0);
			free(command);
		}
		claim = fixture_claim(&f, 1);
		CHECK(fixture_reader(&f, claim->items[0].message) == NULL);
		CHECK_INT(f.err.code, ERR_INTEGRITY);
		CHECK_CONTAINS(f.err.text, table[i].says);
		holds_a_damaged_message(&f, claim);
		queue_claim_free(claim);
		fixture_end(&f);
	}
}

/* ---- from memory ---- */

/* Three of 9,000 octets where 20,000 have room: the first is read from the store, where none is any more. */
static void reads_the_newest_from_memory(void)
{
	struct fixture f = {.directory = test_directory()};
	const struct queue_settings settings = {
	    .directory = f.directory, .node = 7, .min_free_bytes = 1 << 20, .recent_bytes = 20000};
	struct queue_claim *claim;

	CHECK_OK(fixture_open_with(&f, &settings), &f.err);
	for (uint32_t i = 0; i < 3; i++)
		fixture_store(&f, 9000, 20 + i);
	execute(&f, "DELETE FROM body");
	claim = fixture_claim(&f, 3);
	if (!CHECK_INT(claim->count, 3))
		return;
	CHECK(fixture_reader(&f, claim->items[0].message) == NULL);
	CHECK_INT(f.err.code, ERR_INTEGRITY);
	for (uint32_t i = 1; i < 3; i++) {
		struct queue_reader *reader = fixture_reader(&f, claim->items[i].message);
		struct buf got = {0};
		uint8_t *want;

		if (!CHECK(reader != NULL))
			continue;
		CHECK(fixture_read_all(&f, reader, QUEUE_PART_ORIGINAL, &got));
		want = fixture_octets(9000, 20 + i);
		CHECK(bytes_equal(buf_bytes(&got), bytes_of(want, 9000)));
		free(want);
		CHECK(fixture_verify(&f, reader));
		buf_clear(&got);
		queue_reader_close(reader);
	}
	queue_claim_free(claim);
	fixture_end(&f);
}

/* ---- memory ---- */

static long resident_kib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	long peak = 0;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "VmHWM: %ld", &peak) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return peak;
}

static bool reset_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);
	bool ok = fd >= 0 && write(fd, "5", 1) == 1;

	if (fd >= 0)
		close(fd);
	return ok;
}

#define LARGE_BYTES (50u << 20)
#define PEAK_GROWTH_KIB_MAX 4096 /* 32 KiB + 64 KiB outstanding are some 100 KiB; the rest is slack of the allocator */

static void streams_50_mb_in_bounded_memory(void)
{
	struct fixture f = fixture_begin();
	struct queue_body *body = queue_body_begin(f.queue, LARGE_BYTES);
	struct queue_message message = fixture_message(&f);
	struct queue_claim *claim;
	struct queue_reader *reader;
	uint8_t *piece = fixture_octets(16384, 14), got[16384];
	long before;

	CHECK(reset_peak());
	before = resident_kib();
	for (size_t at = 0; at < LARGE_BYTES; at += 16384)
		CHECK(fixture_append(&f, body, bytes_of(piece, 16384)));
	CHECK(fixture_seal(&f, body));
	CHECK_INT(fixture_commit(&f, &message, body, NULL), QUEUE_STORED);
	claim = fixture_claim(&f, 1);
	reader = fixture_reader(&f, claim->items[0].message);
	for (size_t at = 0; at < LARGE_BYTES; at += 16384)
		if (!CHECK_INT(fixture_read(&f, reader, QUEUE_PART_ORIGINAL, at, got, 16384), 16384))
			break;
	CHECK_OK(fixture_verify(&f, reader), &f.err);
	test_case("the peak grew by %ld KiB", resident_kib() - before);
	CHECK(resident_kib() - before < PEAK_GROWTH_KIB_MAX);
	queue_reader_close(reader);
	queue_claim_free(claim);
	free(piece);
	fixture_end(&f);
}

int main(void)
{
	TEST(stores_and_reads_every_size);
	TEST(stores_two_parts);
	TEST(reads_a_sealed_body_before_the_commit);
	TEST(believes_no_announcement);
	TEST(discards_without_a_trace);
	TEST(appends_from_a_thread);
	TEST(reads_in_pieces);
	TEST(closes_while_a_read_runs);
	TEST(finds_a_flipped_bit_in_a_file);
	TEST(finds_other_damage);
	TEST(reads_the_newest_from_memory);
	TEST(streams_50_mb_in_bounded_memory);
	return test_finish();
}
