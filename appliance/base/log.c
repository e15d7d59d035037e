#include "appliance/base/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/bytes.h"
#include "appliance/base/clock.h"

static const char *log_program = "inkan";
static enum log_format log_format = LOG_FORMAT_TEXT;
static enum log_level log_least = LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

void log_open(const char *program, enum log_format format, enum log_level least)
{
	log_program = program;
	log_format = format;
	log_least = least;
}

bool log_format_parse(const char *text, enum log_format *format)
{
	if (strcmp(text, "text") != 0 && strcmp(text, "json") != 0)
		return false;
	*format = strcmp(text, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
	return true;
}

enum log_format log_current_format(void)
{
	return log_format;
}

static void put_quoted(struct buf *line, const char *text)
{
	buf_put_byte(line, '"');
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			buf_printf(line, "\\%c", *c);
		else if (*c < 0x20 || *c == 0x7f)
			buf_printf(line, "\\u%04x", *c);
		else
			buf_put_byte(line, *c);
	}
	buf_put_byte(line, '"');
}

static bool is_bare(const char *text)
{
	if (*text == '\0')
		return false;
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		if (*c <= 0x20 || *c == '"' || *c == '\\' || *c == '=' || *c == 0x7f)
			return false;
	}
	return true;
}

static void put_value(struct buf *line, const struct log_field *field)
{
	if (field->text == NULL)
		buf_printf(line, "%lld", (long long)field->number);
	else if (log_format == LOG_FORMAT_TEXT && is_bare(field->text))
		buf_put_text(line, field->text);
	else
		put_quoted(line, field->text);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	bool json = log_format == LOG_FORMAT_JSON;
	char time[CLOCK_ISO_BYTES];
	struct buf line = {0};

	if (level < log_least)
		return;
	clock_iso(time, clock_wall_ms());
	buf_printf(&line, json ? "{\"time\":\"%s\",\"program\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"" : "%s %s %s %s", time,
		   log_program, level_names[level], event);
	for (; fields->name != NULL; fields++) {
		buf_printf(&line, json ? ",\"%s\":" : " %s=", fields->name);
		put_value(&line, fields);
	}
	buf_put_text(&line, json ? "}\n" : "\n");
	/* A log that cannot be written must not stop the mail. */
	ssize_t written = write(STDERR_FILENO, line.data, line.len);

	(void)written;
	buf_clear(&line);
}
