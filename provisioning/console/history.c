#include "provisioning/console/history.h"

#include <string.h>

#include "provisioning/store/settings.h"
#include "provisioning/store/words.h"

#define BEGINNING_LEAST 2 /* letters of a word that may stand for a longer one */

static bool may_stand_for(const struct buf *typed, struct bytes word)
{
	return typed->len >= BEGINNING_LEAST && typed->len <= word.len && memcmp(typed->data, word.data, typed->len) == 0;
}

/* The commands whose secrets are prompted for. */
static bool begins_secret_command(const struct buf *typed)
{
	static const char *const commands[] = {"account", "certificate", "hsm"};

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (may_stand_for(typed, bytes_text(commands[i])))
			return true;
	return false;
}

/* The last word of a setting whose value is prompted for. */
static bool names_secret(const struct buf *typed)
{
	for (size_t i = 0; i < n_setting_rows; i++) {
		const char *last = strrchr(setting_rows[i].path, ' ');

		if (last != NULL && setting_is_secret(&setting_rows[i]) && may_stand_for(typed, bytes_text(last + 1)))
			return true;
	}
	return false;
}

size_t history_safe_length(const char *line, size_t column)
{
	const char *cursor = line, *start;
	struct buf word = {0};
	size_t len = strlen(line), safe = len;

	for (size_t i = 0; safe == len && word_next(&cursor, &start, &word, NULL) == WORD_FOUND; i++) {
		if (i == 0 && begins_secret_command(&word))
			safe = column;
		else if (names_secret(&word))
			safe = (size_t)(cursor - line);
	}
	buf_wipe_clear(&word);
	return safe < len ? safe : len;
}
