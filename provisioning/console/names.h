/*
 * Names that exist, for `?` and Tab where a typed word is expected: by the word's label and the sentence that it stands in
 * (the table of names.c). What cannot be read at once (the relay is down) is silently none.
 */
#ifndef INKAN_CONSOLE_NAMES_H
#define INKAN_CONSOLE_NAMES_H

#include "provisioning/console/console.h"

#define NAMES_MAX 100 /* of one word; further ones are not listed */
#define NAMES_RELAY_MS 1000 /* for the relay's answer */

struct name {
	char *text;
	char *note; /* what it is, or "" */
	bool open; /* goes on, as a directory does: no blank behind it */
};

struct names {
	struct name *items; /* no text twice */
	size_t count;
};

/* Where the word is to stand. */
struct names_place {
	const struct line_word *words; /* whole ones of the line */
	size_t count;
	bool settings; /* the words behind the first are a setting's */
	const char *beginning; /* other names are left out */
};

void names_find(const struct console *console, const struct names_place *place, const struct expectation *wanted,
		struct names *names);
void names_clear(struct names *names);

#endif
