/*
 * Questions to the operator. On a terminal the prompt is written and a secret is not echoed; where standard input is no
 * terminal, each question takes one line of it and nothing is written. Standard input is read octet by octet, so that a
 * script that comes from there and the secrets behind its commands share it.
 */
#ifndef INKAN_CONSOLE_PROMPT_H
#define INKAN_CONSOLE_PROMPT_H

#include "appliance/base/secret.h"

/* One line of standard input without its end, appended to *line. False at the end of the input. */
bool prompt_read_line(struct buf *line);

/* NULL: the input has ended (ERR_INVALID, naming the prompt). An empty answer is an empty secret. */
struct secret *prompt_secret(const char *prompt, struct err *err);

/* A new secret, asked for twice ("New SO PIN: ", "New SO PIN again: "); NULL also when the two differ or are empty. */
struct secret *prompt_new_secret(const char *name, struct err *err);

/* A line that may be seen; free() it. NULL: the input has ended. */
char *prompt_text(const char *prompt, struct err *err);

/*
 * Lines of text that are pasted, appended to *text with one LF each: up to a line of a single `.`, or a blank line outside a
 * PEM block, or the end of the input. A terminal is taken out of its line mode meanwhile, which would cut lines at 4,096
 * octets. *text is wiped and cleared by the caller. ERR_LIMIT over `most` octets, after the end was read all the same;
 * ERR_CANCELLED by Ctrl-C.
 */
bool prompt_paste(const char *prompt, size_t most, struct buf *text, struct err *err) MUST_USE;

#endif
