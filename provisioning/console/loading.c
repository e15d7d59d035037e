#include "provisioning/console/loading.h"

#include <stdlib.h>
#include <string.h>

#include "provisioning/console/console.h"
#include "provisioning/console/tree.h"

/* The value behind a secret's path, which nobody types: NULL when the line does not set one. */
static const char *secret_value(const struct line *line)
{
	const char *last = line->words[line->count - 1].text;
	struct sentences sentences = settings_sentences(false);
	struct parsed parsed;
	bool secret;
	size_t at;

	if (strcmp(last, TREE_HIDDEN) != 0 && strncmp(last, SETTING_SEALED_SCHEME, strlen(SETTING_SEALED_SCHEME)) != 0)
		return NULL;
	if (line->count < 3 || !grammar_parse(&sentences, line->words + 1, line->count - 2, &parsed, &at, NULL))
		return NULL;
	secret = setting_is_secret(sentences.items[parsed.sentence].setting);
	parsed_clear(&parsed);
	return secret ? last : NULL;
}

static char *path_of(const struct parsed *parsed)
{
	struct buf path = {0};
	char *text;

	for (size_t i = 0; i < parsed->count - parsed->has_value; i++)
		path_append(&path, parsed->words[i]);
	text = mem_string(buf_text(&path));
	buf_clear(&path);
	return text;
}

static bool load_secret(struct loading *loading, const struct setting_row *row, const char *path, const char *value,
			struct err *err)
{
	if (strcmp(value, TREE_HIDDEN) == 0) {
		value = settings_value(loading->before, "%s", path);
		if (value == NULL)
			buf_printf(&loading->missing, "set %s\n", path);
	} else if (row->type != SETTING_SEALED) {
		return err_set(err, ERR_INVALID, "%s: is never sealed", path);
	}
	if (value != NULL && !setting_check_value(row, value, err))
		return err_prefix(err, "%s", path);
	if (value != NULL)
		tree_load(&loading->settings, row, path, value, !loading->whole);
	return true;
}

static bool load_set(struct loading *loading, const struct setting_row *row, const struct parsed *parsed, const char *secret,
		     struct err *err)
{
	const char *value = parsed->has_value ? parsed->words[parsed->count - 1] : "";
	char *path = path_of(parsed);
	bool loaded = true;

	if (secret != NULL)
		loaded = load_secret(loading, row, path, secret, err);
	else if (setting_is_secret(row))
		loaded = err_set(err, ERR_INVALID, "%s: has no value; a password that was left out is " TREE_HIDDEN, path);
	else
		tree_load(&loading->settings, row, path, value, !loading->whole);
	loading->set += loaded;
	free(path);
	return loaded;
}

static bool load_delete(struct loading *loading, const struct parsed *parsed, struct err *err)
{
	const char *value = parsed->has_value ? parsed->words[parsed->count - 1] : NULL;
	char *path = path_of(parsed);
	size_t deleted = tree_delete(&loading->settings, path, value);

	if (deleted == 0)
		err_set(err, ERR_NOT_FOUND, "%s is not set", path);
	loading->deleted += deleted;
	free(path);
	return deleted > 0;
}

static bool load_words(struct loading *loading, const struct line *line, struct err *err)
{
	bool delete = strcmp(line->words[0].text, "delete") == 0, loaded;
	struct sentences sentences = settings_sentences(delete);
	const char *secret = delete ? NULL : secret_value(line);
	struct parsed parsed;
	size_t at;

	if (!delete &&strcmp(line->words[0].text, "set") != 0)
		return err_set(err, ERR_INVALID, "\"%s\": lines begin with set or delete", line->words[0].text);
	if (!grammar_parse(&sentences, line->words + 1, line->count - 1 - (secret != NULL), &parsed, &at, err))
		return false;
	loaded = delete ? load_delete(loading, &parsed, err)
			: load_set(loading, sentences.items[parsed.sentence].setting, &parsed, secret, err);
	parsed_clear(&parsed);
	return loaded;
}

static bool load_line(struct loading *loading, struct bytes text, struct err *err)
{
	struct bytes trimmed = bytes_trim(text);
	char *copy = mem_string_n((const char *)trimmed.data, trimmed.len);
	struct line line;
	size_t column;
	bool loaded = true;

	loading->line++;
	if (memchr(trimmed.data, '\0', trimmed.len) != NULL)
		loaded = err_set(err, ERR_INVALID, "holds an octet that is no text");
	else if (trimmed.len > 0 && trimmed.data[0] != '#') {
		loaded = line_split(&line, copy, &column, err);
		if (loaded) {
			loaded = load_words(loading, &line, err);
			line_clear(&line);
		}
	}
	free(copy);
	return loaded || err_prefix(err, "%s:%zu", loading->name, loading->line);
}

bool loading_text(struct loading *loading, struct bytes text, struct err *err)
{
	while (text.len > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.data) : text.len;

		if (!load_line(loading, bytes_slice(text, 0, len), err))
			return false;
		text = bytes_slice(text, len + (end != NULL), text.len);
	}
	return loading->set + loading->deleted > 0 || err_set(err, ERR_INVALID, "%s: holds no setting", loading->name);
}
