/* What `?` lists and Tab adds, from the grammar alone. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/editor.h"

#define WORD_COLUMN 26

/* What is typed so far: whole words, the beginning of the one at the cursor, and the sentences they belong to. */
struct place {
	struct line line;
	size_t whole; /* words before the cursor's */
	const char *beginning; /* of the word at the cursor, "" behind a blank */
};

static bool find_place(const char *before, struct place *place)
{
	size_t len = strlen(before), column;
	bool in_word;

	if (!line_split(&place->line, before, &column, NULL))
		return false;
	in_word = place->line.count > 0 && len > 0 && before[len - 1] != ' ' && before[len - 1] != '\t';
	place->whole = place->line.count - in_word;
	place->beginning = in_word ? place->line.words[place->whole].text : "";
	return true;
}

static bool expect_settings(const struct command *command, const struct place *place, struct expectations *found)
{
	bool partial;
	struct sentences sentences;

	if (!command_takes_settings(command, &partial))
		return false;
	sentences = settings_sentences(partial);
	return grammar_expect(&sentences, place->line.words + 1, place->whole - 1, place->beginning, found);
}

/* The word behind the last pipe; 0: there is none. */
static size_t behind_pipe(const struct place *place)
{
	size_t at = place->whole;

	while (at > 0 && !line_word_is_pipe(&place->line.words[at - 1]))
		at--;
	return at;
}

static bool expect_command(const struct console *console, const struct place *place, struct expectations *found)
{
	size_t *indexes, at;
	struct sentences sentences = command_sentences(console, &indexes);
	struct parsed parsed;
	bool known = false, whole;

	sentences.partial = true;
	whole = place->whole > 0 && grammar_parse(&sentences, place->line.words, place->whole, &parsed, &at, NULL);
	if (whole) {
		known = expect_settings(&commands[indexes[parsed.sentence]], place, found);
		parsed_clear(&parsed);
	}
	sentences.partial = false;
	if (!known)
		known = grammar_expect(&sentences, place->line.words, place->whole, place->beginning, found);
	free((void *)sentences.items);
	free(indexes);
	return known;
}

static bool expect(const struct console *console, const struct place *place, struct expectations *found)
{
	size_t filter = behind_pipe(place);
	struct sentences filters = filters_sentences();

	if (filter == 0)
		return expect_command(console, place, found);
	return grammar_expect(&filters, place->line.words + filter, place->whole - filter, place->beginning, found);
}

/* Words that begin several sentences. */
static const struct {
	const char *word, *help;
} groups[] = {
    {"account", "Accounts of this console"},
    {"certificate", "Certificates and their keys"},
    {"exclude", "What is not signed"},
    {"hsm", "The token and what drives it"},
    {"intelligent-bcc", "Unsigned copies to further addresses"},
    {"listen", "Where mail is accepted"},
    {"log", "What has happened"},
    {"next-hop", "Where mail is delivered to"},
    {"queue", "Mail that is not delivered yet"},
    {"server", "Servers"},
    {"show", "Show what is there"},
    {"smime", "Signing"},
    {"smtp", "How mail comes in"},
    {"system", "This machine"},
    {"user", "Senders that log in"},
    {"webhook", "Who is told what becomes of mail"},
};

static const char *help_of(const struct expectation *one)
{
	for (size_t i = 0; one->help[0] == '\0' && i < sizeof groups / sizeof *groups; i++) {
		if (strcmp(groups[i].word, one->word) == 0)
			return groups[i].help;
	}
	return one->help;
}

/* "number, 1 to 64; default 8": what is allowed, and what holds when nothing is set. */
static void put_form(struct buf *out, const struct expectation *one)
{
	const struct setting_row *setting = one->setting;

	buf_put_text(out, one->form);
	if (setting != NULL && setting->type == SETTING_NUMBER)
		buf_printf(out, ", %lld to %lld", (long long)setting->least, (long long)setting->most);
	if (setting != NULL && setting->fallback != NULL)
		buf_printf(out, "; default %s", setting->fallback);
}

static void put_expectation(struct buf *out, const struct expectation *one)
{
	const char *text = help_of(one);

	buf_printf(out, "  %-*s ", WORD_COLUMN, one->word);
	buf_put_text(out, text);
	if (one->form != NULL) {
		if (text[0] != '\0')
			buf_printf(out, "\n  %-*s ", WORD_COLUMN, "");
		put_form(out, one);
	}
	while (out->data[out->len - 1] == ' ')
		out->len--;
	buf_put_byte(out, '\n');
}

char *editor_list(const struct console *console, const char *before)
{
	struct expectations found = {0};
	struct place place = {0};
	struct buf out = {0};
	char *text;

	if (find_place(before, &place) && expect(console, &place, &found)) {
		if (found.complete && place.beginning[0] == '\0')
			buf_put_text(&out, "  <enter>\n");
		for (size_t i = 0; i < found.count; i++)
			put_expectation(&out, &found.items[i]);
	}
	text = mem_string(out.len == 0 ? "  (nothing is known here)\n" : buf_text(&out));
	expectations_clear(&found);
	line_clear(&place.line);
	buf_clear(&out);
	return text;
}

static size_t common_length(const char *a, const char *b)
{
	size_t len = 0;

	while (a[len] != '\0' && a[len] == b[len])
		len++;
	return len;
}

/* The letters that all literal words go on with; a single word also gets its blank. */
static char *common_rest(const struct expectations *found, const char *beginning)
{
	const char *first = NULL;
	size_t len = 0, words = 0;

	for (size_t i = 0; i < found->count; i++) {
		const char *word = found->items[i].word;

		if (found->items[i].typed)
			continue;
		if (words++ == 0) {
			first = word;
			len = strlen(word);
		}
		len = common_length(first, word) < len ? common_length(first, word) : len;
	}
	if (words == 0 || len < strlen(beginning))
		return mem_string("");
	return mem_format("%.*s%s", (int)(len - strlen(beginning)), first + strlen(beginning), words == 1 ? " " : "");
}

char *editor_complete(const struct console *console, const char *before)
{
	struct expectations found = {0};
	struct place place = {0};
	char *text = NULL;

	if (find_place(before, &place) && expect(console, &place, &found))
		text = common_rest(&found, place.beginning);
	expectations_clear(&found);
	line_clear(&place.line);
	return text != NULL ? text : mem_string("");
}
