#include "provisioning/console/tree.h"

#include <stdlib.h>
#include <string.h>

#include "provisioning/store/words.h"

#define NO_ROW SIZE_MAX

static size_t find_row(const struct settings *settings, const char *path, const char *value)
{
	for (size_t i = 0; i < settings->count; i++) {
		if (strcmp(settings->items[i].path, path) == 0 && (value == NULL || strcmp(settings->items[i].value, value) == 0))
			return i;
	}
	return NO_ROW;
}

static void remove_row(struct settings *settings, size_t at)
{
	free(settings->items[at].path);
	free(settings->items[at].value);
	settings->count--;
	memmove(&settings->items[at], &settings->items[at + 1], (settings->count - at) * sizeof *settings->items);
}

static bool is_at_or_below(const char *path, const char *above)
{
	size_t len = strlen(above);

	return len == 0 || (strncmp(path, above, len) == 0 && (path[len] == '\0' || path[len] == ' '));
}

/* ---- set and delete ---- */

static void add_presence(struct settings *settings, const char *path, bool defaults)
{
	const struct setting_row *row = setting_row_of(path);

	if (row == NULL || row->type != SETTING_FLAG || find_row(settings, path, NULL) != NO_ROW)
		return;
	settings_add(settings, path, "");
	if (defaults && strncmp(path, "server ", 7) == 0 && strchr(path + 7, ' ') == NULL)
		settings_add_server_defaults(settings, path + 7);
}

static void add_ancestors(struct settings *settings, const char *path, bool defaults)
{
	const char *cursor = path, *start;
	struct buf word = {0}, above = {0};

	while (word_next(&cursor, &start, &word, NULL) == WORD_FOUND && *cursor != '\0') {
		path_append(&above, buf_text(&word));
		add_presence(settings, buf_text(&above), defaults);
	}
	buf_clear(&word);
	buf_clear(&above);
}

void tree_set(struct settings *settings, const struct setting_row *row, const char *path, const char *value)
{
	tree_load(settings, row, path, value, true);
}

void tree_load(struct settings *settings, const struct setting_row *row, const char *path, const char *value, bool defaults)
{
	size_t at = find_row(settings, path, row->repeatable ? value : NULL);

	if (at != NO_ROW) {
		free(settings->items[at].value);
		settings->items[at].value = mem_string(value);
		return;
	}
	add_ancestors(settings, path, defaults);
	if (row->type == SETTING_FLAG)
		add_presence(settings, path, defaults);
	else
		settings_add(settings, path, value);
}

size_t tree_delete(struct settings *settings, const char *path, const char *value)
{
	size_t deleted = 0;

	for (size_t i = settings->count; i-- > 0;) {
		const struct setting *setting = &settings->items[i];
		bool named = value == NULL ? is_at_or_below(setting->path, path)
					   : strcmp(setting->path, path) == 0 && strcmp(setting->value, value) == 0;

		if (named) {
			remove_row(settings, i);
			deleted++;
		}
	}
	return deleted;
}

/* ---- order ---- */

struct placed {
	const struct setting *setting;
	size_t group; /* where its server appears first */
	size_t row; /* in the settings table */
	size_t position; /* the operator's order */
};

static int by_place(const void *a, const void *b)
{
	const struct placed *left = a, *right = b;

	if (left->group != right->group)
		return left->group < right->group ? -1 : 1;
	if (left->row != right->row)
		return left->row < right->row ? -1 : 1;
	return (left->position > right->position) - (left->position < right->position);
}

static size_t group_of(char **servers, const char *path)
{
	for (size_t i = 0; servers[i] != NULL; i++) {
		char *above = mem_format("server %s", servers[i]);
		bool below = is_at_or_below(path, above);

		free(above);
		if (below)
			return i + 1;
	}
	return 0;
}

/* Pointers to the rows at and below `path`, sorted; free() them. */
static struct placed *place(const struct settings *settings, const char *path, size_t *count)
{
	struct placed *placed = mem_new_array(settings->count, sizeof *placed);
	size_t n_servers;
	char **servers = settings_names(settings, &n_servers, "server");

	*count = 0;
	for (size_t i = 0; i < settings->count; i++) {
		const struct setting *setting = &settings->items[i];
		const struct setting_row *row = setting_row_of(setting->path);

		if (is_at_or_below(setting->path, path))
			placed[(*count)++] = (struct placed){.setting = setting,
							     .group = group_of(servers, setting->path),
							     .row = row == NULL ? n_setting_rows : (size_t)(row - setting_rows),
							     .position = i};
	}
	path_words_free(servers);
	qsort(placed, *count, sizeof *placed, by_place);
	return placed;
}

void tree_below(const struct settings *settings, const char *path, struct settings *below)
{
	size_t count;
	struct placed *placed = place(settings, path, &count);

	for (size_t i = 0; i < count; i++)
		settings_add(below, placed[i].setting->path, placed[i].setting->value);
	free(placed);
}

void tree_put_line(struct buf *out, const struct setting *setting)
{
	const struct setting_row *row = setting_row_of(setting->path);

	buf_printf(out, "set %s", setting->path);
	if (setting_is_secret(row)) {
		buf_put_text(out, " " TREE_HIDDEN);
	} else if (setting->value[0] != '\0') {
		buf_put_byte(out, ' ');
		word_put(out, setting->value);
	}
}

/* ---- two configurations ---- */

static void only_in(const struct settings *these, const struct settings *those, struct settings *only)
{
	for (size_t i = 0; i < these->count; i++) {
		const struct setting *setting = &these->items[i];

		if (find_row(those, setting->path, setting->value) == NO_ROW)
			settings_add(only, setting->path, setting->value);
	}
}

void tree_difference(const struct settings *from, const struct settings *to, struct settings *removed, struct settings *added)
{
	only_in(from, to, removed);
	only_in(to, from, added);
}

static void mark_all(const struct settings *settings, char sign, struct settings *all)
{
	for (size_t i = 0; i < settings->count; i++) {
		char value_sign[2] = {sign, '\0'};
		char *value = mem_format("%s%s", value_sign, settings->items[i].value);

		settings_add(all, settings->items[i].path, value);
		free(value);
	}
}

size_t tree_compare(const struct settings *from, const struct settings *to, tree_line *line, void *arg)
{
	struct settings removed = {0}, added = {0}, all = {0};
	struct placed *placed;
	size_t count;

	tree_difference(from, to, &removed, &added);
	mark_all(&removed, '-', &all);
	mark_all(&added, '+', &all);
	placed = place(&all, "", &count);
	for (size_t i = 0; line != NULL && i < count; i++) {
		struct setting setting = *placed[i].setting;
		char sign = *setting.value++;

		line(sign, &setting, arg);
	}
	free(placed);
	settings_clear(&all);
	settings_clear(&removed);
	settings_clear(&added);
	return count;
}

static bool conflicts(const struct settings *base, const struct settings *theirs, const struct setting *added)
{
	const struct setting_row *row = setting_row_of(added->path);
	const char *before = settings_value(base, "%s", added->path), *now = settings_value(theirs, "%s", added->path);

	if (row == NULL || row->repeatable || now == NULL || strcmp(now, added->value) == 0)
		return false;
	return before == NULL || strcmp(before, now) != 0;
}

bool tree_merge(const struct settings *base, const struct settings *mine, const struct settings *theirs, struct settings *merged,
		struct err *err)
{
	struct settings removed = {0}, added = {0}, result = {0};
	bool fine = true;

	tree_difference(base, mine, &removed, &added);
	settings_copy(&result, theirs);
	for (size_t i = 0; i < removed.count; i++) {
		size_t at = find_row(&result, removed.items[i].path, removed.items[i].value);

		if (at != NO_ROW)
			remove_row(&result, at);
	}
	for (size_t i = 0; fine && i < added.count; i++) {
		const struct setting *setting = &added.items[i];

		if (conflicts(base, theirs, setting))
			fine = err_set(err, ERR_EXISTS, "%s was changed by both", setting->path);
		else if (find_row(&result, setting->path, setting->value) == NO_ROW)
			settings_add(&result, setting->path, setting->value);
	}
	settings_clear(&removed);
	settings_clear(&added);
	if (fine)
		*merged = result;
	else
		settings_clear(&result);
	return fine;
}

bool tree_equal(const struct settings *a, const struct settings *b)
{
	return a->count == b->count && tree_compare(a, b, NULL, NULL) == 0;
}
