#include "appliance/base/query.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_LEAST_BYTES 4 /* its length */

/* ---- questions ---- */

static char *copy(const char *text)
{
	return mem_string(text != NULL ? text : "");
}

void query_add(struct query *query, const char *name, const char *value)
{
	query->arguments = mem_resize(query->arguments, query->n_arguments + 1, sizeof *query->arguments);
	query->arguments[query->n_arguments++] = (struct query_argument){copy(name), copy(value)};
}

const char *query_argument(const struct query *query, const char *name)
{
	for (size_t i = 0; i < query->n_arguments; i++)
		if (strcmp(query->arguments[i].name, name) == 0)
			return query->arguments[i].value;
	return NULL;
}

void query_encode(struct buf *out, const struct query *query)
{
	msg_put_u32(out, query->kind);
	msg_put_u32(out, query->limit);
	msg_put_text(out, query->cursor);
	msg_put_u32(out, (uint32_t)query->n_arguments);
	for (size_t i = 0; i < query->n_arguments; i++) {
		msg_put_text(out, query->arguments[i].name);
		msg_put_text(out, query->arguments[i].value);
	}
}

bool query_decode(struct msg *msg, struct query *query, struct err *err)
{
	uint32_t count;

	*query = (struct query){.kind = msg_get_u32(msg), .limit = msg_get_u32(msg)};
	query->cursor = msg_get_text(msg);
	count = msg_get_count(msg, 2 * TEXT_LEAST_BYTES);
	msg->bad |= count > QUERY_ARGUMENTS_MAX;
	query->arguments = mem_new_array(msg->bad ? 0 : count, sizeof *query->arguments);
	for (; !msg->bad && query->n_arguments < count; query->n_arguments++) {
		query->arguments[query->n_arguments].name = msg_get_text(msg);
		query->arguments[query->n_arguments].value = msg_get_text(msg);
	}
	if (msg_end(msg, "question", err))
		return true;
	query_clear(query);
	return false;
}

void query_clear(struct query *query)
{
	for (size_t i = 0; i < query->n_arguments; i++) {
		free(query->arguments[i].name);
		free(query->arguments[i].value);
	}
	free(query->arguments);
	free(query->cursor);
	*query = (struct query){0};
}

/* ---- answers ---- */

static void add_cell(struct query_rows *rows, char *text)
{
	if (rows->n_cells % QUERY_ROWS_MAX == 0)
		rows->cells = mem_resize(rows->cells, rows->n_cells + QUERY_ROWS_MAX, sizeof *rows->cells);
	rows->cells[rows->n_cells++] = text;
}

void query_cell(struct query_rows *rows, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = mem_string("");
	va_end(args);
	add_cell(rows, text);
}

void query_rows_encode(struct buf *out, const struct query_rows *rows)
{
	msg_put_u32(out, rows->n_columns);
	msg_put_text(out, rows->cursor);
	msg_put_u32(out, (uint32_t)rows->n_cells);
	for (size_t i = 0; i < rows->n_cells; i++)
		msg_put_text(out, rows->cells[i]);
}

bool query_rows_decode(struct msg *msg, struct query_rows *rows, struct err *err)
{
	uint32_t count;

	*rows = (struct query_rows){.n_columns = msg_get_u32(msg)};
	rows->cursor = msg_get_text(msg);
	count = msg_get_count(msg, TEXT_LEAST_BYTES);
	if (rows->n_columns == 0 || rows->n_columns > QUERY_COLUMNS_MAX || count % rows->n_columns != 0)
		msg->bad = true;
	for (uint32_t i = 0; !msg->bad && i < count; i++)
		add_cell(rows, msg_get_text(msg));
	if (msg_end(msg, "answer", err))
		return true;
	query_rows_clear(rows);
	return false;
}

void query_rows_clear(struct query_rows *rows)
{
	for (size_t i = 0; i < rows->n_cells; i++)
		free(rows->cells[i]);
	free(rows->cells);
	free(rows->cursor);
	*rows = (struct query_rows){0};
}
