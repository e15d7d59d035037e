/* show server: what one uses, and what happens there now. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/relay_client.h"

#define ANSWER_MS 3000
#define SESSIONS_MAX 100000

static const struct report_column columns[] = {
    {"Server", "server", false},
    {"S/MIME", "smime", false},
    {"Certificates", "certificates", false},
    {"SMTP", "smtp", false},
    {"Networks", "networks", false},
    {"AUTH", "auth", false},
    {"API", "api", false},
    {"Users", "users", false},
    {"Next hops", "next_hops", false},
    {"Unsigned sender", "unsigned_sender", false},
    {"Unsignable mail", "unsignable", false},
    {"Excluded", "excluded", false},
    {"Intelligent BCC", "intelligent_bcc", false},
    {"Webhooks", "webhooks", false},
    {"Largest mail", "max_message_size", false},
    {"Queue lifetime", "queue_lifetime", false},
    {"Sessions now", "sessions", false},
};

static void put_item(struct buf *list, const char *format, ...) PRINTF_LIKE(2, 3);

static void put_item(struct buf *list, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = mem_string("");
	va_end(args);
	buf_printf(list, "%s%s", list->len == 0 ? "" : ", ", text);
	free(text);
}

static void list_cell(struct report *report, struct buf *list)
{
	report_cell(report, "%s", list->len == 0 ? "none" : buf_text(list));
	buf_clear(list);
}

static void values_cell(struct report *report, const struct settings *settings, const char *path)
{
	struct buf list = {0};

	for (size_t i = 0; i < settings->count; i++)
		if (strcmp(settings->items[i].path, path) == 0)
			put_item(&list, "%s", settings->items[i].value);
	list_cell(report, &list);
}

static void names_cell(struct report *report, const struct settings *settings, const char *server, const char *what)
{
	struct buf list = {0};
	size_t count;
	char **names = settings_names(settings, &count, "server %s %s", server, what);

	for (size_t i = 0; i < count; i++)
		put_item(&list, "%s", names[i]);
	path_words_free(names);
	list_cell(report, &list);
}

/* "0.0.0.0:25 (starttls)" */
static void listeners_cell(struct report *report, const struct settings *settings, const char *server, const char *way)
{
	struct buf list = {0};
	size_t count;
	char **names = settings_names(settings, &count, "server %s %s listen", server, way);

	for (size_t i = 0; i < count; i++) {
		const char *tls = setting_effective(settings, "server %s %s listen %s tls", server, way, names[i]);

		put_item(&list, "%s (TLS %s)", names[i], tls != NULL ? tls : "none");
	}
	path_words_free(names);
	list_cell(report, &list);
}

static void effective_cell(struct report *report, const struct settings *settings, const char *server, const char *what)
{
	const char *value = setting_effective(settings, "server %s %s", server, what);

	report_cell(report, "%s", value != NULL ? value : "-");
}

static void excluded_cell(struct report *report, const struct settings *settings, const char *server)
{
	char *path = mem_format("server %s smime exclude recipient", server);
	size_t recipients = 0, headers;
	char **names = settings_names(settings, &headers, "server %s smime exclude header", server);

	for (size_t i = 0; i < settings->count; i++)
		recipients += strcmp(settings->items[i].path, path) == 0;
	report_cell(report, "%zu patterns of recipients, %zu header fields", recipients, headers);
	path_words_free(names);
	free(path);
}

/* ---- what happens there ---- */

static bool count_session(char *const *cells, void *arg)
{
	(void)cells;
	++*(size_t *)arg;
	return true;
}

static void sessions_cell(struct report *report, struct console *console, const char *server)
{
	struct query query = {.kind = QUERY_SESSIONS, .cursor = mem_string(""), .limit = QUERY_ROWS_MAX};
	struct relay_client client;
	size_t count = 0;
	bool fine = relay_open_within(&client, console->state, ANSWER_MS, NULL);

	query_add(&query, "server", server);
	if (fine) {
		fine = relay_ask_all(&client, &query, QUERY_SESSION_COLUMNS, SESSIONS_MAX, count_session, &count, NULL, NULL);
		relay_close(&client);
	}
	if (fine)
		report_cell(report, "%zu", count);
	else
		report_cell(report, "%s", "unknown: the relay does not answer");
	query_clear(&query);
}

static void add_server(struct report *report, struct console *console, const struct settings *settings, const char *name)
{
	char *certificates = mem_format("server %s smime certificate", name);
	char *networks = mem_format("server %s smtp allow-network", name);

	report_cell(report, "%s", name);
	report_cell(report, "%s", settings_value(settings, "server %s smime enabled", name) != NULL ? "on" : "off");
	values_cell(report, settings, certificates);
	listeners_cell(report, settings, name, "smtp");
	values_cell(report, settings, networks);
	effective_cell(report, settings, name, "smtp auth");
	listeners_cell(report, settings, name, "api");
	names_cell(report, settings, name, "user");
	names_cell(report, settings, name, "next-hop");
	effective_cell(report, settings, name, "smime unsigned-sender");
	effective_cell(report, settings, name, "smime unsignable");
	excluded_cell(report, settings, name);
	names_cell(report, settings, name, "intelligent-bcc");
	names_cell(report, settings, name, "webhook");
	effective_cell(report, settings, name, "smtp max-message-size");
	effective_cell(report, settings, name, "queue lifetime");
	sessions_cell(report, console, name);
	free(networks);
	free(certificates);
}

bool show_server(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct report report = report_of(REPORT_RECORDS, columns, sizeof columns / sizeof *columns);
	const char *wanted = parsed->n_typed > 0 ? parsed->typed[0] : NULL;
	struct revision running;
	size_t count;
	char **names;

	if (!store_revision(console->store, 0, &running, err))
		return false;
	names = settings_names(&running.settings, &count, "server");
	for (size_t i = 0; i < count; i++)
		if (wanted == NULL || strcmp(wanted, names[i]) == 0)
			add_server(&report, console, &running.settings, names[i]);
	path_words_free(names);
	revision_clear(&running);
	if (wanted != NULL && report.n_cells == 0) {
		report_clear(&report);
		return err_set(err, ERR_NOT_FOUND, "no server %s is in the running configuration", wanted);
	}
	console_show(console, &report);
	report_clear(&report);
	return true;
}
