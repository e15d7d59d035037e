#include "provisioning/console/line.h"

#include <stdlib.h>
#include <string.h>

#include "provisioning/store/words.h"

void line_clear(struct line *line)
{
	for (size_t i = 0; i < line->count; i++)
		free(line->words[i].text);
	free(line->words);
	free(line->text);
	*line = (struct line){0};
}

static void add_word(struct line *line, struct buf *word, size_t column, size_t width, bool quoted)
{
	line->words = mem_resize(line->words, line->count + 1, sizeof *line->words);
	line->words[line->count++] =
	    (struct line_word){.text = mem_string(buf_text(word)), .column = column, .width = width, .quoted = quoted};
}

bool line_split(struct line *line, const char *text, size_t *column, struct err *err)
{
	struct line split = {0};
	enum word_result result = WORD_END;
	const char *cursor, *start;
	struct buf word = {0};
	bool quoted;

	*column = 0;
	if (strlen(text) > LINE_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "line longer than %d bytes", LINE_MAX_BYTES);
	split.text = mem_string(text);
	cursor = split.text;
	while (split.count <= LINE_MAX_WORDS && (result = word_next(&cursor, &start, &word, &quoted)) == WORD_FOUND)
		add_word(&split, &word, (size_t)(start - split.text), (size_t)(cursor - start), quoted);
	buf_clear(&word);
	if (result == WORD_END) {
		*line = split;
		return true;
	}
	if (result == WORD_UNTERMINATED)
		err_set(err, ERR_INVALID, "this quote is not closed");
	else
		err_set(err, ERR_LIMIT, "more than %d words", LINE_MAX_WORDS);
	*column = (size_t)(start - split.text);
	line_clear(&split);
	return false;
}

bool line_word_is_pipe(const struct line_word *word)
{
	return !word->quoted && strcmp(word->text, "|") == 0;
}
