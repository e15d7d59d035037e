/* What the console does to a configuration: set, delete, list and compare its rows. Pure. */
#ifndef INKAN_CONSOLE_TREE_H
#define INKAN_CONSOLE_TREE_H

#include "provisioning/store/settings.h"

/*
 * Sets one value: replaces that of a single setting, adds one to a repeatable setting (nothing happens when it is there
 * already). What the path belongs to is set with it: `server s smtp listen A tls none` also sets `server s` and the
 * listener. A server that begins so gets the defaults of a new one.
 */
void tree_set(struct settings *settings, const struct setting_row *row, const char *path, const char *value);

/* The same of a row of a file; `defaults` false: it says all that a new server has. */
void tree_load(struct settings *settings, const struct setting_row *row, const char *path, const char *value, bool defaults);

/* Deletes the rows of a path and of everything below it; with `value` only that row. Returns how many. */
size_t tree_delete(struct settings *settings, const char *path, const char *value);

/* A copy of the rows at and below a path ("" for all), in the order of the settings table, servers by appearance. */
void tree_below(const struct settings *settings, const char *path, struct settings *below);

/* "set PATH VALUE" as it can be typed; a password is shown as TREE_HIDDEN. */
#define TREE_HIDDEN "<hidden>"
void tree_put_line(struct buf *out, const struct setting *setting);

/* Rows that are only in `from`, and rows that are only in `to`. Both are empty at first. */
void tree_difference(const struct settings *from, const struct settings *to, struct settings *removed, struct settings *added);

/* The same as lines "- set …" and "+ set …", sorted by path. Returns the number of lines. */
typedef void tree_line(char sign, const struct setting *setting, void *arg);
size_t tree_compare(const struct settings *from, const struct settings *to, tree_line *line, void *arg);

/*
 * Brings the edits base→mine into `theirs`, which has gone on from the same base. ERR_EXISTS names the first setting
 * that both have changed to different values.
 */
bool tree_merge(const struct settings *base, const struct settings *mine, const struct settings *theirs, struct settings *merged,
		struct err *err) MUST_USE;

bool tree_equal(const struct settings *a, const struct settings *b); /* the same rows in any order */

#endif
