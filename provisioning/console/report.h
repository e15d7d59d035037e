/* What a command shows: rows of named cells, written as a table, as records, as bare lines, or as JSON. Pure. */
#ifndef INKAN_CONSOLE_REPORT_H
#define INKAN_CONSOLE_REPORT_H

#include "appliance/base/bytes.h"

enum report_style {
	REPORT_TABLE, /* a heading and aligned columns */
	REPORT_RECORDS, /* `Title: cell` lines, a blank line between rows */
	REPORT_LINES, /* the first cell of each row */
	REPORT_NOTES /* the first cell, and the second one below it */
};

struct report_column {
	const char *title; /* for people */
	const char *name; /* in JSON; NULL: not there, it repeats the others for people */
	bool number; /* right-aligned; a number in JSON */
};

struct report {
	enum report_style style;
	const struct report_column *columns;
	size_t n_columns;
	char **cells; /* row by row */
	size_t n_cells;
};

struct report report_of(enum report_style style, const struct report_column *columns, size_t n_columns);
void report_cell(struct report *report, const char *format, ...) PRINTF_LIKE(2, 3); /* the next cell, rows from left to right */
void report_clear(struct report *report);

void report_text(const struct report *report, bool heading, struct buf *out);
void report_json(const struct report *report, struct buf *out); /* an array of objects */

/* What stands behind the `|` of a line. */
struct filters {
	struct filter *items;
	size_t count;
	bool json, count_lines, compare, no_more;
	uint32_t compare_with; /* `compare N`: as rollback N */
};

/* `words` are those behind the first `|`. On failure *at is the word that the error is about. */
struct line_word;
struct sentences filters_sentences(void); /* grammar.h */
bool filters_parse(struct filters *filters, const struct line_word *words, size_t count, size_t *at, struct err *err) MUST_USE;
void filters_clear(struct filters *filters);

/* The report as the filters want it. */
void filters_apply(const struct filters *filters, const struct report *report, struct buf *out);

#endif
