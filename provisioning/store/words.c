#include "provisioning/store/words.h"

#include <string.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static enum word_result quoted_word(const char **cursor, struct buf *word)
{
	const char *at = *cursor + 1;

	for (; *at != '\0' && *at != '"'; at++) {
		if (*at == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
		buf_put_byte(word, (uint8_t)*at);
	}
	if (*at == '\0')
		return WORD_UNTERMINATED;
	*cursor = at + 1;
	return WORD_FOUND;
}

/* As in a shell: nothing is special up to the next one. */
static enum word_result single_quoted_word(const char **cursor, struct buf *word)
{
	const char *end = strchr(*cursor + 1, '\'');

	if (end == NULL)
		return WORD_UNTERMINATED;
	buf_put(word, *cursor + 1, (size_t)(end - *cursor - 1));
	*cursor = end + 1;
	return WORD_FOUND;
}

enum word_result word_next(const char **cursor, const char **start, struct buf *word, bool *quoted)
{
	const char *at = *cursor;
	bool in_quotes;

	buf_reset(word);
	while (is_blank(*at))
		at++;
	*start = at;
	*cursor = at;
	if (*at == '\0')
		return WORD_END;
	in_quotes = *at == '"' || *at == '\'';
	if (quoted != NULL)
		*quoted = in_quotes;
	if (in_quotes)
		return *at == '"' ? quoted_word(cursor, word) : single_quoted_word(cursor, word);
	for (; *at != '\0' && !is_blank(*at); at++)
		buf_put_byte(word, (uint8_t)*at);
	*cursor = at;
	return WORD_FOUND;
}

static bool must_be_quoted(const char *word)
{
	if (*word == '\0' || *word == '#' || *word == '\'' || strcmp(word, "|") == 0)
		return true;
	return strpbrk(word, " \t\"") != NULL;
}

void word_put(struct buf *out, const char *word)
{
	if (!must_be_quoted(word)) {
		buf_put_text(out, word);
		return;
	}
	buf_put_byte(out, '"');
	for (; *word != '\0'; word++) {
		if (*word == '"' || *word == '\\')
			buf_put_byte(out, '\\');
		buf_put_byte(out, (uint8_t)*word);
	}
	buf_put_byte(out, '"');
}
