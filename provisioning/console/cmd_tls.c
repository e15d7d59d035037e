/* show tls, and what a commit and a login say of certificates. */
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/relay_client.h"

#define DAY_MS INT64_C(86400000)

static bool ask_rows(struct console *console, enum query_kind kind, uint32_t n_columns, relay_row *each, void *arg,
		     struct err *err)
{
	struct query query = {.kind = kind, .cursor = mem_string("")};
	struct relay_client client;
	bool fine = relay_open(&client, console->state, err);

	if (fine) {
		fine = relay_ask_all(&client, &query, n_columns, 0, each, arg, NULL, err);
		relay_close(&client);
	}
	query_clear(&query);
	return fine;
}

/* ---- show tls ---- */

static const struct {
	const char *state, *text;
} states[] = {{"signs", "signs"}, {"no-pss", "signs, TLS 1.2 alone"}, {"fails", "DOES NOT SIGN"}, {"untried", "not tried yet"}};

static const char *state_text(const char *state)
{
	for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
		if (strcmp(states[i].state, state) == 0)
			return states[i].text;
	}
	return state;
}

static bool add_certificate(char *const *cells, void *arg)
{
	struct report *report = arg;
	char until[CONSOLE_TIME_BYTES];

	console_date(until, strtoll(cells[QUERY_TLS_NOT_AFTER], NULL, 10) / 1000);
	report_cell(report, "%s", cells[QUERY_TLS_SERVER]);
	report_cell(report, "%s", cells[QUERY_TLS_LISTENER]);
	report_cell(report, "%s", cells[QUERY_TLS_MODE]);
	report_cell(report, "%s", cells[QUERY_TLS_CERTIFICATE]);
	report_cell(report, "%s", cells[QUERY_TLS_KEY]);
	report_cell(report, "%s", until);
	report_cell(report, "%s%s%s", state_text(cells[QUERY_TLS_STATE]), cells[QUERY_TLS_WHY][0] != '\0' ? ": " : "",
		    cells[QUERY_TLS_WHY]);
	return true;
}

bool show_tls(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"SERVER", "server", false},	{"LISTENER", "listener", false},
						       {"TLS", "tls", false},		{"CERTIFICATE", "certificate", false},
						       {"KEY", "key", false},		{"VALID UNTIL", "not_after", false},
						       {"ON THE TOKEN", "state", false}};
	struct report report = report_of(REPORT_TABLE, columns, sizeof columns / sizeof *columns);
	bool fine = ask_rows(console, QUERY_TLS, QUERY_TLS_COLUMNS, add_certificate, &report, err);

	(void)parsed;
	if (fine)
		console_show(console, &report);
	report_clear(&report);
	return fine;
}

static bool add_totals(char *const *cells, void *arg)
{
	for (size_t i = 0; i < QUERY_TLS_TOTALS_COLUMNS; i++)
		report_cell(arg, "%s", cells[i]);
	return true;
}

bool show_tls_counters(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[QUERY_TLS_TOTALS_COLUMNS] = {
	    [QUERY_TLS_CONNECTIONS] = {"Connections", "connections", true},
	    [QUERY_TLS_HANDSHAKES] = {"In a handshake", "handshakes", true},
	    [QUERY_TLS_WAITING] = {"Waiting for the token", "waiting", true},
	    [QUERY_TLS_DONE] = {"Handshakes done", "done_total", true},
	    [QUERY_TLS_RESUMED] = {"Of them resumed", "resumed_total", true},
	    [QUERY_TLS_FAILED] = {"Failed", "failed_total", true},
	    [QUERY_TLS_LATE] = {"Not done in time", "late_total", true},
	    [QUERY_TLS_UNSIGNED] = {"Not signed", "unsigned_total", true},
	    [QUERY_TLS_REFUSED] = {"Beyond the limits", "refused_total", true},
	    [QUERY_TLS_CANCELLED] = {"Left by the client", "cancelled_total", true}};
	struct report report = report_of(REPORT_RECORDS, columns, QUERY_TLS_TOTALS_COLUMNS);
	bool fine = ask_rows(console, QUERY_TLS_TOTALS, QUERY_TLS_TOTALS_COLUMNS, add_totals, &report, err);

	(void)parsed;
	if (fine)
		console_show(console, &report);
	report_clear(&report);
	return fine;
}

/* ---- warnings ---- */

static void warn_of_end(struct console *console, const char *name, int64_t not_after_ms)
{
	int64_t left_ms = not_after_ms - clock_wall_ms();
	char until[CONSOLE_TIME_BYTES];

	console_date(until, not_after_ms / 1000);
	if (left_ms < 0)
		console_say(console, "warning: the certificate of %s has expired on %s", name, until);
	else if (left_ms <= CERTIFICATE_EXPIRING_DAYS * DAY_MS)
		console_say(console, "warning: the certificate of %s expires on %s, in %lld days", name, until,
			    (long long)(left_ms / DAY_MS));
}

static void warn_of_key(struct console *console, const char *name, const char *state, const char *why)
{
	if (strcmp(state, "untried") == 0)
		console_say(console, "warning: the key of the TLS certificate %s was not tried: %s", name,
			    why[0] != '\0' ? why : "see show tls");
	else if (strcmp(state, "no-pss") == 0)
		console_say(
		    console,
		    "warning: the token does no RSASSA-PSS: with the RSA key of %s clients get TLS 1.2 alone; use a P-256 key",
		    name);
	else if (strcmp(state, "fails") == 0)
		console_say(console, "warning: the token does not sign with the key of the TLS certificate %s: %s", name, why);
}

struct told {
	struct console *console;
	struct settings names; /* of certificates that have been judged */
};

static bool warn_once(char *const *cells, void *arg)
{
	struct told *told = arg;
	const char *name = cells[QUERY_TLS_CERTIFICATE];

	if (settings_value(&told->names, "%s", name) != NULL)
		return true;
	settings_add(&told->names, name, "");
	warn_of_end(told->console, name, strtoll(cells[QUERY_TLS_NOT_AFTER], NULL, 10));
	warn_of_key(told->console, name, cells[QUERY_TLS_STATE], cells[QUERY_TLS_WHY]);
	return true;
}

static bool any_listener_with_certificate(const struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++) {
		const char *path = settings->items[i].path, *last = strrchr(path, ' ');

		if (last != NULL && strcmp(last, " certificate") == 0 && strstr(path, " listen ") != NULL)
			return true;
	}
	return false;
}

void tls_warn(struct console *console, const struct settings *settings)
{
	struct told told = {.console = console};
	struct err err;

	if (!any_listener_with_certificate(settings))
		return;
	if (!ask_rows(console, QUERY_TLS, QUERY_TLS_COLUMNS, warn_once, &told, &err))
		console_say(console, "warning: the TLS keys were not tried: %s", err.text);
	settings_clear(&told.names);
}

static void warn_of_choices(struct console *console, const struct stored_certificates *certificates,
			    const struct revision *running)
{
	for (size_t i = 0; i < certificates->count; i++) {
		const struct certificate *certificate = &certificates->items[i].certificate;
		const uint64_t *chosen = certificate_choices_find(&running->choices, certificate->address);

		if (chosen != NULL && *chosen == certificate->id)
			warn_of_end(console, certificate->address, certificate->not_after * 1000);
	}
}

void certificates_warn(struct console *console)
{
	struct stored_certificates certificates;
	struct revision running;
	struct err err;

	if (!store_revision(console->store, 0, &running, &err))
		return;
	if (store_certificates(console->store, NULL, &certificates, &err)) {
		warn_of_choices(console, &certificates, &running);
		stored_certificates_clear(&certificates);
	}
	revision_clear(&running);
}
