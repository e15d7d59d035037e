#include "provisioning/console/report.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/columns.h"

#define COLUMN_GAP 2
#define RECORD_COLUMNS 79

struct report report_of(enum report_style style, const struct report_column *columns, size_t n_columns)
{
	return (struct report){.style = style, .columns = columns, .n_columns = n_columns};
}

void report_cell(struct report *report, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = mem_string("");
	va_end(args);
	report->cells = mem_resize(report->cells, report->n_cells + 1, sizeof *report->cells);
	report->cells[report->n_cells++] = text;
}

void report_clear(struct report *report)
{
	for (size_t i = 0; i < report->n_cells; i++)
		free(report->cells[i]);
	free(report->cells);
	*report = (struct report){0};
}

static size_t width_of(const char *text)
{
	return text_columns(bytes_text(text));
}

static size_t column_width(const struct report *report, size_t column, bool heading)
{
	size_t width = heading ? width_of(report->columns[column].title) : 0;

	for (size_t i = column; i < report->n_cells; i += report->n_columns) {
		size_t cell = width_of(report->cells[i]);

		width = cell > width ? cell : width;
	}
	return width;
}

static void put_blanks(struct buf *out, size_t count)
{
	while (count-- > 0)
		buf_put_byte(out, ' ');
}

static void put_row(const struct report *report, const size_t *widths, const char *const *cells, struct buf *out)
{
	for (size_t i = 0; i < report->n_columns; i++) {
		size_t rest = widths[i] - width_of(cells[i]);
		bool last = i + 1 == report->n_columns;

		if (report->columns[i].number)
			put_blanks(out, rest);
		buf_put_text(out, cells[i]);
		if (!last)
			put_blanks(out, COLUMN_GAP + (report->columns[i].number ? 0 : rest));
	}
	buf_put_byte(out, '\n');
}

static void put_table(const struct report *report, bool heading, struct buf *out)
{
	size_t *widths = mem_new_array(report->n_columns, sizeof *widths);
	const char **titles = mem_new_array(report->n_columns, sizeof *titles);

	for (size_t i = 0; i < report->n_columns; i++) {
		widths[i] = column_width(report, i, heading);
		titles[i] = report->columns[i].title;
	}
	if (heading && report->n_cells > 0)
		put_row(report, widths, titles, out);
	for (size_t i = 0; i + report->n_columns <= report->n_cells; i += report->n_columns)
		put_row(report, widths, (const char *const *)&report->cells[i], out);
	free(titles);
	free(widths);
}

/* A long cell goes on below itself, broken at blanks, so that it reads on 80 columns. */
static void put_wrapped(struct buf *out, const char *cell, size_t indent)
{
	while (width_of(cell) + indent > RECORD_COLUMNS) {
		size_t room = RECORD_COLUMNS - indent, at = room < strlen(cell) ? room : 0;

		while (at > 0 && cell[at] != ' ')
			at--;
		if (at == 0)
			break;
		buf_put(out, cell, at);
		buf_put_byte(out, '\n');
		put_blanks(out, indent);
		cell += at + 1;
	}
	buf_printf(out, "%s\n", cell);
}

static void put_records(const struct report *report, struct buf *out)
{
	size_t width = 0;

	for (size_t i = 0; i < report->n_columns; i++) {
		size_t title = width_of(report->columns[i].title);

		width = title > width ? title : width;
	}
	for (size_t i = 0; i < report->n_cells; i++) {
		const char *title = report->columns[i % report->n_columns].title;

		if (i > 0 && i % report->n_columns == 0)
			buf_put_byte(out, '\n');
		if (report->cells[i][0] == '\0')
			continue;
		buf_printf(out, "%s:", title);
		put_blanks(out, width - width_of(title) + 1);
		put_wrapped(out, report->cells[i], width + 2);
	}
}

static void put_lines(const struct report *report, bool notes, struct buf *out)
{
	for (size_t i = 0; i < report->n_cells; i += report->n_columns) {
		buf_printf(out, "%s\n", report->cells[i]);
		if (notes)
			buf_printf(out, "    %s\n", report->cells[i + 1]);
	}
}

void report_text(const struct report *report, bool heading, struct buf *out)
{
	switch (report->style) {
	case REPORT_TABLE:
		put_table(report, heading, out);
		break;
	case REPORT_RECORDS:
		put_records(report, out);
		break;
	case REPORT_LINES:
	case REPORT_NOTES:
		put_lines(report, report->style == REPORT_NOTES, out);
		break;
	}
}

static json_t *cell_json(const struct report_column *column, const char *cell)
{
	json_t *text = column->number ? json_integer(strtoll(cell, NULL, 10)) : json_string(cell);

	/* Text from a certificate may be no UTF-8, which JSON cannot hold. */
	return text != NULL ? text : json_sprintf("(%zu octets that are not UTF-8)", strlen(cell));
}

void report_json(const struct report *report, struct buf *out)
{
	json_t *rows = json_array();
	char *text;

	for (size_t i = 0; i < report->n_cells; i += report->n_columns) {
		json_t *row = json_object();

		for (size_t c = 0; c < report->n_columns; c++) {
			if (report->columns[c].name != NULL)
				json_object_set_new(row, report->columns[c].name,
						    cell_json(&report->columns[c], report->cells[i + c]));
		}
		json_array_append_new(rows, row);
	}
	text = json_dumps(rows, JSON_INDENT(2));
	buf_printf(out, "%s\n", text);
	free(text);
	json_decref(rows);
}
