/* The screen of `monitor`, line by line; percentiles out of buckets. */
#include <string.h>

#include "provisioning/console/columns.h"
#include "provisioning/console/monitor.h"
#include "tests/unit/test.h"

#define NOW_MS INT64_C(1798722309000) /* 2026-12-31 13:05:09 */

static struct monitor_sample sample_at(int64_t now_ms, uint64_t factor)
{
	struct monitor_sample sample = {.now_ms = now_ms,
					.started = NOW_MS / 1000 - 7200,
					.signed_total = 10 * factor,
					.plain_total = 2 * factor,
					.refused_total = factor,
					.delivered_total = 11 * factor,
					.deferred_total = factor / 2,
					.n_bounds = 3,
					.bounds = {10, 20, 100},
					.buckets = {2 * factor, 5 * factor, 3 * factor, 0},
					.workers = 2,
					.threads = 16,
					.running = 3,
					.messages = 12,
					.due = 10,
					.active = 2,
					.held = 1,
					.oldest = NOW_MS / 1000 - 180,
					.store = "ok",
					.sessions = 4,
					.api = 1,
					.next_hops = 5};

	for (unsigned i = 0; i < MONITOR_STEPS; i++)
		sample.steps[i] = i * i / 10 % 90;
	return sample;
}

static struct monitor monitor_of(const struct monitor_sample *now, const struct monitor_sample *second,
				 const struct monitor_sample *minute)
{
	struct monitor monitor = {
	    .now = now,
	    .second = second,
	    .minute = minute,
	    .host = "mx1.example.co.jp",
	    .signing = "on",
	    .workers = {{"worker 1", "running", "last canary 3 ms", 8, 0, 5.1}, {"worker 2", "waiting 4 s", "", 0, 2, 0}},
	    .n_workers = 2,
	    .certificates = {{"old@example.co.jp", NOW_MS / 1000 - 5}, {"alice@example.co.jp", NOW_MS / 1000 + 12 * 86400 + 60}},
	    .n_certificates = 2,
	    .wall_ms = NOW_MS};

	return monitor;
}

static const char screen_80x24[] = "Inkan mx1.example.co.jp        2026-12-31 13:05:09 UTC   up 2h    q leaves\n"
				   "\n"
				   "MESSAGES             IN     SIGNED      PLAIN    REFUSED\n"
				   "a second           26.0       20.0        4.0        2.0\n"
				   "  (minute)         13.0       10.0        2.0        1.0\n"
				   "since start        1560       1200        240        120\n"
				   "Messages in each 10 s of the last 10 minutes, at most 86:\n"
				   "    _______....,,,,--===++**## _..,,-=++*##_.,,-=+*# _.,-+*#|\n"
				   "QUEUE     messages 12   due 10   active 2   held 1   oldest 3m\n"
				   "DELIVERY  delivered/s 22.0   deferred/s 1.0   failed/s 0.0   connections 5\n"
				   "CLIENTS   SMTP sessions 4   API connections 1\n"
				   "SIGNING   p50 16 ms   p99 98 ms (minute)   under way 3   waiting 0\n"
				   "HSM       signing on   workers 2   threads 16\n"
				   "  worker 1   running         5.1/s   restarts 0   last canary 3 ms\n"
				   "  worker 2   waiting 4 s     0.0/s   restarts 2\n"
				   "CERTIFICATES that end next\n"
				   "  old@example.co.jp                                2026-12-31  EXPIRED\n"
				   "  alice@example.co.jp                              2027-01-12  12 days\n";

static const char screen_without_relay[] = "Inkan mx1.example.co.jp        2026-12-31 13:05:09 UTC   up -     q leaves\n"
					   "\n"
					   "No figures: inkand is not running\n"
					   "CERTIFICATES that end next\n"
					   "  old@example.co.jp                                2026-12-31  EXPIRED\n"
					   "  alice@example.co.jp                              2027-01-12  12 days\n";

static void the_screen_is_as_it_was(void)
{
	struct monitor_sample now = sample_at(NOW_MS, 120), second = sample_at(NOW_MS - 1000, 118),
			      minute = sample_at(NOW_MS - 60000, 60);
	struct monitor monitor = monitor_of(&now, &second, &minute);
	struct buf out = {0};

	monitor_lines(&monitor, 23, 79, false, &out);
	CHECK_TEXT(buf_text(&out), screen_80x24);
	buf_clear(&out);
}

static void without_the_relay_it_says_why(void)
{
	struct monitor monitor = monitor_of(NULL, NULL, NULL);
	struct buf out = {0};

	strcpy(monitor.trouble, "inkand is not running");
	monitor_lines(&monitor, 23, 79, false, &out);
	CHECK_TEXT(buf_text(&out), screen_without_relay);
	buf_clear(&out);
}

/* Whatever the size, no line is longer and there are no more lines than fit. */
static void it_fits_every_size(void)
{
	struct monitor_sample now = sample_at(NOW_MS, UINT64_MAX / 64);
	struct monitor monitor = monitor_of(&now, NULL, NULL);

	memset(monitor.host, 'h', sizeof monitor.host - 1);
	for (unsigned rows = 1; rows < 60; rows += 3) {
		for (unsigned columns = 19; columns < 200; columns += 20) {
			struct buf out = {0};
			unsigned lines = 0;

			test_case("%ux%u", columns, rows);
			monitor_lines(&monitor, rows, columns, true, &out);
			for (struct bytes rest = buf_bytes(&out); rest.len > 0; lines++) {
				size_t len = (size_t)((const uint8_t *)memchr(rest.data, '\n', rest.len) - rest.data);

				CHECK(text_columns(bytes_slice(rest, 0, len)) <= columns);
				rest = bytes_slice(rest, len + 1, rest.len);
			}
			CHECK(lines <= rows && lines > 0);
			buf_clear(&out);
		}
	}
}

static void block_characters_show_the_height(void)
{
	struct monitor_sample now = sample_at(NOW_MS, 1);
	struct monitor monitor = monitor_of(&now, NULL, NULL);
	struct buf out = {0};

	memset(now.steps, 0, sizeof now.steps);
	now.steps[0] = 1;
	now.steps[1] = 50;
	now.steps[MONITOR_STEPS - 1] = 100;
	monitor_lines(&monitor, 23, 79, true, &out);
	CHECK_CONTAINS(buf_text(&out), "at most 100:\n▁▄");
	CHECK_CONTAINS(buf_text(&out), "█|\n");
	buf_clear(&out);
}

static void percentiles_come_from_the_buckets(void)
{
	static const struct {
		uint64_t buckets[4];
		unsigned permille;
		int64_t ms;
		bool beyond;
	} cases[] = {
	    {{0, 0, 0, 0}, 500, -1, false},  {{10, 0, 0, 0}, 500, 5, false}, {{10, 0, 0, 0}, 990, 10, false},
	    {{1, 1, 0, 0}, 500, 10, false},  {{0, 0, 4, 0}, 500, 60, false}, {{99, 0, 0, 1}, 990, 10, false},
	    {{99, 0, 0, 1}, 995, 100, true}, {{0, 0, 0, 5}, 500, 100, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct monitor_sample now = {.n_bounds = 3, .bounds = {10, 20, 100}}, before = now;
		bool beyond;

		test_case("%zu", i);
		memcpy(now.buckets, cases[i].buckets, sizeof cases[i].buckets);
		CHECK_INT(monitor_percentile(&now, NULL, cases[i].permille, &beyond), cases[i].ms);
		CHECK_INT(beyond, cases[i].beyond);
		before = now;
		CHECK_INT(monitor_percentile(&now, &before, cases[i].permille, &beyond), -1);
	}
}

int main(void)
{
	TEST(the_screen_is_as_it_was);
	TEST(without_the_relay_it_says_why);
	TEST(it_fits_every_size);
	TEST(block_characters_show_the_height);
	TEST(percentiles_come_from_the_buckets);
	return test_finish();
}
