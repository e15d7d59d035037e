#include "hsm/import/warnings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void warnings_add(struct warnings *warnings, const char *format, ...)
{
	char *line = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&line, format, args) < 0)
		line = mem_string(format);
	va_end(args);
	warnings->items = mem_resize(warnings->items, warnings->count + 1, sizeof *warnings->items);
	warnings->items[warnings->count++] = line;
}

void warnings_clear(struct warnings *warnings)
{
	for (size_t i = 0; i < warnings->count; i++)
		free(warnings->items[i]);
	free(warnings->items);
	*warnings = (struct warnings){0};
}
