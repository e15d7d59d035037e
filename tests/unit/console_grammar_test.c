/* The grammar: abbreviations, typed words, errors with their place, lists; the tables of commands and settings through it. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/console.h"
#include "provisioning/console/editor.h"
#include "tests/unit/test.h"

static struct err err;

static const struct sentence examples[] = {
    {"show certificates [detail]", NULL, "Show certificates"},
    {"show configuration", NULL, "Show the configuration"},
    {"show log audit [<rows:number>]", NULL, "Show the log"},
    {"certificate import <address:mail-address> <file>", NULL, "Import"},
    {"certificate delete <address:mail-address> [previous]", NULL, "Delete"},
    {"account add <name> role administrator|operator|auditor", NULL, "Add"},
    {"commit", NULL, "Commit"},
    {"commit comment <text...>", NULL, "Commit with a comment"},
    {"configure", NULL, "Configure"},
};
static const struct sentences example_grammar = {examples, sizeof examples / sizeof *examples, false};

static void join(const struct parsed *parsed, struct buf *out)
{
	for (size_t i = 0; i < parsed->count; i++)
		buf_printf(out, "%s%s", i == 0 ? "" : " ", parsed->words[i]);
}

/* Parses a line; *canonical gets the full words, or stays empty when it does not parse. */
static bool parse(const struct sentences *sentences, const char *text, struct buf *canonical, size_t *at, size_t *n_typed)
{
	struct parsed parsed;
	struct line line;
	size_t column;
	bool fine;

	if (!CHECK_OK(line_split(&line, text, &column, &err), &err))
		return false;
	fine = grammar_parse(sentences, line.words, line.count, &parsed, at, &err);
	if (fine) {
		join(&parsed, canonical);
		*n_typed = parsed.n_typed;
		parsed_clear(&parsed);
	}
	line_clear(&line);
	return fine;
}

static void lines_become_sentences_or_errors_with_a_place(void)
{
	static const struct {
		const char *text;
		const char *canonical; /* NULL: an error */
		size_t n_typed; /* or the word that the error is about */
		const char *error;
	} cases[] = {
	    {"show certificates", "show certificates", 0, NULL},
	    {"sh ce", "show certificates", 0, NULL},
	    {"show certificates det", "show certificates detail", 0, NULL},
	    {"sh l a", "show log audit", 0, NULL},
	    {"sh l a 20", "show log audit 20", 1, NULL},
	    {"cer imp a@b.jp /x.p12", "certificate import a@b.jp /x.p12", 2, NULL},
	    {"cer del a@b.jp prev", "certificate delete a@b.jp previous", 1, NULL},
	    {"commit", "commit", 0, NULL},
	    {"com com first  one", "commit comment first one", 2, NULL},
	    {"com com \"first  one\"", "commit comment first  one", 1, NULL},
	    {"acc add bob role op", "account add bob role operator", 1, NULL},
	    {"conf", "configure", 0, NULL},

	    {"show c", NULL, 1, "\"c\" may be certificates, configuration"},
	    {"co", NULL, 0, "\"co\" may be commit, configure"},
	    {"show cx", NULL, 1, "\"cx\" is not known here; expected: certificates, configuration, log"},
	    {"\"sh\" ce", NULL, 0, "\"sh\" is not known here"},
	    {"show", NULL, 1, "something is missing; expected: certificates, configuration, log"},
	    {"certificate import a@b.jp", NULL, 3, "something is missing; expected: <file>"},
	    {"certificate import nobody /x", NULL, 2, "\"nobody\" is not a mail address"},
	    {"certificate delete a@b.jp next", NULL, 3, "\"next\" is not known here; expected: previous"},
	    {"show log audit x", NULL, 3, "\"x\" is not a number"},
	    {"configure now", NULL, 1, "nothing more is expected here"},
	    {"commit comment", NULL, 2, "something is missing; expected: <text>"},
	    {"account add bob role king", NULL, 4, "expected: administrator, operator, auditor"},
	    {"account add b/b role operator", NULL, 2, "is no name"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf canonical = {0};
		size_t at = 99, n_typed = 99;
		bool fine;

		test_case("%s", cases[i].text);
		fine = parse(&example_grammar, cases[i].text, &canonical, &at, &n_typed);
		if (!CHECK(fine == (cases[i].canonical != NULL)))
			continue;
		if (fine) {
			CHECK_TEXT(buf_text(&canonical), cases[i].canonical);
			CHECK_INT(n_typed, cases[i].n_typed);
		} else {
			CHECK_INT(at, cases[i].n_typed);
			CHECK_CONTAINS(err.text, cases[i].error);
		}
		buf_clear(&canonical);
	}
}

static void settings_are_sentences(void)
{
	static const struct {
		const char *text;
		bool partial;
		const char *canonical;
		size_t at;
		const char *error;
	} cases[] = {
	    {"sys host mx.example.jp", false, "system host-name mx.example.jp", 0, NULL},
	    {"ser d smtp auth opt", false, "server d smtp auth optional", 0, NULL},
	    {"server d smime enabled", false, "server d smime enabled", 0, NULL},
	    {"server d smtp listen 0.0.0.0:25 tls none", false, "server d smtp listen 0.0.0.0:25 tls none", 0, NULL},
	    {"server d smime exc rec @x$", false, "server d smime exclude recipient @x$", 0, NULL},
	    {"server d smime exc head Subject ^x", false, "server d smime exclude header Subject ^x", 0, NULL},
	    {"server d user u password", false, "server d user u password", 0, NULL},
	    {"server d", true, "server d", 0, NULL},
	    {"server d smime", true, "server d smime", 0, NULL},
	    {"hsm threads", true, "hsm threads", 0, NULL},

	    {"server d smime", false, NULL, 3, "something is missing; expected: enabled, certificate"},
	    {"server d smtp listen 0.0.0.0:99999", false, NULL, 4, "port \"99999\" is not a number from 1 to 65535"},
	    {"server d smtp auth maybe", false, NULL, 4,
	     "\"maybe\" is not known here; expected: none, offered, optional, required"},
	    {"server d smtp max-s 1", false, NULL, 3, "\"max-s\" may be max-sessions, max-sessions-per-client"},
	    {"hsm threads 65", false, NULL, 2, "65 is not between 1 and 64"},
	    {"hsm threads 8 9", false, NULL, 3, "nothing more is expected here"},
	    {"server d smime enabled yes", false, NULL, 4, "nothing more is expected here"},
	    {"server d user u password secret", false, NULL, 5, "the password is prompted for, never given here"},
	    {"server d smime exclude recipient a(b", false, NULL, 5, "expression does not compile"},
	    {"server d smime foo", true, NULL, 3, "\"foo\" is not known here"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sentences sentences = settings_sentences(cases[i].partial);
		struct buf canonical = {0};
		size_t at = 99, n_typed;
		bool fine;

		test_case("%s%s", cases[i].text, cases[i].partial ? " (partial)" : "");
		fine = parse(&sentences, cases[i].text, &canonical, &at, &n_typed);
		if (!CHECK(fine == (cases[i].canonical != NULL)))
			continue;
		if (fine) {
			CHECK_TEXT(buf_text(&canonical), cases[i].canonical);
		} else {
			CHECK_INT(at, cases[i].at);
			CHECK_CONTAINS(err.text, cases[i].error);
		}
		buf_clear(&canonical);
	}
}

/* Every row of the settings table can be set through the grammar with a value of its type. */
static void every_setting_can_be_typed(void)
{
	static const char *const values[] = {
	    [SETTING_TEXT] = "text",
	    [SETTING_NUMBER] = "1",
	    [SETTING_SIZE] = "1M",
	    [SETTING_DURATION] = "1m",
	    [SETTING_DURATIONS] = "1m,2m",
	    [SETTING_HOST_NAME] = "mx.example.jp",
	    [SETTING_ADDRESS_PORT] = "[::]:25",
	    [SETTING_PREFIX] = "::/0",
	    [SETTING_NEXT_HOP] = "mx:25",
	    [SETTING_REGEX] = "^x",
	    [SETTING_MAIL_ADDRESS] = "a@b.jp",
	    [SETTING_HEADER_NAME] = "Subject",
	    [SETTING_PATH] = "/x",
	    [SETTING_NAME] = "n",
	    [SETTING_PIN_SOURCE] = "operator",
	    [SETTING_NAME_SERVER] = "192.0.2.53",
	    [SETTING_TLS_PIN] = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	    [SETTING_URL] = "https://events.example.net/hook",
	};
	struct sentences sentences = settings_sentences(false);

	for (size_t i = 0; i < n_setting_rows; i++) {
		const struct setting_row *row = &setting_rows[i];
		const char *form = row->path;
		struct buf text = {0}, canonical = {0};
		struct form_word word;
		size_t at, n_typed;

		test_case("%s", row->path);
		while (form_next(&form, &word))
			buf_printf(&text, "%s%.*s", text.len == 0 ? "" : " ", word.typed ? 99 : (int)word.text.len,
				   word.typed ? values[word.type] : (const char *)word.text.data);
		if (row->type == SETTING_WORD)
			buf_printf(&text, " %.*s", (int)strcspn(row->choices, "|"), row->choices);
		else if (row->type == SETTING_NUMBER)
			buf_printf(&text, " %lld", (long long)row->least);
		else if (row->type == SETTING_SIZE)
			buf_printf(&text, " %lldK", (long long)row->least >> 10);
		else if (row->type != SETTING_FLAG && !setting_is_secret(row))
			buf_printf(&text, " %s", values[row->type]);
		if (CHECK_OK(parse(&sentences, buf_text(&text), &canonical, &at, &n_typed), &err))
			CHECK_TEXT(buf_text(&canonical), buf_text(&text));
		buf_clear(&canonical);
		buf_clear(&text);
	}
}

static void every_command_is_sound(void)
{
	for (size_t i = 0; i < n_commands; i++) {
		const struct command *command = &commands[i];

		test_case("%s", command->form);
		CHECK(command->run != NULL && command->modes != 0 && command->roles != 0);
		CHECK(strlen(command->help) > 8 && strlen(command->help) <= 51);
		CHECK((command->roles & ROLE_ADMINISTRATOR) != 0);
		for (size_t j = 0; j < i; j++)
			CHECK(strcmp(command->form, commands[j].form) != 0 || (command->modes & commands[j].modes) == 0);
	}
}

/* An auditor changes nothing but the own password; an export of the audit is told in it. */
static void what_changes_something_is_not_for_auditors(void)
{
	for (size_t i = 0; i < n_commands; i++) {
		test_case("%s", commands[i].form);
		if (commands[i].changes && strncmp(commands[i].form, "account password", 16) != 0 &&
		    strncmp(commands[i].form, "audit export", 12) != 0)
			CHECK((commands[i].roles & ROLE_AUDITOR) == 0);
		if (strncmp(commands[i].form, "account ", 8) == 0 && strncmp(commands[i].form, "account password", 16) != 0)
			CHECK_INT(commands[i].roles, ROLE_ADMINISTRATOR);
	}
}

static void lists_and_completions_come_from_the_tables(void)
{
	static const struct {
		bool configuring;
		const char *before, *listed, *not_listed, *added;
	} cases[] = {
	    {false, "", "certificate", "\n  set ", ""},
	    {true, "", "\n  set ", "show certificates", ""},
	    {false, "cert", "certificate", "configure", "ificate "},
	    {false, "co", "configure", "certificate", "nfigure "},
	    {true, "co", "commit", "configure", "mmit "},
	    {false, "certificate d", "delete", "import", "elete "},
	    {false, "certificate import ", "<address>", "<enter>", ""},
	    {false, "show ", "certificates", "<enter>", ""},
	    {false, "show certificates d", "detail", "configuration", "etail "},
	    {true, "set ", "server", "commit", ""},
	    {true, "set server default smtp m", "max-recipients", "smime", "ax-"},
	    {true, "set server default smtp auth ", "required", "max", ""},
	    {true, "set hsm threads ", "number, 1 to 64; default 8", "<enter>", ""},
	    {true, "delete server default ", "<enter>", "account", ""},
	    {false, "nonsense ", "nothing is known here", "<", ""},
	    {false, "show \"", "nothing is known here", "<", ""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct console console = {.configuring = cases[i].configuring, .interactive = true};
		char *list = editor_list(&console, cases[i].before), *added = editor_complete(&console, cases[i].before);

		test_case("%s \"%s\"", cases[i].configuring ? "#" : ">", cases[i].before);
		CHECK_CONTAINS(list, cases[i].listed);
		CHECK(strstr(list, cases[i].not_listed) == NULL);
		CHECK_TEXT(added, cases[i].added);
		for (const char *line = list; *line != '\0'; line += strcspn(line, "\n") + 1)
			CHECK(strcspn(line, "\n") < 80);
		free(added);
		free(list);
	}
}

static void bad_lines_are_refused(void)
{
	struct buf many = {0}, long_line = {0};
	struct line line;
	size_t column;

	CHECK(!line_split(&line, "set x \"open", &column, &err));
	CHECK_INT(column, 6);
	CHECK_TEXT(err.text, "this quote is not closed");
	for (int i = 0; i <= LINE_MAX_WORDS; i++)
		buf_put_text(&many, "x ");
	CHECK(!line_split(&line, buf_text(&many), &column, &err));
	CHECK_INT(err.code, ERR_LIMIT);
	while (long_line.len <= LINE_MAX_BYTES)
		buf_put_byte(&long_line, 'x');
	CHECK(!line_split(&line, buf_text(&long_line), &column, &err));
	CHECK_INT(err.code, ERR_LIMIT);
	buf_clear(&many);
	buf_clear(&long_line);
}

int main(void)
{
	TEST(lines_become_sentences_or_errors_with_a_place);
	TEST(settings_are_sentences);
	TEST(every_setting_can_be_typed);
	TEST(every_command_is_sound);
	TEST(what_changes_something_is_not_for_auditors);
	TEST(lists_and_completions_come_from_the_tables);
	TEST(bad_lines_are_refused);
	return test_finish();
}
