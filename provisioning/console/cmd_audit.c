#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "appliance/base/clock.h"
#include "provisioning/console/commands.h"
#include "provisioning/store/form.h"

#define ROWS_SHOWN 50

/* A commit has its changes on further lines: the list shows the first, `row N` and JSON show all. */
static char *first_line(const char *what)
{
	const char *end = strchr(what, '\n');
	size_t more = 0;

	if (end == NULL)
		return mem_string(what);
	for (const char *at = end; at != NULL; at = strchr(at + 1, '\n'))
		more++;
	return mem_format("%.*s (%zu more line%s)", (int)(end - what), what, more, more == 1 ? "" : "s");
}

static void add_entry(struct report *report, const struct audit_entry *entry, bool whole)
{
	bool done = strcmp(entry->result, "ok") == 0;
	char time[CONSOLE_TIME_BYTES], *what = whole ? mem_string(entry->what) : first_line(entry->what);

	console_time(time, entry->time_ms);
	report_cell(report, "%llu %s %s%s%s: %s%s%s", (unsigned long long)entry->number, time, entry->who,
		    entry->who[0] == '\0' ? "" : " ", entry->from, what, done ? "" : " - REFUSED: ", done ? "" : entry->result);
	report_cell(report, "%llu", (unsigned long long)entry->number);
	report_cell(report, "%s", time);
	report_cell(report, "%s", entry->who);
	report_cell(report, "%s", entry->from);
	report_cell(report, "%s", entry->what);
	report_cell(report, "%s", entry->result);
	free(what);
}

static void show_entries(struct console *console, const struct audit_entries *entries, bool whole)
{
	static const struct report_column columns[] = {
	    {"", NULL, false},	     {"ROW", "row", true},    {"TIME (UTC)", "time", false}, {"WHO", "who", false},
	    {"FROM", "from", false}, {"WHAT", "what", false}, {"RESULT", "result", false},
	};
	struct report report = report_of(REPORT_LINES, columns, sizeof columns / sizeof *columns);

	for (size_t i = 0; i < entries->count; i++)
		add_entry(&report, &entries->items[i], whole);
	console_show(console, &report);
	report_clear(&report);
}

/* ---- which rows ---- */

struct wanted {
	struct audit_choice choice;
	size_t most;
};

static bool read_number(const char *text, size_t *number, struct err *err)
{
	char *end;

	*number = strtoul(text, &end, 10);
	return (*text >= '0' && *text <= '9' && *end == '\0') || err_set(err, ERR_INVALID, "\"%s\" is not a number", text);
}

/* "2026-11-24", "2026-11-24T13:05" or "2026-11-24T13:05:09", UTC; or how long ago: "2h". */
static bool read_moment(const char *text, int64_t *moment_ms, struct err *err)
{
	static const char *const forms[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
	int64_t ago = setting_parse_duration_ms(text);

	if (ago >= 0) {
		*moment_ms = clock_wall_ms() - ago;
		return true;
	}
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		struct tm tm = {0};
		const char *end = strptime(text, forms[i], &tm);

		if (end != NULL && *end == '\0') {
			*moment_ms = (int64_t)timegm(&tm) * 1000;
			return true;
		}
	}
	return err_set(err, ERR_INVALID, "\"%s\" is no moment: 2026-11-24, 2026-11-24T13:05, or a time ago as 2h", text);
}

static bool read_pair(struct wanted *wanted, const char *name, const char *value, struct err *err)
{
	size_t number = 0;

	if (strcmp(name, "who") == 0) {
		wanted->choice.who = value;
		return true;
	}
	if (strcmp(name, "what") == 0) {
		wanted->choice.text = value;
		return true;
	}
	if (strcmp(name, "since") == 0)
		return read_moment(value, &wanted->choice.since_ms, err);
	if (strcmp(name, "until") == 0)
		return read_moment(value, &wanted->choice.until_ms, err);
	if (strcmp(name, "last") == 0)
		return read_number(value, &wanted->most, err);
	if (strcmp(name, "row") != 0)
		return err_set(
		    err, ERR_INVALID,
		    "\"%s\" is no filter; they are: last N, row N, who ACCOUNT, what TEXT, since TIME, until TIME, failed", name);
	if (!read_number(value, &number, err))
		return false;
	wanted->choice.number = number;
	return true;
}

/* `N`, or pairs, and `failed` alone. */
static bool read_wanted(const struct parsed *parsed, struct wanted *wanted, struct err *err)
{
	*wanted = (struct wanted){.most = ROWS_SHOWN};
	if (parsed->n_typed == 1 && strcmp(parsed->typed[0], "failed") != 0)
		return read_number(parsed->typed[0], &wanted->most, err);
	for (size_t i = 0; i < parsed->n_typed; i++) {
		if (strcmp(parsed->typed[i], "failed") == 0) {
			wanted->choice.failed = true;
			continue;
		}
		if (i + 1 == parsed->n_typed)
			return err_set(err, ERR_INVALID, "something is missing behind \"%s\"", parsed->typed[i]);
		if (!read_pair(wanted, parsed->typed[i], parsed->typed[i + 1], err))
			return false;
		i++;
	}
	return true;
}

bool show_audit(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct audit_entries entries;
	struct wanted wanted;

	if (!read_wanted(parsed, &wanted, err) || !store_audit_read_up(console->store, err) ||
	    !store_audit_find(console->store, &wanted.choice, wanted.most, &entries, err))
		return false;
	show_entries(console, &entries, wanted.choice.number != 0);
	audit_entries_clear(&entries);
	return store_audit_verify(console->store, err);
}
