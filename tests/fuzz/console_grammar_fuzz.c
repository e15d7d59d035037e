/*
 * Any text as a line of the console, in both modes: words stand where they were typed, an error points into the line, and what is
 * understood is understood the same when it is typed in full.
 */
#include "provisioning/console/console.h"
#include "provisioning/console/editor.h"
#include "provisioning/store/words.h"
#include "tests/fuzz/fuzz.h"

static void check_words(const struct line *line)
{
	size_t len = strlen(line->text), end = 0;

	for (size_t i = 0; i < line->count; i++) {
		require(line->words[i].column >= end);
		end = line->words[i].column + line->words[i].width;
		require(end <= len);
	}
}

static void parse_in_full(const struct sentences *sentences, const struct parsed *parsed)
{
	struct buf text = {0};
	struct parsed again;
	struct line line;
	size_t column, at;

	for (size_t i = 0; i < parsed->count; i++) {
		buf_put_text(&text, i == 0 ? "" : " ");
		word_put(&text, parsed->words[i]);
	}
	if (line_split(&line, buf_text(&text), &column, NULL)) {
		require(line.count == parsed->count && grammar_parse(sentences, line.words, line.count, &again, &at, NULL));
		require(again.whole == parsed->whole && (!again.whole || again.sentence == parsed->sentence));
		require(again.count == parsed->count && again.n_typed == parsed->n_typed);
		for (size_t i = 0; i < again.count; i++)
			require(strcmp(again.words[i], parsed->words[i]) == 0);
		parsed_clear(&again);
		line_clear(&line);
	}
	buf_clear(&text);
}

static void parse(const struct sentences *sentences, const struct line *line, size_t from)
{
	struct parsed parsed;
	struct err err = {0};
	size_t at = 0;

	if (line->count < from)
		return;
	if (grammar_parse(sentences, line->words + from, line->count - from, &parsed, &at, &err)) {
		parse_in_full(sentences, &parsed);
		parsed_clear(&parsed);
	} else {
		require(at <= line->count - from && err.text[0] != '\0');
	}
}

static void complete(const struct console *console, const char *text)
{
	char *list = editor_list(console, text), *added = editor_complete(console, text);

	require(list != NULL && added != NULL);
	free(list);
	free(added);
}

static void parse_filters(const struct line *line)
{
	struct filters filters = {0};
	size_t at = 0;

	if (filters_parse(&filters, line->words, line->count, &at, NULL))
		filters_clear(&filters);
	else
		require(at <= line->count);
}

static void check(const struct console *console, const struct line *line)
{
	size_t *indexes;
	struct sentences sentences = command_sentences(console, &indexes);
	struct sentences settings = settings_sentences(false), parts = settings_sentences(true);

	parse(&sentences, line, 0);
	sentences.partial = true;
	parse(&sentences, line, 0);
	parse(&settings, line, 1);
	parse(&parts, line, 1);
	parse_filters(line);
	complete(console, line->text);
	free((void *)(uintptr_t)sentences.items);
	free(indexes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = bytes_string(bytes_of(data, size));
	struct console console = {.interactive = true, .role = ROLE_ADMINISTRATOR, .configuring = size % 2 == 0};
	struct err err = {0};
	struct line line;
	size_t column = 0;

	if (line_split(&line, text, &column, &err)) {
		check_words(&line);
		check(&console, &line);
		line_clear(&line);
	} else {
		require(column <= strlen(text) && err.text[0] != '\0');
	}
	free(text);
	return 0;
}
