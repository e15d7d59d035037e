/* A JSON schema (2020-12) of what `show configuration | json` shows, made from the settings table. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/commands.h"
#include "provisioning/console/range_pattern.h"
#include "provisioning/store/form.h"

#define WORD_PATTERN "(\"([^\"\\\\]|\\\\.)*\"|[^ \"]+)"

/* What holds for every value of a type; the console's own check is narrower where none can be written so. */
static const char *const type_patterns[] = {
    [SETTING_FLAG] = "^$",
    [SETTING_TEXT] = "^[^\\u0000-\\u001f\\u007f]+$",
    [SETTING_HOST_NAME] = "^[A-Za-z0-9][A-Za-z0-9.-]*$",
    [SETTING_ADDRESS_PORT] = "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,9}$",
    [SETTING_PREFIX] = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
    [SETTING_NEXT_HOP] = "^(maildir:/.*|([A-Za-z0-9][A-Za-z0-9.-]*|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,9})?)$",
    [SETTING_MAIL_ADDRESS] = "^[^ \\t<>,;\"]+@[A-Za-z0-9][A-Za-z0-9.-]*$",
    [SETTING_HEADER_NAME] = "^[^ :]+$",
    [SETTING_PATH] = "^/",
    [SETTING_NAME] = "^[A-Za-z0-9_.-]{1,64}$",
    [SETTING_PIN_SOURCE] = "^(operator|file:/.*)$",
    [SETTING_NAME_SERVER] = "^([0-9A-Fa-f:.]+|\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,9})$",
    [SETTING_TLS_PIN] = "^sha256:[0-9a-f]{64}$",
    [SETTING_URL] = "^https?://[^ @#\"\\\\<>]+$",
    [SETTING_PASSWORD] = "^<hidden>$",
    [SETTING_SEALED] = "^<hidden>$",
};

static void put_quoted(struct buf *out, struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (strchr(".^$*+?()[]{}|\\/", text.data[i]) != NULL)
			buf_put_byte(out, '\\');
		buf_put_byte(out, text.data[i]);
	}
}

/* "^server WORD smtp listen WORD tls$" */
static json_t *path_schema(const char *form)
{
	struct buf pattern = {0};
	struct form_word word;
	json_t *schema;

	buf_put_byte(&pattern, '^');
	while (form_next(&form, &word)) {
		if (pattern.len > 1)
			buf_put_byte(&pattern, ' ');
		if (word.typed)
			buf_put_text(&pattern, WORD_PATTERN);
		else
			put_quoted(&pattern, word.text);
	}
	buf_put_byte(&pattern, '$');
	schema = json_pack("{s:s}", "pattern", buf_text(&pattern));
	buf_clear(&pattern);
	return schema;
}

static json_t *word_schema(const struct setting_row *row)
{
	struct bytes rest = bytes_text(row->choices), choice;
	json_t *choices = json_array();

	while (form_next_choice(&rest, &choice))
		json_array_append_new(choices, json_stringn((const char *)choice.data, choice.len));
	return json_pack("{s:o}", "enum", choices);
}

/* Of the numbers with one unit: those whose value lies within least..most. */
static void put_unit(struct buf *out, const struct setting_row *row, int64_t factor, const char *unit)
{
	int64_t least = (row->least + factor - 1) / factor, most = row->most / factor;

	if (least > most)
		return;
	buf_put_text(out, out->len == 0 ? "0*(" : "|0*(");
	range_pattern(out, (uint64_t)least, (uint64_t)most);
	buf_printf(out, ")%s", unit);
}

static void put_units(struct buf *out, const struct setting_row *row)
{
	static const struct {
		bool size;
		int64_t factor;
		const char *name;
	} units[] = {{true, 1 << 10, "K"}, {true, 1 << 20, "M"}, {true, 1 << 30, "G"}, {false, 1, "s"},
		     {false, 60, "m"},	   {false, 3600, "h"},	 {false, 86400, "d"}};

	if (row->type == SETTING_NUMBER)
		put_unit(out, row, 1, "");
	for (size_t i = 0; row->type != SETTING_NUMBER && i < sizeof units / sizeof *units; i++) {
		if (units[i].size == (row->type == SETTING_SIZE))
			put_unit(out, row, units[i].factor, units[i].name);
	}
}

static json_t *range_schema(const struct setting_row *row)
{
	struct buf one = {0};
	char *pattern;
	json_t *schema;

	put_units(&one, row);
	if (row->type == SETTING_DURATIONS)
		pattern = mem_format("^(%s)(,(%s))*$", buf_text(&one), buf_text(&one));
	else
		pattern = mem_format("^(%s)$", buf_text(&one));
	schema = json_pack("{s:s}", "pattern", pattern);
	free(pattern);
	buf_clear(&one);
	return schema;
}

static json_t *value_schema(const struct setting_row *row)
{
	char least[SETTING_RANGE_BYTES], most[SETTING_RANGE_BYTES];
	const char *pattern;

	if (row->type == SETTING_WORD)
		return word_schema(row);
	if (setting_range(row, least, most))
		return range_schema(row);
	if (row->type == SETTING_REGEX)
		return json_pack("{s:i}", "minLength", 1);
	pattern = row->type < sizeof type_patterns / sizeof *type_patterns ? type_patterns[row->type] : NULL;
	return pattern != NULL ? json_pack("{s:s}", "pattern", pattern) : json_object();
}

static json_t *row_schema(const struct setting_row *row)
{
	json_t *value = value_schema(row);

	if (row->fallback != NULL)
		json_object_set_new(value, "default", json_string(row->fallback));
	return json_pack("{s:s,s:s,s:{s:o,s:o}}", "title", row->path, "description", row->help, "properties", "path",
			 path_schema(row->path), "value", value);
}

static json_t *schema(void)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < n_setting_rows; i++)
		json_array_append_new(rows, row_schema(&setting_rows[i]));
	return json_pack("{s:s,s:s,s:s,s:{s:s,s:{s:{s:s},s:{s:s}},s:[ss],s:b,s:o}}", "$schema",
			 "https://json-schema.org/draft/2020-12/schema", "title", "Configuration of Inkan", "type", "array",
			 "items", "type", "object", "properties", "path", "type", "string", "value", "type", "string", "required",
			 "path", "value", "additionalProperties", false, "oneOf", rows);
}

bool show_schema(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"", "schema", false}};
	struct report report = report_of(REPORT_LINES, columns, 1);
	json_t *json = schema();
	char *text, *rest, *line;

	const struct filters *filters = console->filters;
	struct filters without_json = filters != NULL ? *filters : (struct filters){0};

	(void)parsed;
	(void)err;
	without_json.json = false; /* it is JSON already */
	console->filters = &without_json;
	text = json_dumps(json, JSON_INDENT(2));
	for (rest = text; (line = strsep(&rest, "\n")) != NULL;)
		report_cell(&report, "%s", line);
	console_show(console, &report);
	console->filters = filters;
	report_clear(&report);
	free(text);
	json_decref(json);
	return true;
}
