/* show statistics: by hour or by day, from the events that the relay keeps. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/relay_client.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)
#define ASKED_MS (7 * DAY_MS) /* of one question */
#define BY_HOUR_MS (2 * DAY_MS) /* longer: by day */
#define LONGEST_MS (400 * DAY_MS)
#define COUNTS (QUERY_STATISTICS_COLUMNS - 1)

/* The same cells, short for people and exact for programs. */
static const struct report_column columns[] = {
    {"FROM (UTC)", NULL, false}, {"IN", NULL, true},   {"SIGNED", NULL, true},	 {"PLAIN", NULL, true},	 {"REFUSED", NULL, true},
    {"SIZE", NULL, true},	 {"SENT", NULL, true}, {"DEFERRED", NULL, true}, {"FAILED", NULL, true},
};

static const struct report_column exact[] = {
    {"", "from", false},  {"", "messages", true},  {"", "signed", true},   {"", "plain", true},	 {"", "refused", true},
    {"", "octets", true}, {"", "delivered", true}, {"", "deferred", true}, {"", "failed", true},
};

struct statistics {
	bool json;
	struct report report;
	int64_t unit_ms;
	int64_t unit; /* of the row that is being summed up */
	bool any;
	uint64_t counts[COUNTS], totals[COUNTS];
};

static void put_counts(struct statistics *statistics, const uint64_t *counts)
{
	for (size_t i = 0; i < COUNTS; i++) {
		bool octets = i + 1 == QUERY_STATISTICS_OCTETS && !statistics->json;

		if (octets && counts[i] >= 10000 * UINT64_C(1024))
			report_cell(&statistics->report, "%" PRIu64 "M", counts[i] >> 20);
		else if (octets && counts[i] >= 10000)
			report_cell(&statistics->report, "%" PRIu64 "K", counts[i] >> 10);
		else
			report_cell(&statistics->report, "%" PRIu64, counts[i]);
	}
}

static void end_row(struct statistics *statistics)
{
	char time[CONSOLE_TIME_BYTES];

	if (!statistics->any)
		return;
	console_time(time, statistics->unit * statistics->unit_ms);
	if (statistics->unit_ms == DAY_MS)
		report_cell(&statistics->report, "%.10s", time);
	else
		report_cell(&statistics->report, "%.*s", statistics->json ? 16 : 11,
			    time + (statistics->json ? 0 : strlen("2027-")));
	put_counts(statistics, statistics->counts);
	memset(statistics->counts, 0, sizeof statistics->counts);
	statistics->any = false;
}

static bool add_hour(char *const *cells, void *arg)
{
	struct statistics *statistics = arg;
	int64_t unit = strtoll(cells[QUERY_STATISTICS_HOUR], NULL, 10) * 1000 / statistics->unit_ms;

	if (statistics->any && unit != statistics->unit)
		end_row(statistics);
	statistics->unit = unit;
	statistics->any = true;
	for (size_t i = 0; i < COUNTS; i++) {
		uint64_t count = strtoull(cells[i + 1], NULL, 10);

		statistics->counts[i] += count;
		statistics->totals[i] += count;
	}
	return true;
}

/* ---- what is asked for ---- */

struct span {
	int64_t since, until; /* wall ms */
	const char *server; /* NULL: all */
};

static bool read_date(const char *text, struct span *span, struct err *err)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%d", &tm);
	int day = tm.tm_mday;
	time_t at = timegm(&tm); /* 30 February becomes a day of March */

	if (end == NULL || *end != '\0' || strlen(text) != 10 || tm.tm_mday != day)
		return err_set(err, ERR_INVALID, "\"%s\" is neither a day (2027-01-31) nor: last 24h, last 7d, server NAME",
			       text);
	span->since = (int64_t)at * 1000;
	span->until = span->since + DAY_MS;
	return true;
}

static bool read_last(const char *text, struct span *span, struct err *err)
{
	int64_t ms = setting_parse_duration_ms(text);

	if (ms < HOUR_MS || ms > LONGEST_MS)
		return err_set(err, ERR_INVALID, "\"%s\" is no time from 1h to 400d", text);
	span->until = clock_wall_ms() + 1;
	span->since = (span->until - ms) / HOUR_MS * HOUR_MS;
	return true;
}

static bool read_span(const struct parsed *parsed, struct span *span, struct err *err)
{
	bool fine = read_last("24h", span, err);

	for (size_t i = 0; fine && i < parsed->n_typed; i++) {
		const char *word = parsed->typed[i];
		bool last = strcmp(word, "last") == 0;

		if (!last && strcmp(word, "server") != 0) {
			fine = read_date(word, span, err);
			continue;
		}
		if (++i == parsed->n_typed)
			return err_set(err, ERR_INVALID, "a value is missing behind \"%s\"", word);
		if (last)
			fine = read_last(parsed->typed[i], span, err);
		else
			span->server = parsed->typed[i];
	}
	return fine;
}

static bool ask(struct relay_client *client, const struct span *span, struct statistics *statistics, struct err *err)
{
	for (int64_t since = span->since; since < span->until; since += ASKED_MS) {
		int64_t until = since + ASKED_MS < span->until ? since + ASKED_MS : span->until;
		struct query query = {.kind = QUERY_STATISTICS, .cursor = mem_string("")};
		char *first = mem_format("%" PRId64, since), *end = mem_format("%" PRId64, until);
		bool fine;

		query_add(&query, "since", first);
		query_add(&query, "until", end);
		if (span->server != NULL)
			query_add(&query, "server", span->server);
		fine = relay_ask_all(client, &query, QUERY_STATISTICS_COLUMNS, 0, add_hour, statistics, NULL, err);
		free(end);
		free(first);
		query_clear(&query);
		if (!fine)
			return false;
	}
	end_row(statistics);
	return true;
}

static void show(struct console *console, struct statistics *statistics, const struct span *span)
{
	if (!statistics->json) {
		report_cell(&statistics->report, "%s", "total");
		put_counts(statistics, statistics->totals);
	}
	console_show(console, &statistics->report);
	if (!statistics->json)
		console_say(console, "%s",
			    span->server == NULL ? "Refused mail and sizes are counted since the relay's last start, for 8 days."
						 : "Refused mail and sizes are not counted by server.");
}

bool show_statistics(struct console *console, const struct parsed *parsed, struct err *err)
{
	bool json = console->filters != NULL && console->filters->json;
	struct statistics statistics = {
	    .json = json, .report = report_of(REPORT_TABLE, json ? exact : columns, sizeof columns / sizeof *columns)};
	struct span span = {0};
	struct relay_client client;
	bool fine = read_span(parsed, &span, err) && relay_open(&client, console->state, err);

	statistics.unit_ms = span.until - span.since > BY_HOUR_MS ? DAY_MS : HOUR_MS;
	if (fine) {
		fine = ask(&client, &span, &statistics, err);
		relay_close(&client);
	}
	if (fine)
		show(console, &statistics, &span);
	report_clear(&statistics.report);
	return fine;
}
