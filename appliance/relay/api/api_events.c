#include "appliance/relay/api/api_events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "appliance/base/clock.h"
#include "appliance/base/log.h"
#include "appliance/relay/api/api_mail.h"
#include "appliance/relay/api/api_send.h"
#include "appliance/relay/api/form.h"

#define JSON_TYPE "application/json"
#define FORM_TYPE "application/x-www-form-urlencoded"

struct api_events {
	struct api_events_context *context;
	enum api_event_kind kind;
	struct config *config;
	const struct config_server *server; /* whose users may ask */
	struct http_connection *connection;
	struct buf octets;
	json_t *fields;
	struct api_errors errors;
	struct api_event_query query;
	struct login_check *check;
	char *user; /* whose requests count this one; NULL: not yet */
	bool json, japanese;
	bool listing; /* a list is being read: it comes back to this */
	bool abandoned;
};

static void events_free(struct api_events *events)
{
	login_forget(events->check);
	if (events->user != NULL)
		api_users_leave(events->context->users, events->server->name, events->user);
	free(events->user);
	buf_wipe_clear(&events->octets);
	json_decref(events->fields);
	api_errors_clear(&events->errors);
	config_unref(events->config);
	free(events);
}

void api_events_abandon(struct api_events *events)
{
	events->abandoned = true;
	if (!events->listing)
		events_free(events);
}

/* ---- replies ---- */

static void reply_errors(struct api_events *events)
{
	log_info("api.refused", LOG_TEXT("server", events->server->name),
		 LOG_TEXT("client", http_connection_client(events->connection)),
		 LOG_TEXT("user", events->user == NULL ? "" : events->user),
		 LOG_NUMBER("status", api_errors_status(&events->errors)), LOG_TEXT("field", events->errors.rows[0].field),
		 LOG_TEXT("detail", events->errors.rows[0].detail));
	events->context->refused_total++;
	http_connection_reply_errors(events->connection, &events->errors, events->japanese);
	events_free(events);
}

static void refuse(struct api_events *events, enum api_fault fault, const char *field, const char *detail)
{
	api_errors_clear(&events->errors);
	api_errors_add(&events->errors, fault, field, detail);
	reply_errors(events);
}

/* 204 where nothing was found, as the service does. */
static void reply(struct api_events *events, size_t count, struct buf *json)
{
	events->context->answered_total++;
	http_connection_reply(events->connection, count > 0 ? 200 : 204, "application/json; charset=UTF-8", "", buf_bytes(json));
	buf_clear(json);
	events_free(events);
}

/* True: the request is over. */
static bool end_list(struct api_events *events, const struct err *err)
{
	events->listing = false;
	if (events->abandoned)
		events_free(events);
	else if (err != NULL && err->code == ERR_TIMEOUT)
		refuse(events, API_FAULT_BUSY, "", "The list takes too long: ask for a shorter time, or without from and to");
	else if (err != NULL)
		refuse(events, API_FAULT_BUSY, "", "The delivery log cannot be read");
	else
		return false;
	if (err != NULL)
		log_warning("api.list-failed", LOG_ERR(err));
	return true;
}

static void on_list(const struct event_row *rows, size_t count, const struct err *err, void *arg)
{
	struct api_events *events = arg;
	struct buf json = {0};

	if (end_list(events, err))
		return;
	api_events_write(&json, events->kind, rows, count);
	reply(events, count, &json);
}

static void on_days(const struct event_day *days, size_t count, const struct err *err, void *arg)
{
	struct api_events *events = arg;
	struct buf json = {0};

	if (end_list(events, err))
		return;
	api_statistics_write(&json, days, count, events->query.total);
	reply(events, count, &json);
}

/* ---- from a complete body to a list ---- */

static void list(struct api_events *events)
{
	struct api_event_query *query = &events->query;
	struct buf nothing = {0};

	if (events->kind == API_BLOCKS) {
		reply(events, 0, &nothing);
		return;
	}
	if (events->kind == API_AUDITLOGS) {
		refuse(events, API_FAULT_CONSOLE_ONLY, "", "");
		return;
	}
	events->listing = true;
	if (events->kind == API_STATISTICS) {
		event_days(events->context->queue, events->server->name, query->first_day, query->last_day, on_days, events);
		return;
	}
	query->filter.server = events->server->name;
	event_list(events->context->queue, &query->filter, on_list, events);
}

static void on_login(enum login_result result, void *arg)
{
	struct api_events *events = arg;
	char digits[API_NUMBER_BYTES], limit[16];
	const char *user = api_field_text(events->fields, "api_user", digits);

	events->check = NULL;
	snprintf(limit, sizeof limit, "%d", API_REQUESTS_PER_USER_MAX);
	if (result == LOGIN_BUSY)
		refuse(events, API_FAULT_BUSY, "", "Too many logins at once");
	else if (result == LOGIN_WRONG)
		refuse(events, API_FAULT_LOGIN, "api_key", "");
	else if (!api_users_enter(events->context->users, events->server->name, user, API_REQUESTS_PER_USER_MAX))
		refuse(events, API_FAULT_CONNECTIONS, "api_user", limit);
	else {
		events->user = mem_string(user);
		if (api_event_query_read(events->fields, events->kind, clock_wall_ms(), &events->query, &events->errors))
			list(events);
		else
			reply_errors(events);
	}
}

static bool read_fields(struct api_events *events, struct err *err)
{
	json_error_t wrong;

	if (!events->json) {
		events->fields = json_object();
		return form_decode(events->fields, buf_bytes(&events->octets), err);
	}
	events->fields = json_loadb((const char *)events->octets.data, events->octets.len, 0, &wrong);
	if (json_is_object(events->fields))
		return true;
	return err_set(err, ERR_INVALID, "%s", events->fields == NULL ? wrong.text : "not a JSON object");
}

static const char *login_field(struct api_events *events, const char *name, char digits[static API_NUMBER_BYTES])
{
	const char *value = api_field_text(events->fields, name, digits);

	if (value == NULL)
		api_errors_add(&events->errors, API_FAULT_REQUIRED, name, "");
	else if (strlen(value) > API_LOGIN_MAX_BYTES)
		api_errors_add(&events->errors, API_FAULT_TOO_LONG, name, "256 octets");
	return value;
}

/* The server that is asked about, of whose users this must be one. */
static void choose_server(struct api_events *events)
{
	char digits[API_NUMBER_BYTES];
	const char *name = api_field_text(events->fields, "server_composition", digits);
	const struct config_server *named = name == NULL ? NULL : config_find_server(events->config, name);

	if (named != NULL)
		events->server = named;
	else if (name != NULL)
		api_errors_add(&events->errors, API_FAULT_FORM, "server_composition", "the name of a server of yours");
}

void api_events_complete(struct api_events *events)
{
	char user_digits[API_NUMBER_BYTES], key_digits[API_NUMBER_BYTES];
	const char *user, *key;
	struct login_check *check;
	struct err err;

	if (!read_fields(events, &err)) {
		refuse(events, API_FAULT_BODY, "", err.text);
		return;
	}
	user = login_field(events, "api_user", user_digits);
	key = login_field(events, "api_key", key_digits);
	choose_server(events);
	if (events->errors.n_rows > 0) {
		reply_errors(events);
		return;
	}
	check = login_check(events->context->login, events->server, http_connection_client(events->connection), user, key,
			    on_login, events);
	if (check != NULL) /* else `events` may be gone */
		events->check = check;
}

/* ---- the body ---- */

bool api_events_body(struct api_events *events, struct bytes octets)
{
	if (events->octets.len + octets.len > API_EVENTS_BODY_MAX_BYTES)
		refuse(events, API_FAULT_TOO_LARGE, "", "64 KB");
	else
		buf_put_bytes(&events->octets, octets);
	return true;
}

static bool is_type(const char *content_type, const char *type)
{
	size_t len = strlen(type);

	return content_type != NULL && strncasecmp(content_type, type, len) == 0 && strchr("; \t", content_type[len]) != NULL;
}

struct api_events *api_events_begin(struct api_events_context *context, enum api_event_kind kind, struct config *config,
				    const struct config_server *server, struct http_connection *connection,
				    const struct http_head *head)
{
	struct api_events *events = mem_new(sizeof *events);

	*events = (struct api_events){.context = context,
				      .kind = kind,
				      .config = config_ref(config),
				      .server = server,
				      .connection = connection,
				      .json = is_type(head->content_type, JSON_TYPE),
				      .japanese = api_language_is_japanese(head->accept_language)};
	if (events->json || is_type(head->content_type, FORM_TYPE))
		return events;
	refuse(events, API_FAULT_MEDIA_TYPE, "", "");
	return NULL;
}
