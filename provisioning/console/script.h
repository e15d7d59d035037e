/*
 * Lines that nobody types: commands of -c, a file, standard input. A script stops at its first error; the message names
 * the line. Each returns the exit code of the program.
 */
#ifndef INKAN_CONSOLE_SCRIPT_H
#define INKAN_CONSOLE_SCRIPT_H

#include "provisioning/console/console.h"

int script_run_commands(struct console *console, const char *const *lines, size_t count);
int script_run_file(struct console *console, const char *path);
int script_run_input(struct console *console); /* secrets are taken from the lines behind their command */

#endif
