/*
 * The one logging idiom: an event name and typed fields, one line each on standard error.
 *
 *     log_info("message.accepted", LOG_TEXT("id", id), LOG_NUMBER("size", size));
 *
 * Text form: `2026-11-24T13:06:09.123Z inkan-relay info message.accepted id=… size=5120`; with --log json one JSON
 * object a line. Octets that could break a line or a terminal are escaped. Never a message body, PIN or password.
 * Only programs and their glue log; library code returns errors instead. Any thread: a line is one write(2).
 */
#ifndef INKAN_BASE_LOG_H
#define INKAN_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "appliance/base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *name; /* NULL ends the list */
	const char *text; /* NULL: `number` counts */
	int64_t number;
};

#define LOG_TEXT(field_name, value) ((struct log_field){.name = (field_name), .text = (value)})
#define LOG_NUMBER(field_name, value) ((struct log_field){.name = (field_name), .number = (int64_t)(value)})
#define LOG_ERR(err) LOG_TEXT("error", (err)->text)

#define log_debug(...) log_fields(LOG_DEBUG, __VA_ARGS__, (struct log_field){0})
#define log_info(...) log_fields(LOG_INFO, __VA_ARGS__, (struct log_field){0})
#define log_warning(...) log_fields(LOG_WARNING, __VA_ARGS__, (struct log_field){0})
#define log_error(...) log_fields(LOG_ERROR, __VA_ARGS__, (struct log_field){0})
#define log_fields(level, event, ...) log_write(level, event, (const struct log_field[]){__VA_ARGS__})

/* Once, before the first line. `program` must live as long as the process. */
void log_open(const char *program, enum log_format format, enum log_level least);

/* "text" or "json" to *format. */
bool log_format_parse(const char *text, enum log_format *format);
enum log_format log_current_format(void);

void log_write(enum log_level level, const char *event, const struct log_field *fields);

#endif
