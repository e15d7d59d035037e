/* Which part of a typed line may be kept in the history. Pure. */
#ifndef INKAN_CONSOLE_HISTORY_H
#define INKAN_CONSOLE_HISTORY_H

#include <stddef.h>

/*
 * Of a line that could not be understood, up to `column`, the place of the fault: a password typed where none belongs must not
 * be kept. Lines that say nothing of secrets are kept whole, so that a slip can be mended.
 */
size_t history_safe_length(const char *line, size_t column);

#endif
