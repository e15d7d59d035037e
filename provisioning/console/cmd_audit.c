#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"

#define ROWS_SHOWN 50

static void add_entry(struct report *report, const struct audit_entry *entry)
{
	bool done = strcmp(entry->result, "ok") == 0;
	char time[CONSOLE_TIME_BYTES];

	console_time(time, entry->time_ms);
	report_cell(report, "%llu %s %s %s: %s%s%s", (unsigned long long)entry->number, time, entry->who, entry->from,
		    entry->what, done ? "" : " - REFUSED: ", done ? "" : entry->result);
	report_cell(report, "%llu", (unsigned long long)entry->number);
	report_cell(report, "%s", time);
	report_cell(report, "%s", entry->who);
	report_cell(report, "%s", entry->from);
	report_cell(report, "%s", entry->what);
	report_cell(report, "%s", entry->result);
}

bool show_audit(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {
	    {"", NULL, false},	     {"ROW", "row", true},    {"TIME (UTC)", "time", false}, {"WHO", "who", false},
	    {"FROM", "from", false}, {"WHAT", "what", false}, {"RESULT", "result", false},
	};
	struct report report = report_of(REPORT_LINES, columns, sizeof columns / sizeof *columns);
	size_t most = parsed->n_typed == 0 ? ROWS_SHOWN : strtoul(parsed->typed[0], NULL, 10);
	struct audit_entries entries;

	if (!store_audit_list(console->store, most, &entries, err))
		return false;
	for (size_t i = 0; i < entries.count; i++)
		add_entry(&report, &entries.items[i]);
	console_show(console, &report);
	audit_entries_clear(&entries);
	report_clear(&report);
	return store_audit_verify(console->store, err);
}
