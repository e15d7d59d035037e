#include <stdlib.h>

#include "provisioning/console/commands.h"

#define ROWS_SHOWN 50

bool show_audit(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"ROW", "row", true},	{"TIME (UTC)", "time", false},
						       {"WHO", "who", false},	{"FROM", "from", false},
						       {"WHAT", "what", false}, {"RESULT", "result", false}};
	struct report report = report_of(REPORT_TABLE, columns, 6);
	size_t most = parsed->n_typed == 0 ? ROWS_SHOWN : strtoul(parsed->typed[0], NULL, 10);
	struct audit_entries entries;

	if (!store_audit_list(console->store, most, &entries, err))
		return false;
	for (size_t i = 0; i < entries.count; i++) {
		const struct audit_entry *entry = &entries.items[i];
		char time[CONSOLE_TIME_BYTES];

		console_time(time, entry->time_ms);
		report_cell(&report, "%llu", (unsigned long long)entry->number);
		report_cell(&report, "%s", time);
		report_cell(&report, "%s", entry->who);
		report_cell(&report, "%s", entry->from);
		report_cell(&report, "%s", entry->what);
		report_cell(&report, "%s", entry->result);
	}
	console_show(console, &report);
	audit_entries_clear(&entries);
	report_clear(&report);
	return store_audit_verify(console->store, err);
}
