/*
 * Forms: the grammar of commands and settings, written as text.
 *
 *     certificate import <address:mail-address> <file>       words, and typed words in angle brackets
 *     certificate delete <address:mail-address> [previous]   a word that may be left out
 *     account add <name> role administrator|operator|auditor one of several words
 *     commit comment <text...>                               the rest of the line, one word at least
 *
 * A typed word is `<LABEL:TYPE>`, or `<TYPE>` where the type says enough. Pure.
 */
#ifndef INKAN_STORE_FORM_H
#define INKAN_STORE_FORM_H

#include "provisioning/store/settings.h"

struct form_word {
	struct bytes text; /* the word or words themselves ("a|b"), or the label; a view into the form */
	bool typed;
	bool optional;
	bool rest; /* typed: takes every further word */
	enum setting_type type; /* typed */
};

/* The next word of the form at *cursor, which moves on; false at its end. */
bool form_next(const char **cursor, struct form_word *word);

/* The choices of "a|b|c" one by one: false when none is left. Start with *rest = text. */
bool form_next_choice(struct bytes *rest, struct bytes *choice);

/* Checks a word against a type: ERR_INVALID with a text that names the allowed form. */
bool setting_type_check(enum setting_type type, const char *value, struct err *err) MUST_USE;

/* The part of a refused value that is at fault (of the row's range too; row NULL: of the type); all of it where none is alone. */
void setting_place(const struct setting_row *row, enum setting_type type, const char *text, size_t *from, size_t *len);

/* The octet where an expression does not compile; behind its end: it does. */
size_t setting_regex_fault(const char *text);

/* What to type, for people: "ADDRESS:PORT", "number". */
const char *setting_type_form(enum setting_type type);

#endif
