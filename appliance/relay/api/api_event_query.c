#include "appliance/relay/api/api_event_query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/relay/api/api_mail.h"

#define TEXT_MAX_BYTES 1024

static const char *const kind_names[] = {"deliveries", "bounces", "statistics", "blocks", "auditlogs"};
static const char *const status_names[] = {[QUEUE_LOG_QUEUED] = "queued",
					   [QUEUE_LOG_SUCCEEDED] = "succeeded",
					   [QUEUE_LOG_FAILED] = "failed",
					   [QUEUE_LOG_DEFERRED] = "deferred"};

const char *api_event_kind_name(enum api_event_kind kind)
{
	return kind_names[kind];
}

/* ---- reading ---- */

struct reader {
	const json_t *fields;
	struct api_event_query *query;
	struct api_errors *errors;
	size_t n_numbers;
};

/* NULL: missing or empty. */
static const char *text(struct reader *reader, const char *name)
{
	char digits[API_NUMBER_BYTES];
	const char *value = api_field_text(reader->fields, name, digits);

	if (value == NULL && json_is_true(json_object_get(reader->fields, name)))
		value = "1";
	if (value != NULL && strlen(value) > TEXT_MAX_BYTES) {
		api_errors_add(reader->errors, API_FAULT_TOO_LONG, name, "1024 octets");
		return NULL;
	}
	if (value != digits)
		return value;
	if (reader->n_numbers == sizeof reader->query->numbers / sizeof *reader->query->numbers)
		return NULL;
	snprintf(reader->query->numbers[reader->n_numbers], sizeof *reader->query->numbers, "%s", digits);
	return reader->query->numbers[reader->n_numbers++];
}

/* A whole number in least..most; `missing` without the field. */
static long number(struct reader *reader, const char *name, long least, long most, long missing)
{
	char digits[API_NUMBER_BYTES], *end, *form;
	const char *value = api_field_text(reader->fields, name, digits);
	long got;

	if (value == NULL)
		return missing;
	got = strtol(value, &end, 10);
	if (*value >= '0' && *value <= '9' && *end == '\0' && got >= least && got <= most)
		return got;
	form = mem_format("a number from %ld to %ld", least, most);
	api_errors_add(reader->errors, API_FAULT_FORM, name, form);
	free(form);
	return missing;
}

/* The first ms of a local day, `days` later. */
static int64_t day_start(struct tm day, int days)
{
	day.tm_mday += days;
	day.tm_isdst = -1;
	return (int64_t)mktime(&day) * 1000;
}

/* yyyy-mm-dd, a day that there is. */
static bool parse_day(const char *value, struct tm *day)
{
	int year, month, mday, len = 0;
	struct tm again;

	if (sscanf(value, "%4d-%2d-%2d%n", &year, &month, &mday, &len) != 3 || len != 10 || value[len] != '\0' ||
	    strspn(value, "0123456789-") != 10)
		return false;
	*day = again = (struct tm){.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = mday, .tm_isdst = -1};
	return mktime(&again) != -1 && again.tm_mon == month - 1 && again.tm_mday == mday;
}

/* False: missing, or wrong, which is in the errors. */
static bool read_day(struct reader *reader, const char *name, bool required, int64_t now, struct tm *day)
{
	char digits[API_NUMBER_BYTES];
	const char *value = api_field_text(reader->fields, name, digits);

	if (value == NULL && required)
		api_errors_add(reader->errors, API_FAULT_REQUIRED, name, "");
	if (value == NULL)
		return false;
	if (!parse_day(value, day) || day_start(*day, 0) > now) {
		api_errors_add(reader->errors, API_FAULT_FORM, name, "a date, yyyy-mm-dd, that is not in the future");
		return false;
	}
	return true;
}

static void read_date(struct reader *reader, bool required, int64_t now)
{
	struct event_filter *filter = &reader->query->filter;
	long hour = number(reader, "hour", 0, 23, -1), minute = number(reader, "minute", 0, 59, -1);
	struct tm day;

	if (!read_day(reader, "date", required, now, &day))
		return;
	filter->since = day_start(day, 0);
	filter->until = day_start(day, 1);
	if (hour < 0) {
		if (minute >= 0)
			api_errors_add(reader->errors, API_FAULT_REQUIRED, "hour", "");
		return;
	}
	filter->since += (hour * 60 + (minute < 0 ? 0 : minute)) * 60000;
	filter->until = filter->since + (minute < 0 ? 60 : 1) * 60000;
}

static void read_span(struct reader *reader, int64_t now)
{
	struct event_filter *filter = &reader->query->filter;
	struct tm start, end;

	if (read_day(reader, "start_date", false, now, &start))
		filter->since = day_start(start, 0);
	if (read_day(reader, "end_date", false, now, &end))
		filter->until = day_start(end, 1);
	if (filter->until != 0 && filter->until <= filter->since)
		api_errors_add(reader->errors, API_FAULT_FORM, "end_date", "no earlier than start_date");
}

static void read_status(struct reader *reader)
{
	const char *value = text(reader, "status");

	reader->query->filter.status = QUEUE_LOG_ANY;
	for (int i = 0; value != NULL && i < QUEUE_LOG_ANY; i++)
		if (strcmp(value, status_names[i]) == 0)
			reader->query->filter.status = (enum queue_log_status)i;
	if (value != NULL && reader->query->filter.status == QUEUE_LOG_ANY)
		api_errors_add(reader->errors, API_FAULT_FORM, "status", "queued, succeeded, failed or deferred");
}

/*
 * search_option: {"from":"full","to":"full"}; an object, or in a form its JSON. What else it may be changes nothing, as with the
 * service.
 */
static void read_search_option(struct reader *reader)
{
	const json_t *value = json_object_get(reader->fields, "search_option");
	json_t *parsed = json_is_string(value) ? json_loads(json_string_value(value), 0, NULL) : NULL;
	const json_t *option = parsed != NULL ? parsed : value;
	const char *from = json_string_value(json_object_get(option, "from")),
		   *to = json_string_value(json_object_get(option, "to"));

	reader->query->filter.from_whole = from != NULL && strcmp(from, "full") == 0;
	reader->query->filter.to_whole = to != NULL && strcmp(to, "full") == 0;
	json_decref(parsed);
}

static void read_list(struct reader *reader, bool bounces, int64_t now)
{
	struct event_filter *filter = &reader->query->filter;

	if (!bounces)
		read_status(reader);
	else
		filter->status = QUEUE_LOG_FAILED;
	if (bounces)
		read_span(reader, now);
	read_date(reader, !bounces, now);
	filter->from = text(reader, "from");
	filter->to = text(reader, "to");
	filter->api_data = text(reader, "api_data");
	read_search_option(reader);
	filter->limit = (size_t)number(reader, "r", 1, API_EVENT_ROWS_MAX, API_EVENT_ROWS_DEFAULT);
	filter->skip = (size_t)number(reader, "p", 0, API_EVENT_PAGE_MAX, 0) * filter->limit;
}

/* Of blocks; what it may be in the way of an address is no matter where none is blocked. */
static void read_blocks(struct reader *reader, int64_t now)
{
	read_span(reader, now);
	number(reader, "r", 1, API_EVENT_ROWS_MAX, API_EVENT_ROWS_DEFAULT);
	number(reader, "p", 0, API_EVENT_PAGE_MAX, 0);
}

static void read_month(struct reader *reader)
{
	long year = number(reader, "year", 2000, 9999, -1), month = number(reader, "month", 1, 12, -1);
	const char *total = text(reader, "total");
	char digits[API_NUMBER_BYTES];

	if (api_field_text(reader->fields, "year", digits) == NULL)
		api_errors_add(reader->errors, API_FAULT_REQUIRED, "year", "");
	if (api_field_text(reader->fields, "month", digits) == NULL)
		api_errors_add(reader->errors, API_FAULT_REQUIRED, "month", "");
	reader->query->first_day = (int)(year * 10000 + month * 100 + 1);
	reader->query->last_day = reader->query->first_day + 30;
	reader->query->total = total != NULL && strcmp(total, "0") != 0 && strcmp(total, "false") != 0;
}

bool api_event_query_read(const json_t *fields, enum api_event_kind kind, int64_t now, struct api_event_query *query,
			  struct api_errors *errors)
{
	struct reader reader = {.fields = fields, .query = query, .errors = errors};

	*query = (struct api_event_query){0};
	query->server = text(&reader, "server_composition");
	if (query->server == NULL && kind != API_STATISTICS && kind != API_AUDITLOGS)
		api_errors_add(errors, API_FAULT_REQUIRED, "server_composition", "");
	if (kind == API_STATISTICS)
		read_month(&reader);
	else if (kind == API_BLOCKS)
		read_blocks(&reader, now);
	else if (kind != API_AUDITLOGS)
		read_list(&reader, kind == API_BOUNCES, now);
	return errors->n_rows == 0;
}

/* ---- writing ---- */

/* What came with a mail may be anything: octets that are no UTF-8 become question marks. */
static json_t *json_of(const char *text)
{
	json_t *string = json_string(text);
	char *copy;

	if (string != NULL)
		return string;
	copy = mem_string(text);
	for (char *at = copy; *at != '\0'; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

static json_t *local_time(int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm local;
	char out[32];

	localtime_r(&seconds, &local);
	strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &local);
	return json_string(out);
}

static json_t *delivery_object(const struct event_row *row)
{
	bool queued = row->status == QUEUE_LOG_QUEUED;
	json_t *object = json_object();

	json_object_set_new(object, "created", local_time(row->created));
	json_object_set_new(object, "returnPath", json_of(row->return_path));
	json_object_set_new(object, "from", json_of(row->from));
	json_object_set_new(object, "to", json_of(row->to));
	json_object_set_new(object, "messageId", json_of(row->message_id));
	json_object_set_new(object, "reason", json_of(row->reason));
	json_object_set_new(object, "senderIp", json_of(queued ? "" : row->source_ip));
	json_object_set_new(object, "sourceIp", json_of(queued ? row->client_ip : ""));
	json_object_set_new(object, "status", json_string(status_names[row->status]));
	json_object_set_new(object, "subject", json_of(row->subject));
	json_object_set_new(object, "apiData", json_of(row->api_data));
	return object;
}

static json_t *bounce_object(const struct event_row *row)
{
	json_t *object = json_object();

	json_object_set_new(object, "created", local_time(row->created));
	json_object_set_new(object, "status", json_string(status_names[row->status]));
	json_object_set_new(object, "from", json_of(row->from));
	json_object_set_new(object, "to", json_of(row->to));
	json_object_set_new(object, "messageId", json_of(row->message_id));
	json_object_set_new(object, "returnPath", json_of(row->return_path));
	json_object_set_new(object, "subject", json_of(row->subject));
	json_object_set_new(object, "apiData", json_of(row->api_data));
	json_object_set_new(object, "reason", json_of(row->reason));
	return object;
}

/* Takes the list. */
static void write_list(struct buf *out, const char *name, json_t *list)
{
	json_t *reply = json_object();
	char *dumped;

	json_object_set_new(reply, name, list);
	dumped = json_dumps(reply, JSON_COMPACT);
	buf_put_text(out, dumped);
	free(dumped);
	json_decref(reply);
}

void api_events_write(struct buf *out, enum api_event_kind kind, const struct event_row *rows, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, kind == API_BOUNCES ? bounce_object(&rows[i]) : delivery_object(&rows[i]));
	write_list(out, kind_names[kind], list);
}

static json_t *day_object(const struct event_day *day, bool total)
{
	char date[16], numbers[3][24];
	static const enum queue_log_status shown[] = {QUEUE_LOG_QUEUED, QUEUE_LOG_SUCCEEDED, QUEUE_LOG_FAILED};

	if (total)
		snprintf(date, sizeof date, "%04u-%02u", (unsigned)day->day / 10000 % 10000, (unsigned)day->day / 100 % 100);
	else
		snprintf(date, sizeof date, "%04u-%02u-%02u", (unsigned)day->day / 10000 % 10000, (unsigned)day->day / 100 % 100,
			 (unsigned)day->day % 100);
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		snprintf(numbers[i], sizeof numbers[i], "%llu", (unsigned long long)day->counts[shown[i]]);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "date", date, "queued", numbers[0], "succeeded", numbers[1], "failed",
			 numbers[2], "blocked", "0", "valid", numbers[0]);
}

void api_statistics_write(struct buf *out, const struct event_day *days, size_t count, bool total)
{
	struct event_day sum = {.day = count > 0 ? days[0].day : 0};
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		for (size_t s = 0; s < QUEUE_LOG_ANY; s++)
			sum.counts[s] += days[i].counts[s];
		if (!total)
			json_array_append_new(list, day_object(&days[i], false));
	}
	if (total && count > 0)
		json_array_append_new(list, day_object(&sum, true));
	write_list(out, kind_names[API_STATISTICS], list);
}
