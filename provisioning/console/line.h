/* A typed line: its words with the columns where they stand, for errors that point at the place. Pure. */
#ifndef INKAN_CONSOLE_LINE_H
#define INKAN_CONSOLE_LINE_H

#include "appliance/base/bytes.h"

#define LINE_MAX_BYTES 16384
#define LINE_MAX_WORDS 256

struct line_word {
	char *text;
	size_t column; /* of its first character, from 0, in bytes */
	size_t width; /* as typed, with its quotes */
	bool quoted;
};

struct line {
	char *text; /* as typed */
	struct line_word *words;
	size_t count;
};

/* ERR_INVALID: an open quote; *column is where it begins. ERR_LIMIT: too long. */
bool line_split(struct line *line, const char *text, size_t *column, struct err *err) MUST_USE;
void line_clear(struct line *line);

/* An unquoted `|`. */
bool line_word_is_pipe(const struct line_word *word);

#endif
