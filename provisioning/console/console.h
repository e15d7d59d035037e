/* What a login at the console has: who, where, the database, the configuration that is being edited, the way out. */
#ifndef INKAN_CONSOLE_CONSOLE_H
#define INKAN_CONSOLE_CONSOLE_H

#include <stdio.h>

#include "provisioning/console/grammar.h"
#include "provisioning/console/pager.h"
#include "provisioning/console/report.h"
#include "provisioning/store/store.h"

struct console {
	char *state; /* the state directory */
	struct store *store;
	char *account;
	enum account_role role;
	char *origin; /* for the audit: terminal or address */
	bool interactive; /* a person at a terminal */
	bool configuring; /* configuration mode */
	bool ended; /* exit in operational mode */
	bool committed; /* something, in this login: a checkpoint of the audit is due */
	FILE *out; /* data */
	FILE *messages; /* everything else */
	struct pager pager; /* of a person */
	const struct filters *filters; /* of the line that runs */
	const struct approval *approval; /* whose command runs (two_person.h); NULL: none */
	bool waits; /* the command of the line waits for an approval */
	const char *approver; /* who has approved it */
	char *audit_text; /* of the line that runs: what the audit row will say, secrets replaced */
};

enum command_mode {
	MODE_OPERATIONAL = 1,
	MODE_CONFIGURATION = 2,
	MODE_SCRIPT = 4 /* in a script also without `configure` */
};

#define ROLES_ALL (ROLE_ADMINISTRATOR | ROLE_OPERATOR | ROLE_AUDITOR)
#define ROLES_OPERATING (ROLE_ADMINISTRATOR | ROLE_OPERATOR)

typedef bool command_run(struct console *console, const struct parsed *parsed, struct err *err);

struct command {
	const char *form;
	unsigned modes; /* of enum command_mode */
	unsigned roles; /* of enum account_role: who may */
	bool changes; /* leaves an audit row, done or refused */
	command_run *run;
	const char *help;
};

extern const struct command commands[];
extern const size_t n_commands;

/* The rest of a `set`, `delete` or `show` line is a sentence of the settings table. `partial` accepts beginnings. */
struct sentences settings_sentences(bool partial);

/* The sentences of the commands that can be typed now; *indexes says which command each is. Both are free()d. */
struct sentences command_sentences(const struct console *console, size_t **indexes);

/* The command (a view) whose rest is settings: "set", "delete", "show"; else false. */
bool command_takes_settings(const struct command *command, bool *partial);

/*
 * Runs one line. On failure *column and *width are the place in the line (width 0: none), and the exit code of a script
 * is EXIT_USAGE when the line could not be understood, else EXIT_ERROR.
 */
enum { EXIT_OK = 0, EXIT_ERROR = 1, EXIT_USAGE = 2 };
struct fault {
	int exit_code;
	size_t column, width;
	struct err err;
};
bool console_run_line(struct console *console, const char *text, struct fault *fault) MUST_USE;

/* The fault as the operator sees it: the line, a mark below the place, the text. `where` is "FILE:LINE: " or "". */
void fault_print(const struct fault *fault, const char *line, const char *where, FILE *to);

/* A message for the person, on its own line. */
void console_say(struct console *console, const char *format, ...) PRINTF_LIKE(2, 3);

/* Writes a report to `out`, through the filters of the line. */
void console_show(struct console *console, const struct report *report);

/* One audit row by this login. `result` is "ok" or why not. */
bool console_audit(struct console *console, const char *what, const char *result, struct err *err) MUST_USE;

/* "2027-11-24" and "2027-11-24 13:06:09" (UTC) */
#define CONSOLE_TIME_BYTES 32
void console_date(char out[static CONSOLE_TIME_BYTES], int64_t wall_seconds);
void console_time(char out[static CONSOLE_TIME_BYTES], int64_t wall_ms);

#endif
