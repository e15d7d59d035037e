/* What `?` lists and Tab adds: from the grammar, and the names that exist. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/editor.h"
#include "provisioning/console/names.h"
#include "provisioning/store/words.h"

#define WORD_COLUMN 26
#define LIST_COLUMNS 79

/* What is typed so far: whole words, the beginning of the one at the cursor, and the sentences they belong to. */
struct place {
	struct line line;
	size_t whole; /* words before the cursor's */
	const char *beginning; /* of the word at the cursor, "" behind a blank */
	size_t first; /* word of the command: behind `run` the one after it */
	bool settings, filters; /* what the word is to be: of a setting, of a filter */
	struct console console; /* as the command sees it */
};

static bool find_place(const struct console *console, const char *before, struct place *place)
{
	size_t len = strlen(before), column;
	bool in_word;

	place->console = *console;
	if (!line_split(&place->line, before, &column, NULL))
		return false;
	in_word = place->line.count > 0 && len > 0 && before[len - 1] != ' ' && before[len - 1] != '\t';
	place->whole = place->line.count - in_word;
	place->beginning = in_word ? place->line.words[place->whole].text : "";
	return true;
}

static bool expect_settings(const struct command *command, struct place *place, struct expectations *found)
{
	bool partial;
	struct sentences sentences;

	if (!command_takes_settings(command, &partial))
		return false;
	sentences = settings_sentences(partial);
	place->settings = grammar_expect(&sentences, place->line.words + place->first + 1, place->whole - place->first - 1,
					 place->beginning, found);
	return place->settings;
}

/* The word behind the last pipe; 0: there is none. */
static size_t behind_pipe(const struct place *place)
{
	size_t at = place->whole;

	while (at > 0 && !line_word_is_pipe(&place->line.words[at - 1]))
		at--;
	return at;
}

static bool expect_command(struct place *place, struct expectations *found);

/* The rest of the line is a command of its own, or a setting. */
static bool expect_rest(const struct command *command, struct place *place, struct expectations *found)
{
	if (command->run != run_operational)
		return expect_settings(command, place, found);
	place->first++;
	place->console.configuring = false;
	return expect_command(place, found);
}

static bool expect_command(struct place *place, struct expectations *found)
{
	size_t *indexes, at, count = place->whole - place->first;
	struct sentences sentences = command_sentences(&place->console, &indexes);
	const struct line_word *words = place->line.words + place->first;
	struct parsed parsed;
	bool known = false;

	sentences.partial = true;
	if (count > 0 && grammar_parse(&sentences, words, count, &parsed, &at, NULL)) {
		known = expect_rest(&commands[indexes[parsed.sentence]], place, found);
		parsed_clear(&parsed);
	}
	sentences.partial = false;
	if (!known)
		known = grammar_expect(&sentences, words, count, place->beginning, found);
	free((void *)sentences.items);
	free(indexes);
	return known;
}

static bool expect(struct place *place, struct expectations *found)
{
	size_t filter = behind_pipe(place);
	struct sentences filters = filters_sentences();

	if (filter == 0)
		return expect_command(place, found);
	place->filters = true;
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
    {"test", "Try what there is"},
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

static void find_names(const struct place *place, const struct expectation *one, struct names *names)
{
	const struct names_place where = {.words = place->line.words + place->first,
					  .count = place->whole - place->first,
					  .settings = place->settings,
					  .beginning = place->beginning};

	*names = (struct names){0};
	if (!place->filters)
		names_find(&place->console, &where, one, names);
}

static void put_names(struct buf *out, const struct place *place, const struct expectation *one)
{
	struct names names;

	find_names(place, one, &names);
	for (size_t i = 0; i < names.count; i++) {
		struct buf word = {0};

		word_put(&word, names.items[i].text);
		if (names.items[i].note[0] == '\0' || word.len > WORD_COLUMN)
			buf_printf(out, "    %s\n", buf_text(&word));
		else
			buf_printf(out, "    %-*s %.*s\n", WORD_COLUMN - 2, buf_text(&word), LIST_COLUMNS - WORD_COLUMN - 3,
				   names.items[i].note);
		buf_clear(&word);
	}
	if (names.count == NAMES_MAX)
		buf_put_text(out, "    ...\n");
	names_clear(&names);
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

	if (find_place(console, before, &place) && expect(&place, &found)) {
		if (found.complete && place.beginning[0] == '\0')
			buf_put_text(&out, "  <enter>\n");
		for (size_t i = 0; i < found.count; i++) {
			put_expectation(&out, &found.items[i]);
			put_names(&out, &place, &found.items[i]);
		}
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

/* What all words that fit have in common. */
struct common {
	char *first; /* NULL: none fits */
	size_t len, words;
	bool open; /* the only one goes on: no blank behind it */
};

static void common_take(struct common *common, const char *word, bool open)
{
	common->words++;
	common->open = open;
	if (common->first == NULL) {
		common->first = mem_string(word);
		common->len = strlen(word);
	} else {
		common->len = common_length(common->first, word) < common->len ? common_length(common->first, word) : common->len;
	}
}

static bool can_be_typed_bare(const char *word)
{
	struct buf quoted = {0};
	bool bare;

	word_put(&quoted, word);
	bare = strcmp(buf_text(&quoted), word) == 0;
	buf_clear(&quoted);
	return bare;
}

static void take_names(struct common *common, const struct place *place, const struct expectation *one)
{
	struct names names;

	find_names(place, one, &names);
	for (size_t i = 0; i < names.count; i++)
		if (can_be_typed_bare(names.items[i].text))
			common_take(common, names.items[i].text, names.items[i].open);
	names_clear(&names);
}

/* The letters that all words and names go on with; a single one also gets its blank. No half of a character. */
static char *common_rest(const struct expectations *found, const struct place *place)
{
	struct common common = {0};
	size_t typed = strlen(place->beginning);
	char *rest = NULL;

	for (size_t i = 0; i < found->count; i++) {
		if (found->items[i].typed)
			take_names(&common, place, &found->items[i]);
		else
			common_take(&common, found->items[i].word, false);
	}
	while (common.len > typed && (common.first[common.len] & 0xc0) == 0x80)
		common.len--;
	if (common.words > 0 && common.len >= typed)
		rest = mem_format("%.*s%s", (int)(common.len - typed), common.first + typed,
				  common.words == 1 && !common.open ? " " : "");
	free(common.first);
	return rest != NULL ? rest : mem_string("");
}

char *editor_complete(const struct console *console, const char *before)
{
	struct expectations found = {0};
	struct place place = {0};
	char *text = NULL;

	if (find_place(console, before, &place) && expect(&place, &found))
		text = common_rest(&found, &place);
	expectations_clear(&found);
	line_clear(&place.line);
	return text != NULL ? text : mem_string("");
}
