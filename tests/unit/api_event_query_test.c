/* What a request for events asks for, and the JSON of what was found. */
#include "appliance/relay/api/api_event_query.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/test.h"

#define NOW INT64_C(1766000000000) /* 2025-12-17 19:33:20 UTC */

struct outcome {
	json_t *fields;
	struct api_event_query query;
	struct api_errors errors;
	bool good;
	char wrong[256]; /* the fields that are named */
};

static struct outcome read_json(enum api_event_kind kind, const char *json)
{
	struct outcome outcome = {.fields = json_loads(json, 0, NULL)};

	CHECK(outcome.fields != NULL);
	outcome.good = api_event_query_read(outcome.fields, kind, NOW, &outcome.query, &outcome.errors);
	for (size_t i = 0; i < outcome.errors.n_rows; i++) {
		strcat(outcome.wrong, i > 0 ? " " : "");
		strcat(outcome.wrong, outcome.errors.rows[i].field);
	}
	return outcome;
}

static void end(struct outcome *outcome)
{
	api_errors_clear(&outcome->errors);
	json_decref(outcome->fields);
}

static void reads_a_list_of_deliveries(void)
{
	struct outcome got = read_json(API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-12-16\",\"hour\":\"9\","
						       "\"minute\":5,\"p\":2,\"r\":\"50\",\"status\":\"failed\",\"to\":\"@x\","
						       "\"from\":\"\",\"api_data\":42,\"search_option\":\"full\"}");

	CHECK_TEXT(got.wrong, "");
	CHECK_TEXT(got.query.server, "s");
	CHECK_INT(got.query.filter.since, (INT64_C(1765843200) + 9 * 3600 + 5 * 60) * 1000);
	CHECK_INT(got.query.filter.until - got.query.filter.since, 60000);
	CHECK_INT(got.query.filter.skip, 100);
	CHECK_INT(got.query.filter.limit, 50);
	CHECK_INT(got.query.filter.status, QUEUE_LOG_FAILED);
	CHECK_TEXT(got.query.filter.to, "@x");
	CHECK(got.query.filter.from == NULL);
	CHECK_TEXT(got.query.filter.api_data, "42");
	CHECK(!got.query.filter.from_whole && !got.query.filter.to_whole);
	end(&got);
	got = read_json(API_DELIVERIES,
			"{\"server_composition\":\"s\",\"date\":\"2025-12-16\",\"search_option\":{\"to\":\"full\"}}");
	CHECK(got.good && !got.query.filter.from_whole && got.query.filter.to_whole);
	end(&got);
	got = read_json(API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-12-16\","
					"\"search_option\":\"{\\\"from\\\":\\\"full\\\"}\"}");
	CHECK(got.good && got.query.filter.from_whole && !got.query.filter.to_whole);
	end(&got);
	got = read_json(API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-12-17\"}");
	CHECK(got.good);
	CHECK_INT(got.query.filter.limit, API_EVENT_ROWS_DEFAULT);
	CHECK_INT(got.query.filter.status, QUEUE_LOG_ANY);
	CHECK_INT(got.query.filter.until - got.query.filter.since, 86400000);
	end(&got);
}

static void names_what_is_wrong(void)
{
	static const struct {
		enum api_event_kind kind;
		const char *json, *wrong;
	} rows[] = {
	    {API_DELIVERIES, "{}", "server_composition date"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-12-18\"}", "date"}, /* the future */
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-29\"}", "date"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-2-1\"}", "date"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01x\"}", "date"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-+2-01\"}", "date"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01\",\"hour\":24}", "hour"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01\",\"minute\":1}", "hour"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01\",\"r\":101}", "r"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01\",\"r\":\"1 \"}", "r"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01\",\"p\":-1}", "p"},
	    {API_DELIVERIES, "{\"server_composition\":\"s\",\"date\":\"2025-02-01\",\"status\":\"sent\"}", "status"},
	    {API_BOUNCES, "{\"server_composition\":\"s\"}", ""},
	    {API_BOUNCES, "{\"server_composition\":\"s\",\"start_date\":\"2025-02-02\",\"end_date\":\"2025-02-01\"}", "end_date"},
	    {API_STATISTICS, "{}", "year month"},
	    {API_BLOCKS, "{\"server_composition\":\"s\",\"email\":\"a\",\"removed\":\"0\"}", ""},
	    {API_BLOCKS, "{\"r\":0,\"start_date\":\"x\"}", "server_composition start_date r"},
	    {API_AUDITLOGS, "{\"type\":\"login\"}", ""},
	    {API_STATISTICS, "{\"year\":2025,\"month\":13}", "month"},
	    {API_STATISTICS, "{\"year\":\"25\",\"month\":1}", "year"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct outcome got = read_json(rows[i].kind, rows[i].json);

		test_case("%s", rows[i].json);
		CHECK_TEXT(got.wrong, rows[i].wrong);
		CHECK_INT(got.good, *rows[i].wrong == '\0');
		end(&got);
	}
}

static void reads_spans_and_months(void)
{
	struct outcome got = read_json(API_BOUNCES, "{\"server_composition\":\"s\",\"start_date\":\"2025-02-01\","
						    "\"end_date\":\"2025-02-28\",\"status\":\"queued\"}");

	CHECK_INT(got.query.filter.until - got.query.filter.since, INT64_C(28) * 86400000);
	CHECK_INT(got.query.filter.status, QUEUE_LOG_FAILED);
	end(&got);
	got = read_json(API_STATISTICS, "{\"year\":\"2025\",\"month\":\"2\",\"total\":true}");
	CHECK(got.good && got.query.total && got.query.server == NULL);
	CHECK_INT(got.query.first_day, 20250201);
	CHECK_INT(got.query.last_day, 20250231);
	end(&got);
}

static void writes_the_documented_members(void)
{
	const struct event_row rows[] = {{.created = NOW,
					  .status = QUEUE_LOG_QUEUED,
					  .return_path = "env@example.com",
					  .from = "a@example.com",
					  .to = "b@example.net",
					  .message_id = "<1@x>",
					  .reason = "",
					  .client_ip = "192.0.2.1",
					  .source_ip = "",
					  .subject = "caf\xe9 \"q\"",
					  .api_data = "D"},
					 {.created = NOW,
					  .status = QUEUE_LOG_FAILED,
					  .return_path = "",
					  .from = "",
					  .to = "",
					  .message_id = "",
					  .reason = "550 no",
					  .client_ip = "192.0.2.1",
					  .source_ip = "192.0.2.2",
					  .subject = "",
					  .api_data = ""}};
	struct buf out = {0};

	api_events_write(&out, API_DELIVERIES, rows, 2);
	CHECK_TEXT(
	    buf_text(&out),
	    "{\"deliveries\":[{\"created\":\"2025-12-17 19:33:20\",\"returnPath\":\"env@example.com\",\"from\":\"a@example.com\","
	    "\"to\":\"b@example.net\",\"messageId\":\"<1@x>\",\"reason\":\"\",\"senderIp\":\"\",\"sourceIp\":\"192.0.2.1\","
	    "\"status\":\"queued\",\"subject\":\"caf? \\\"q\\\"\",\"apiData\":\"D\"},"
	    "{\"created\":\"2025-12-17 19:33:20\",\"returnPath\":\"\",\"from\":\"\",\"to\":\"\",\"messageId\":\"\","
	    "\"reason\":\"550 no\",\"senderIp\":\"192.0.2.2\",\"sourceIp\":\"\",\"status\":\"failed\",\"subject\":\"\","
	    "\"apiData\":\"\"}]}");
	buf_reset(&out);
	api_events_write(&out, API_BOUNCES, rows + 1, 1);
	CHECK_TEXT(buf_text(&out),
		   "{\"bounces\":[{\"created\":\"2025-12-17 19:33:20\",\"status\":\"failed\",\"from\":\"\",\"to\":\"\","
		   "\"messageId\":\"\",\"returnPath\":\"\",\"subject\":\"\",\"apiData\":\"\",\"reason\":\"550 no\"}]}");
	buf_clear(&out);
}

static void writes_statistics(void)
{
	const struct event_day days[] = {{20251201, {5, 3, 1, 2}}, {20251202, {1, 1, 0, 0}}};
	struct buf out = {0};

	api_statistics_write(&out, days, 2, false);
	CHECK_TEXT(buf_text(&out),
		   "{\"statistics\":[{\"date\":\"2025-12-01\",\"queued\":\"5\",\"succeeded\":\"3\",\"failed\":\"1\","
		   "\"blocked\":\"0\",\"valid\":\"5\"},{\"date\":\"2025-12-02\",\"queued\":\"1\",\"succeeded\":\"1\","
		   "\"failed\":\"0\",\"blocked\":\"0\",\"valid\":\"1\"}]}");
	buf_reset(&out);
	api_statistics_write(&out, days, 2, true);
	CHECK_TEXT(buf_text(&out), "{\"statistics\":[{\"date\":\"2025-12\",\"queued\":\"6\",\"succeeded\":\"4\",\"failed\":\"1\","
				   "\"blocked\":\"0\",\"valid\":\"6\"}]}");
	buf_clear(&out);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	tzset();
	TEST(reads_a_list_of_deliveries);
	TEST(names_what_is_wrong);
	TEST(reads_spans_and_months);
	TEST(writes_the_documented_members);
	TEST(writes_statistics);
	return test_finish();
}
