/*
 * What an account typed, over its logins: STATE/history/ACCOUNT, 0600, a line a line. Only lines that the grammar understood go
 * into the file (it takes no secret), and none that looks as if it held one. Without a file the login goes on all the same.
 */
#ifndef INKAN_CONSOLE_HISTORY_FILE_H
#define INKAN_CONSOLE_HISTORY_FILE_H

#include "provisioning/console/console.h"

#define HISTORY_DIRECTORY "history"
#define HISTORY_LINES 500 /* that are read back */
#define HISTORY_FILE_MAX_BYTES (256u << 10) /* then it is written anew with those */

typedef void history_line(const char *line, void *arg);

/* The lines of earlier logins, oldest first. */
void history_read(const struct console *console, history_line *each, void *arg);

/* Appends one that was understood. */
void history_append(const struct console *console, const char *line);

/* The account is gone, and what it typed. */
void history_forget(const struct console *console, const char *account);

/*
 * May it be recalled? Of one that was not understood what history_safe_length left of it: only if it begins a command, else it
 * may be a secret typed at the wrong prompt. Pure.
 */
bool history_may_hold(const char *line, bool understood);

#endif
