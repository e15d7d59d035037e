/*
 * The grammar: sentences made of forms (provisioning/store/form.h), matched against the words of a line. Parsing,
 * abbreviations, the lists of `?` and Tab, and errors with their place all come from the same sentences. Pure.
 *
 * A word stands for a literal word of the sentences when it equals it, or when it begins that one only.
 */
#ifndef INKAN_CONSOLE_GRAMMAR_H
#define INKAN_CONSOLE_GRAMMAR_H

#include "provisioning/console/line.h"
#include "provisioning/store/form.h"

struct sentence {
	const char *form;
	const struct setting_row *setting; /* of settings: its value follows the form, unless it has none to type */
	const char *help;
};

struct sentences {
	const struct sentence *items;
	size_t count;
	bool partial; /* a beginning of a sentence is accepted too: `delete`, `show` */
};

struct parsed {
	size_t sentence; /* index of the matched one; of a beginning: of one that begins so */
	bool whole; /* false: a beginning only */
	bool has_value; /* of a setting: its value is the last word */
	char **words; /* in full, NULL behind the last */
	size_t count;
	char **typed; /* those that stand for typed words, in order; they point into `words` */
	size_t n_typed;
};

/* On failure *at is the index of the word that the error is about (`count` when something is missing). */
bool grammar_parse(const struct sentences *sentences, const struct line_word *words, size_t count, struct parsed *parsed,
		   size_t *at, struct err *err) MUST_USE;
/* The part of words[at], which grammar_parse refused, that is at fault: octets of its text. */
void grammar_place(const struct sentences *sentences, const struct line_word *words, size_t at, size_t *from, size_t *len);
void parsed_clear(struct parsed *parsed);
bool parsed_has(const struct parsed *parsed, const char *word); /* is there such a literal or typed word */

/* What may come next, for `?` and Tab. */
struct expectation {
	char *word; /* the literal word, or "<label>" */
	bool typed;
	const char *help; /* of the sentence, when this word ends it or no other shares it; else "" */
	const char *form; /* of typed words: how to write them; else NULL */
	const struct setting_row *setting; /* whose value it is; else NULL */
	const char *sentence; /* the form of the (first) one that it stands in */
};

struct expectations {
	struct expectation *items; /* sorted, no word twice */
	size_t count;
	bool complete; /* the words so far are a whole sentence */
};

/* After `count` whole words; `beginning` filters the literal ones. False when the words do not parse. */
bool grammar_expect(const struct sentences *sentences, const struct line_word *words, size_t count, const char *beginning,
		    struct expectations *expectations);
void expectations_clear(struct expectations *expectations);

#endif
