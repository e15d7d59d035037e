/* Where in a refused value the fault is. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/store/form.h"

struct value {
	const struct setting_row *row; /* NULL: of the type alone */
	enum setting_type type;
	const char *text;
};

static bool passes(const struct value *value, const char *text)
{
	return value->row != NULL ? setting_check_value(value->row, text, NULL) : setting_type_check(value->type, text, NULL);
}

/* With another end, or another beginning, it would pass: then that part is the fault. */
static bool only_end_fails(const struct value *value, size_t from, const char *end)
{
	char *text = mem_format("%.*s%s", (int)from, value->text, end);
	bool alone = passes(value, text);

	free(text);
	return alone;
}

static bool only_beginning_fails(const struct value *value, size_t to, const char *beginning)
{
	char *text = mem_format("%s%s", beginning, value->text + to);
	bool alone = passes(value, text);

	free(text);
	return alone;
}

static void divide(const struct value *value, const char *at, size_t separator, const char *good_beginning, const char *good_end,
		   size_t *from, size_t *len)
{
	size_t place, whole = strlen(value->text);

	if (at == NULL)
		return;
	place = (size_t)(at - value->text);
	if (only_end_fails(value, place + separator, good_end)) {
		*from = place + separator;
		*len = whole - *from;
	} else if (only_beginning_fails(value, place, good_beginning)) {
		*len = place;
	}
}

static void place_of_item(const struct value *value, size_t *from, size_t *len)
{
	for (const char *at = value->text; *at != '\0'; at += strspn(at, ",")) {
		size_t width = strcspn(at, ",");
		char *item = mem_string_n(at, width);
		bool fine = passes(value, item);

		free(item);
		if (!fine) {
			*from = (size_t)(at - value->text);
			*len = width;
			return;
		}
		at += width;
	}
}

static void place_in_regex(const struct value *value, size_t *from, size_t *len)
{
	size_t offset = setting_regex_fault(value->text), whole = strlen(value->text);

	if (offset > whole)
		return;
	*from = offset;
	*len = whole - offset;
}

void setting_place(const struct setting_row *row, enum setting_type type, const char *text, size_t *from, size_t *len)
{
	const struct value value = {row, type, text};

	*from = 0;
	*len = strlen(text);
	switch (type) {
	case SETTING_ADDRESS_PORT:
	case SETTING_NAME_SERVER:
	case SETTING_NEXT_HOP:
		divide(&value, strrchr(text, ':'), 1, "192.0.2.1", "25", from, len);
		break;
	case SETTING_PREFIX:
		if (strchr(text, '/') != NULL &&
		    strtoul(strchr(text, '/') + 1, NULL, 10) > (strchr(text, ':') != NULL ? 128u : 32u))
			divide(&value, strchr(text, '/'), 0, "0.0.0.0", "", from, len);
		break;
	case SETTING_MAIL_ADDRESS:
		divide(&value, strrchr(text, '@'), 1, "a", "example.jp", from, len);
		break;
	case SETTING_DURATIONS:
		place_of_item(&value, from, len);
		break;
	case SETTING_REGEX:
		place_in_regex(&value, from, len);
		break;
	default:
		break;
	}
	if (*from > 0 && text[*from] == '/') {
		++*from;
		--*len;
	}
	if (*len == 0)
		*len = 1;
}
