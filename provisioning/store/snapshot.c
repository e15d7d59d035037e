#include "provisioning/store/snapshot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/store/words.h"

/* ---- settings ---- */

void settings_add(struct settings *settings, const char *path, const char *value)
{
	settings->items = mem_resize(settings->items, settings->count + 1, sizeof *settings->items);
	settings->items[settings->count++] = (struct setting){.path = mem_string(path), .value = mem_string(value)};
}

void settings_clear(struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++) {
		free(settings->items[i].path);
		free(settings->items[i].value);
	}
	free(settings->items);
	*settings = (struct settings){0};
}

void settings_copy(struct settings *to, const struct settings *from)
{
	for (size_t i = 0; i < from->count; i++)
		settings_add(to, from->items[i].path, from->items[i].value);
}

static char *format_path(const char *format, va_list args)
{
	char *path = NULL;

	if (vasprintf(&path, format, args) < 0)
		return mem_string("");
	return path;
}

const char *settings_value(const struct settings *settings, const char *path, ...)
{
	const char *value = NULL;
	va_list args;
	char *wanted;

	va_start(args, path);
	wanted = format_path(path, args);
	va_end(args);
	for (size_t i = 0; value == NULL && i < settings->count; i++) {
		if (strcmp(settings->items[i].path, wanted) == 0)
			value = settings->items[i].value;
	}
	free(wanted);
	return value;
}

/* ---- paths ---- */

static void words_add(char ***words, size_t *count, const char *word)
{
	*words = mem_resize(*words, *count + 2, sizeof **words);
	(*words)[(*count)++] = mem_string(word);
	(*words)[*count] = NULL;
}

char **path_words(const char *path, size_t *count)
{
	char **words = mem_new_array(1, sizeof *words);
	enum word_result result;
	struct buf word = {0};
	const char *start;
	size_t found = 0;

	while ((result = word_next(&path, &start, &word, NULL)) == WORD_FOUND)
		words_add(&words, &found, buf_text(&word));
	buf_clear(&word);
	if (result != WORD_END) {
		path_words_free(words);
		return NULL;
	}
	*count = found;
	return words;
}

void path_words_free(char **words)
{
	for (size_t i = 0; words != NULL && words[i] != NULL; i++)
		free(words[i]);
	free(words);
}

void path_append(struct buf *path, const char *word)
{
	if (path->len > 0)
		buf_put_byte(path, ' ');
	word_put(path, word);
}

static bool is_listed(char **words, const char *word)
{
	for (size_t i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], word) == 0)
			return true;
	}
	return false;
}

char **settings_names(const struct settings *settings, size_t *count, const char *prefix, ...)
{
	char **names = mem_new_array(1, sizeof *names);
	struct buf word = {0};
	size_t found = 0, len;
	char *wanted;
	va_list args;

	va_start(args, prefix);
	wanted = format_path(prefix, args);
	va_end(args);
	len = strlen(wanted);
	for (size_t i = 0; i < settings->count; i++) {
		const char *rest = settings->items[i].path, *start;

		if (strncmp(rest, wanted, len) != 0 || (len > 0 && rest[len] != ' '))
			continue;
		rest += len;
		if (word_next(&rest, &start, &word, NULL) == WORD_FOUND && !is_listed(names, buf_text(&word)))
			words_add(&names, &found, buf_text(&word));
	}
	buf_clear(&word);
	free(wanted);
	*count = found;
	return names;
}

/* ---- certificates and snapshots ---- */

void certificate_clear(struct certificate *certificate)
{
	for (size_t i = 0; i < certificate->n_names; i++)
		free(certificate->names[i]);
	for (size_t i = 0; i < certificate->n_chain; i++)
		free((void *)certificate->chain[i].data);
	free(certificate->names);
	free(certificate->chain);
	free((void *)certificate->key_id.data);
	free(certificate->address);
	free(certificate->key_type);
	*certificate = (struct certificate){0};
}

struct snapshot *snapshot_new(void)
{
	return mem_new(sizeof(struct snapshot));
}

void snapshot_free(struct snapshot *snapshot)
{
	if (snapshot == NULL)
		return;
	for (size_t i = 0; i < snapshot->n_certificates; i++)
		certificate_clear(&snapshot->certificates[i]);
	free(snapshot->certificates);
	settings_clear(&snapshot->settings);
	free(snapshot);
}

static void encode_certificate(struct buf *out, const struct certificate *certificate)
{
	msg_put_u64(out, certificate->id);
	msg_put_text(out, certificate->address);
	msg_put_u32(out, (uint32_t)certificate->n_names);
	for (size_t i = 0; i < certificate->n_names; i++)
		msg_put_text(out, certificate->names[i]);
	msg_put_text(out, certificate->key_type);
	msg_put_bytes(out, certificate->key_id);
	msg_put_u32(out, (uint32_t)certificate->n_chain);
	for (size_t i = 0; i < certificate->n_chain; i++)
		msg_put_bytes(out, certificate->chain[i]);
	msg_put_i64(out, certificate->not_before);
	msg_put_i64(out, certificate->not_after);
	msg_put_u8(out, certificate->tls ? 1 : 0);
}

void snapshot_encode(struct buf *out, const struct snapshot *snapshot)
{
	msg_put_u64(out, snapshot->revision);
	msg_put_u32(out, (uint32_t)snapshot->settings.count);
	for (size_t i = 0; i < snapshot->settings.count; i++) {
		msg_put_text(out, snapshot->settings.items[i].path);
		msg_put_text(out, snapshot->settings.items[i].value);
	}
	msg_put_u32(out, (uint32_t)snapshot->n_certificates);
	for (size_t i = 0; i < snapshot->n_certificates; i++)
		encode_certificate(out, &snapshot->certificates[i]);
}

static struct bytes get_owned_bytes(struct msg *msg)
{
	struct bytes view = msg_get_bytes(msg);

	if (view.len == 0)
		return (struct bytes){0};
	return bytes_of(mem_copy(view.data, view.len), view.len);
}

static void decode_settings(struct msg *msg, struct settings *settings)
{
	uint32_t count = msg_get_count(msg, 8);

	for (uint32_t i = 0; i < count && !msg->bad; i++) {
		settings->items = mem_resize(settings->items, settings->count + 1, sizeof *settings->items);
		settings->items[settings->count].path = msg_get_text(msg);
		settings->items[settings->count++].value = msg_get_text(msg);
	}
}

static void decode_certificate(struct msg *msg, struct certificate *certificate)
{
	uint32_t count;
	unsigned tls;

	certificate->id = msg_get_u64(msg);
	certificate->address = msg_get_text(msg);
	count = msg_get_count(msg, 4);
	certificate->names = mem_new_array(count, sizeof *certificate->names);
	for (; certificate->n_names < count; certificate->n_names++)
		certificate->names[certificate->n_names] = msg_get_text(msg);
	certificate->key_type = msg_get_text(msg);
	certificate->key_id = get_owned_bytes(msg);
	count = msg_get_count(msg, 4);
	certificate->chain = mem_new_array(count, sizeof *certificate->chain);
	for (; certificate->n_chain < count; certificate->n_chain++)
		certificate->chain[certificate->n_chain] = get_owned_bytes(msg);
	certificate->not_before = msg_get_i64(msg);
	certificate->not_after = msg_get_i64(msg);
	tls = msg_get_u8(msg);
	msg->bad |= tls > 1;
	certificate->tls = tls == 1;
}

/* id, address, names, key type, key id, chain, two times and the purpose, each empty */
#define CERTIFICATE_LEAST_BYTES (8 + 4 + 4 + 4 + 4 + 4 + 16 + 1)

struct snapshot *snapshot_decode(struct msg *msg, struct err *err)
{
	struct snapshot *snapshot = snapshot_new();
	uint32_t count;

	snapshot->revision = msg_get_u64(msg);
	decode_settings(msg, &snapshot->settings);
	count = msg_get_count(msg, CERTIFICATE_LEAST_BYTES);
	snapshot->certificates = mem_new_array(count, sizeof *snapshot->certificates);
	for (; snapshot->n_certificates < count && !msg->bad; snapshot->n_certificates++)
		decode_certificate(msg, &snapshot->certificates[snapshot->n_certificates]);
	if (msg_end(msg, "snapshot", err))
		return snapshot;
	snapshot_free(snapshot);
	return NULL;
}
