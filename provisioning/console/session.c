/* One line from its text to its audit row. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "provisioning/console/checkpoint.h"
#include "provisioning/console/columns.h"
#include "provisioning/console/commands.h"
#include "provisioning/console/two_person.h"
#include "provisioning/store/words.h"

/* ---- the way out ---- */

void console_say(struct console *console, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(console->messages, format, args);
	va_end(args);
	fputc('\n', console->messages);
	fflush(console->messages);
}

void console_show(struct console *console, const struct report *report)
{
	static const struct filters none = {0};
	struct buf out = {0};

	filters_apply(console->filters != NULL ? console->filters : &none, report, &out);
	if (console->interactive && (console->filters == NULL || !console->filters->no_more))
		pager_show(&console->pager, buf_bytes(&out), console->out);
	else if (out.len > 0)
		fwrite(out.data, 1, out.len, console->out);
	fflush(console->out);
	buf_clear(&out);
}

static void format_time(char *out, const char *format, int64_t wall_seconds)
{
	time_t seconds = (time_t)wall_seconds;
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL || strftime(out, CONSOLE_TIME_BYTES, format, &tm) == 0)
		out[0] = '\0';
}

void console_date(char out[static CONSOLE_TIME_BYTES], int64_t wall_seconds)
{
	format_time(out, "%Y-%m-%d", wall_seconds);
}

void console_time(char out[static CONSOLE_TIME_BYTES], int64_t wall_ms)
{
	format_time(out, "%Y-%m-%d %H:%M:%S", wall_ms / 1000);
}

bool console_audit(struct console *console, const char *what, const char *result, struct err *err)
{
	const struct audit_entry entry = {
	    .who = console->account != NULL ? console->account : (char *)"",
	    .from = console->origin,
	    .what = (char *)what,
	    .result = (char *)result,
	};

	return store_audit_add(console->store, &entry, err);
}

/*
 * Of a line that was not understood the words before the place count, which the grammar knows; from there on it may be anything,
 * a password at the wrong prompt too, so that is left out.
 */
static void audit_refusal(struct console *console, const struct line *line, struct fault *fault)
{
	struct buf what = {0};
	struct err err;
	size_t known = 0;
	char *result;

	for (; known < line->count && line->words[known].column + line->words[known].width <= fault->column; known++) {
		if (known > 0)
			buf_put_byte(&what, ' ');
		word_put(&what, line->words[known].text);
	}
	buf_put_text(&what, known == 0 ? "[...]" : " [...]");
	result = mem_format("not understood from word %zu on", known + 1);
	if (!console_audit(console, buf_text(&what), result, &err))
		console_say(console, "warning: the audit row could not be written (%s)", err.text);
	free(result);
	buf_clear(&what);
}

static void put_mark(const struct fault *fault, const char *line, FILE *to)
{
	size_t len = strlen(line), column = fault->column < len ? fault->column : len;
	size_t width = text_columns(bytes_slice(bytes_text(line), column, column + fault->width));

	for (size_t i = 0; i < column;) {
		size_t next = i + 1;

		while (next < column && ((unsigned char)line[next] & 0xc0) == 0x80)
			next++;
		if (line[i] == '\t')
			fputc('\t', to);
		else
			fprintf(to, "%*s", (int)text_columns(bytes_slice(bytes_text(line), i, next)), "");
		i = next;
	}
	for (size_t i = column; i < fault->column; i++)
		fputc(' ', to);
	for (size_t i = 0; i < (width > 0 ? width : 1); i++)
		fputc('^', to);
	fputc('\n', to);
}

void fault_print(const struct fault *fault, const char *line, const char *where, FILE *to)
{
	if (fault->width > 0) {
		fprintf(to, "%s\n", line);
		put_mark(fault, line, to);
	}
	fprintf(to, "%serror: %s\n", where, fault->err.text);
	fflush(to);
}

/* ---- a line ---- */

static bool misunderstood(struct fault *fault, const struct line *line, size_t at)
{
	fault->exit_code = EXIT_USAGE;
	if (at < line->count) {
		fault->column = line->words[at].column;
		fault->width = line->words[at].width;
	} else {
		fault->column = strlen(line->text) + 1;
		fault->width = 1;
	}
	return false;
}

/* Of the words from `first` on: the part of words[at] that is wrong, where its text stands in the line as it is. */
static bool misunderstood_word(struct fault *fault, const struct sentences *sentences, const struct line *line, size_t first,
			       size_t at)
{
	const struct line_word *word = &line->words[first + at];
	size_t from, len;

	misunderstood(fault, line, first + at);
	if (first + at >= line->count || word->quoted || strlen(word->text) != word->width)
		return false;
	grammar_place(sentences, line->words + first, at, &from, &len);
	fault->column += from;
	fault->width = len;
	return false;
}

static size_t words_before_pipe(const struct line *line)
{
	size_t count = 0;

	while (count < line->count && !line_word_is_pipe(&line->words[count]))
		count++;
	return count;
}

static char *join_words(char **words)
{
	struct buf text = {0};
	char *joined;

	for (; *words != NULL; words++) {
		if (text.len > 0)
			buf_put_byte(&text, ' ');
		word_put(&text, *words);
	}
	joined = mem_string(buf_text(&text));
	buf_clear(&text);
	return joined;
}

static char *audit_words(struct console *console, const struct command *command, const struct parsed *parsed)
{
	if (command->run == account_password && account_password_names_nobody(console, parsed))
		return mem_string("account password [no account]");
	return join_words(parsed->words);
}

static bool run_allowed(struct console *console, const struct command *command, const struct parsed *parsed, struct err *err)
{
	if ((command->roles & console->role) == 0)
		return err_set(err, ERR_DENIED, "the role %s may not do this", account_role_name(console->role));
	if (console->filters != NULL && console->filters->compare && command->run != show_candidate &&
	    command->run != show_running && command->run != run_operational)
		return err_set(err, ERR_INVALID, "compare is for show (while configuring) and show configuration");
	return command->run(console, parsed, err);
}

static bool begin_change(struct console *console, struct err *err)
{
	const struct audit_entry entry = {.who = console->account, .from = console->origin, .what = console->audit_text};

	return store_audit_begin(console->store, &entry, err) ||
	       err_prefix(err, "not done, since its audit row could not be written");
}

static bool end_change(struct console *console, bool done, struct err *err)
{
	const struct audit_entry entry = {.who = console->account,
					  .from = console->origin,
					  .what = console->audit_text,
					  .result = done ? (char *)"ok" : err->text};
	struct err audit_err;

	if (store_audit_end(console->store, &entry, &audit_err))
		return done;
	if (done)
		*err = audit_err;
	return err_prefix(err, done ? "done, but its audit row waits until it can be written"
				    : "not done, and its audit row waits until it can be written");
}

static bool run_command(struct console *console, const struct command *command, const struct parsed *parsed, struct err *err)
{
	char *outer = console->audit_text; /* of a command that runs this one */
	bool done;

	console->audit_text = audit_words(console, command, parsed);
	console->waits = false;
	if (!command->changes) {
		done = run_allowed(console, command, parsed, err);
	} else {
		done = begin_change(console, err);
		if (done)
			done = end_change(console, run_allowed(console, command, parsed, err), err);
		if (console->interactive && console->committed) {
			console->committed = false;
			(void)!checkpoint_make(console, NULL); /* or at the end of the login */
		}
	}
	free(console->audit_text);
	console->audit_text = outer;
	return done;
}

/* Words of settings are checked here, so that an error points at its place; the command parses them again. */
static bool check_settings(const struct command *command, const struct line *line, size_t count, struct fault *fault)
{
	struct parsed parsed;
	struct sentences sentences;
	bool partial;
	size_t at;

	if (!command_takes_settings(command, &partial) || count < 2)
		return true;
	sentences = settings_sentences(partial);
	if (!grammar_parse(&sentences, line->words + 1, count - 1, &parsed, &at, &fault->err))
		return misunderstood_word(fault, &sentences, line, 1, at);
	parsed_clear(&parsed);
	return true;
}

static bool parse_line(struct console *console, const struct line *line, size_t count, struct parsed *parsed,
		       const struct command **command, struct fault *fault)
{
	size_t *indexes, at;
	struct sentences sentences = command_sentences(console, &indexes);
	bool fine = grammar_parse(&sentences, line->words, count, parsed, &at, &fault->err);

	if (fine)
		*command = &commands[indexes[parsed->sentence]];
	else
		misunderstood_word(fault, &sentences, line, 0, at);
	free((void *)sentences.items);
	free(indexes);
	return fine;
}

static bool run_words(struct console *console, const struct line *line, size_t count, struct fault *fault)
{
	const struct command *command = NULL;
	struct parsed parsed;
	bool done;

	if (!parse_line(console, line, count, &parsed, &command, fault))
		return false;
	done = check_settings(command, line, count, fault);
	if (done) {
		done = run_command(console, command, &parsed, &fault->err);
		fault->exit_code = done ? EXIT_OK : EXIT_ERROR;
	}
	parsed_clear(&parsed);
	return done;
}

static bool parse_filters(const struct line *line, size_t pipe, struct filters *filters, struct fault *fault)
{
	size_t at;

	if (pipe == line->count || filters_parse(filters, line->words + pipe + 1, line->count - pipe - 1, &at, &fault->err))
		return true;
	return misunderstood(fault, line, pipe + 1 + at);
}

static bool run_split(struct console *console, const struct line *line, struct fault *fault)
{
	size_t count = words_before_pipe(line);
	struct filters filters = {0};
	bool done;

	if (!parse_filters(line, count, &filters, fault)) {
		audit_refusal(console, line, fault);
		return false;
	}
	console->filters = &filters;
	done = run_words(console, line, count, fault);
	if (!done && fault->exit_code == EXIT_USAGE)
		audit_refusal(console, line, fault);
	console->filters = NULL;
	filters_clear(&filters);
	return done;
}

bool console_run_line(struct console *console, const char *text, struct fault *fault)
{
	const char *first = text + strspn(text, " \t");
	struct line line;
	bool done;

	*fault = (struct fault){0};
	pager_begin(&console->pager);
	if (*first == '\0' || *first == '#')
		return true;
	if (!line_split(&line, text, &fault->column, &fault->err)) {
		fault->exit_code = EXIT_USAGE;
		fault->width = 1;
		audit_refusal(console, &(struct line){0}, fault);
		return false;
	}
	done = run_split(console, &line, fault);
	line_clear(&line);
	return done;
}

static bool run_as_asked(struct console *console, const struct line *line, struct err *err)
{
	const struct command *command;
	struct parsed parsed;
	struct fault fault = {0};
	bool done;

	if (!parse_line(console, line, line->count, &parsed, &command, &fault)) {
		*err = fault.err;
		return false;
	}
	done = run_allowed(console, command, &parsed, err);
	parsed_clear(&parsed);
	return done;
}

/* The role that the account has now. */
static bool find_role(struct console *console, const char *account, enum account_role *role, struct err *err)
{
	struct accounts accounts;
	bool found = false;

	if (!store_accounts(console->store, &accounts, err))
		return false;
	for (size_t i = 0; i < accounts.count && !found; i++) {
		found = strcmp(accounts.items[i].name, account) == 0;
		*role = accounts.items[i].role;
	}
	accounts_clear(&accounts);
	return found || err_set(err, ERR_NOT_FOUND, "the account %s, which asked for it, is gone", account);
}

bool console_run_approved(struct console *console, const struct approval *approval, struct err *err)
{
	struct console before = *console;
	struct line line;
	size_t column;
	bool done;

	if (!find_role(console, approval->by, &console->role, err)) {
		console->role = before.role;
		return false;
	}
	done = line_split(&line, approval->what, &column, err);
	if (done) {
		console->account = approval->by;
		console->configuring = true;
		console->approval = approval;
		console->approver = before.account;
		done = run_as_asked(console, &line, err);
		line_clear(&line);
	}
	console->account = before.account;
	console->role = before.role;
	console->configuring = before.configuring;
	console->approval = NULL;
	console->approver = NULL;
	return done;
}

/* ---- commands about commands ---- */

bool run_operational(struct console *console, const struct parsed *parsed, struct err *err)
{
	const struct filters *filters = console->filters;
	char *text = join_words(parsed->words + 1), *audit_text = console->audit_text;
	struct line line;
	struct fault fault = {0};
	size_t column;
	bool done = line_split(&line, text, &column, err);

	if (done) {
		console->configuring = false;
		done = run_words(console, &line, line.count, &fault);
		console->configuring = true;
		if (!done && fault.exit_code == EXIT_USAGE)
			audit_refusal(console, &line, &fault);
		if (!done)
			*err = fault.err;
		line_clear(&line);
	}
	console->filters = filters;
	console->audit_text = audit_text;
	free(text);
	return done;
}

/* "operational configuration", for machines. */
struct named_bit {
	unsigned bit;
	const char *name;
};

static const struct named_bit mode_names[] = {
    {MODE_OPERATIONAL, "operational"}, {MODE_CONFIGURATION, "configuration"}, {MODE_SCRIPT, "script"}};
static const struct named_bit role_names[] = {
    {ROLE_ADMINISTRATOR, "administrator"}, {ROLE_OPERATOR, "operator"}, {ROLE_AUDITOR, "auditor"}};

static void put_bits(struct report *report, unsigned bits, const struct named_bit names[static 3])
{
	struct buf text = {0};

	for (size_t i = 0; i < 3; i++) {
		if ((bits & names[i].bit) != 0)
			buf_printf(&text, "%s%s", text.len == 0 ? "" : " ", names[i].name);
	}
	report_cell(report, "%s", buf_text(&text));
	buf_clear(&text);
}

bool help(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"Command", "command", false},
						       {"Help", "help", false},
						       {"Modes", "modes", false},
						       {"Roles", "roles", false},
						       {"Changes", "changes", true}};
	struct report report = report_of(REPORT_NOTES, columns, sizeof columns / sizeof *columns);
	size_t *indexes;
	struct sentences sentences = command_sentences(console, &indexes);

	(void)parsed;
	(void)err;
	for (size_t i = 0; i < sentences.count; i++) {
		report_cell(&report, "%s", sentences.items[i].form);
		report_cell(&report, "%s", sentences.items[i].help);
		put_bits(&report, commands[indexes[i]].modes, mode_names);
		put_bits(&report, commands[indexes[i]].roles, role_names);
		report_cell(&report, "%d", commands[indexes[i]].changes);
	}
	console_show(console, &report);
	report_clear(&report);
	free((void *)sentences.items);
	free(indexes);
	return true;
}
