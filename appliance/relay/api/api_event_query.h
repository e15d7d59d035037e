/*
 * What a request for events asks for (../shared/reference/api.md §6), and the JSON of what was found (§5: exactly the documented
 * members, all of them strings). Pure; times are local.
 */
#ifndef INKAN_RELAY_API_EVENT_QUERY_H
#define INKAN_RELAY_API_EVENT_QUERY_H

#include <jansson.h>

#include "appliance/relay/api/api_errors.h"
#include "appliance/relay/queue/events.h"

#define API_EVENT_ROWS_DEFAULT 10
#define API_EVENT_ROWS_MAX 100
#define API_EVENT_PAGE_MAX 1000000

/* Inkan blocks no recipients, so that a good request for blocks finds none; its audit is for the console alone. */
enum api_event_kind { API_DELIVERIES, API_BOUNCES, API_STATISTICS, API_BLOCKS, API_AUDITLOGS };

/* Texts are views into the fields, or into `numbers`. */
struct api_event_query {
	const char *server; /* server_composition; NULL: not given, which statistics allow */
	struct event_filter filter; /* of deliveries and bounces; its server is not set */
	int first_day, last_day; /* of statistics, yyyymmdd */
	bool total; /* one row for all of them */
	char numbers[4][24];
};

/* What is wrong is added to `errors`, each field by its name; true: nothing was. `now`: wall ms. */
bool api_event_query_read(const json_t *fields, enum api_event_kind kind, int64_t now, struct api_event_query *query,
			  struct api_errors *errors) MUST_USE;

const char *api_event_kind_name(enum api_event_kind kind); /* "deliveries" */

/* {"deliveries":[…]} or {"bounces":[…]}, appended. */
void api_events_write(struct buf *out, enum api_event_kind kind, const struct event_row *rows, size_t count);
void api_statistics_write(struct buf *out, const struct event_day *days, size_t count, bool total);

#endif
