#include "provisioning/store/form.h"

#include <string.h>

static const struct {
	const char *name;
	enum setting_type type;
} type_names[] = {
    {"text", SETTING_TEXT},
    {"number", SETTING_NUMBER},
    {"host-name", SETTING_HOST_NAME},
    {"address-port", SETTING_ADDRESS_PORT},
    {"prefix", SETTING_PREFIX},
    {"next-hop", SETTING_NEXT_HOP},
    {"mail-address", SETTING_MAIL_ADDRESS},
    {"header-name", SETTING_HEADER_NAME},
    {"path", SETTING_PATH},
    {"name", SETTING_NAME},
    {"url", SETTING_URL},
    {"source", SETTING_SOURCE},
};

static enum setting_type type_of(struct bytes name)
{
	for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
		if (bytes_equal_text(name, type_names[i].name))
			return type_names[i].type;
	}
	return SETTING_TEXT;
}

static bool ends_with(struct bytes text, const char *end)
{
	size_t len = strlen(end);

	return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

static void read_typed(struct form_word *word)
{
	struct bytes inside = bytes_slice(word->text, 1, word->text.len - 1);
	const uint8_t *colon;

	word->typed = true;
	word->rest = ends_with(inside, "...");
	if (word->rest)
		inside.len -= 3;
	colon = memchr(inside.data, ':', inside.len);
	word->text = colon == NULL ? inside : bytes_of(inside.data, (size_t)(colon - inside.data));
	word->type = type_of(colon == NULL ? inside : bytes_slice(inside, word->text.len + 1, inside.len));
}

bool form_next(const char **cursor, struct form_word *word)
{
	const char *at = *cursor + strspn(*cursor, " ");
	size_t len = strcspn(at, " ");

	*cursor = at + len;
	*word = (struct form_word){.text = bytes_of(at, len)};
	if (len == 0)
		return false;
	if (*at == '[') {
		word->optional = true;
		word->text = bytes_slice(word->text, 1, len - 1);
	}
	if (word->text.data[0] == '<')
		read_typed(word);
	return true;
}

bool form_next_choice(struct bytes *rest, struct bytes *choice)
{
	const uint8_t *bar;

	if (rest->len == 0)
		return false;
	bar = memchr(rest->data, '|', rest->len);
	*choice = bar == NULL ? *rest : bytes_of(rest->data, (size_t)(bar - rest->data));
	*rest = bytes_slice(*rest, choice->len + (bar != NULL), rest->len);
	return true;
}
