/* Line editing at a terminal (libedit): history, Tab and `?` from the grammar. */
#ifndef INKAN_CONSOLE_EDITOR_H
#define INKAN_CONSOLE_EDITOR_H

#include "provisioning/console/console.h"

/* Lines until exit, end of input or hang-up. The history is the account's (history.h). */
void editor_run(struct console *console);

/* The words that `?` lists behind `before`, one a line with help; the text that Tab adds there ("" for none); free() both. */
char *editor_list(const struct console *console, const char *before);
char *editor_complete(const struct console *console, const char *before);

#endif
