/*
 * Output for a person, a screen at a time: `---(more)---` below a full one. Blank shows the next screen, Enter a line, `/` goes
 * on at the next line that matches, `n` at the one after it, q or Ctrl-C ends. Asks nothing of the terminal but CR and LF.
 */
#ifndef INKAN_CONSOLE_PAGER_H
#define INKAN_CONSOLE_PAGER_H

#include <stdio.h>

#include "appliance/base/bytes.h"

struct pager {
	unsigned rows; /* shown since the last stop */
	bool ended; /* the rest is not shown */
	char *wanted; /* of the last `/`, or NULL; owned */
};

void pager_begin(struct pager *pager); /* of a command */
void pager_clear(struct pager *pager);

/* Standard input is the terminal that `out` goes to. */
void pager_show(struct pager *pager, struct bytes text, FILE *out);

/* Rows that a line without its end takes on a screen of so many columns: at least one. Pure; UTF-8, tabs every 8. */
unsigned pager_line_rows(struct bytes line, unsigned columns);

#endif
