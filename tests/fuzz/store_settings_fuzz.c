/*
 * Any text as a value of every setting: an error has a text that is one line, durations and sizes that are taken lie in the range
 * of their row; and any octets as a snapshot, which inkand sends the relay.
 */
#include "provisioning/store/settings.h"
#include "provisioning/store/words.h"
#include "tests/fuzz/fuzz.h"

static void check_value(const struct setting_row *row, const char *value)
{
	struct err err = {0};

	if (!setting_check_value(row, value, &err)) {
		require(err.text[0] != '\0' && (strchr(value, '\n') != NULL || strchr(err.text, '\n') == NULL));
		return;
	}
	if (row->type == SETTING_DURATION)
		require(setting_parse_duration_ms(value) >= row->least * 1000 &&
			setting_parse_duration_ms(value) <= row->most * 1000);
	if (row->type == SETTING_SIZE)
		require(setting_parse_size(value) >= row->least && setting_parse_size(value) <= row->most);
}

/* A word that is written is read back as itself. */
static void check_word(const char *value)
{
	struct buf line = {0}, word = {0};
	const char *cursor, *start;

	word_put(&line, value);
	cursor = buf_text(&line);
	require(word_next(&cursor, &start, &word, NULL) == WORD_FOUND && strcmp(buf_text(&word), value) == 0);
	require(word_next(&cursor, &start, &word, NULL) == WORD_END);
	buf_clear(&line);
	buf_clear(&word);
}

static void check_snapshot(struct bytes in)
{
	struct msg msg = msg_of(in);
	struct err err = {0};
	struct snapshot *snapshot = snapshot_decode(&msg, &err);
	struct buf once = {0};

	if (snapshot == NULL)
		return;
	require(settings_check(&snapshot->settings, &err) || err.text[0] != '\0');
	snapshot_encode(&once, snapshot);
	snapshot_free(snapshot);
	msg = msg_of(buf_bytes(&once));
	snapshot = snapshot_decode(&msg, &err);
	require(snapshot != NULL);
	snapshot_free(snapshot);
	buf_clear(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *value = bytes_string(bytes_of(data, size));
	char **words;
	size_t count;

	for (size_t i = 0; i < n_setting_rows; i++)
		check_value(&setting_rows[i], value);
	if (strpbrk(value, "\n\r") == NULL)
		check_word(value);
	words = path_words(value, &count);
	if (words != NULL) {
		require(words[count] == NULL);
		path_words_free(words);
	}
	(void)setting_row_of(value);
	check_snapshot(bytes_of(data, size));
	free(value);
	return 0;
}
