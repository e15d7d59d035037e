/*
 * Words of a line: how paths, commands and scripts are split and written back. Outside quotes every character but the
 * blank stands for itself, so that an expression is typed as it is; inside double quotes \" and \\ are escapes. Pure.
 */
#ifndef INKAN_STORE_WORDS_H
#define INKAN_STORE_WORDS_H

#include "appliance/base/bytes.h"

enum word_result {
	WORD_END, /* only blanks were left */
	WORD_FOUND,
	WORD_UNTERMINATED /* a quote that is never closed */
};

/* The next word into *word (reset first). *start is where it begins; *cursor moves behind it. *quoted may be NULL. */
enum word_result word_next(const char **cursor, const char **start, struct buf *word, bool *quoted);

/* Writes one word so that word_next reads it back: quoted only when it must be. */
void word_put(struct buf *out, const char *word);

#endif
