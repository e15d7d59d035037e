#include "appliance/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void err_vset(struct err *err, enum err_code code, const char *format, va_list args)
{
	if (err == NULL)
		return;
	err->code = code;
	vsnprintf(err->text, sizeof err->text, format, args);
}

bool err_set(struct err *err, enum err_code code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	err_vset(err, code, format, args);
	va_end(args);
	return false;
}

bool err_errno(struct err *err, const char *format, ...)
{
	int saved = errno;
	va_list args;

	va_start(args, format);
	err_vset(err, ERR_SYSTEM, format, args);
	va_end(args);
	if (err != NULL) {
		size_t used = strlen(err->text);

		snprintf(err->text + used, sizeof err->text - used, ": %s", strerror(saved));
	}
	errno = saved;
	return false;
}

bool err_prefix(struct err *err, const char *format, ...)
{
	char before[ERR_TEXT_MAX];
	va_list args;

	if (err == NULL)
		return false;
	memcpy(before, err->text, sizeof before);
	va_start(args, format);
	vsnprintf(err->text, sizeof err->text, format, args);
	va_end(args);

	size_t used = strlen(err->text);

	snprintf(err->text + used, sizeof err->text - used, ": %s", before);
	return false;
}

const char *err_code_name(enum err_code code)
{
	static const char *const names[] = {
	    [ERR_NONE] = "none",	   [ERR_SYSTEM] = "system",	  [ERR_INVALID] = "invalid",
	    [ERR_NOT_FOUND] = "not-found", [ERR_EXISTS] = "exists",	  [ERR_LIMIT] = "limit",
	    [ERR_DENIED] = "denied",	   [ERR_TIMEOUT] = "timeout",	  [ERR_UNAVAILABLE] = "unavailable",
	    [ERR_INTEGRITY] = "integrity", [ERR_CANCELLED] = "cancelled", [ERR_INTERNAL] = "internal",
	};

	if ((unsigned)code >= sizeof names / sizeof *names)
		return "unknown";
	return names[code];
}
