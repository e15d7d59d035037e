/*
 * A snapshot: one revision of the configuration with the certificates that it means, as inkand hands it to the relay.
 * Pure data and codec: no SQLite, no file. Immutable once made.
 *
 * A setting is a path of words and a value. Paths are text: words joined by one space, a word that holds a blank or a
 * quote (or is empty) in double quotes with backslash escapes, as in the console (words.h):
 *     "server default smtp listen 127.0.0.1:2525"  (presence: value "")
 *     "server default smtp max-sessions"           "1000"
 *     "server default smime exclude recipient"     "^.*@docomo\\.ne\\.jp$"   (repeatable leaf: one row a value)
 *     "server default smime exclude header Content-Type"  "^multipart/signed"
 * Values that the operator did not set are not in the list: readers take defaults from settings.h.
 */
#ifndef INKAN_STORE_SNAPSHOT_H
#define INKAN_STORE_SNAPSHOT_H

#include "appliance/base/msg.h"

struct setting {
	char *path;
	char *value;
};

struct settings {
	struct setting *items; /* in order of the operator's rows: repeatable leaves keep their order */
	size_t count;
};

#define CERTIFICATE_EXPIRING_DAYS 60 /* before its end a certificate is warned of */

/* A certificate as the running configuration needs it. */
struct certificate {
	uint64_t id;
	char *address; /* as registered; a host name of one that serves TLS */
	char **names; /* rfc822Name of the leaf, or dNSName */
	size_t n_names;
	char *key_type; /* "RSA-2048", "EC-P256", "EC-P384" */
	struct bytes key_id;
	struct bytes *chain; /* DER, leaf first, no root */
	size_t n_chain;
	int64_t not_before, not_after; /* seconds since 1970, of the whole chain */
	bool tls; /* serves TLS and signs no mail; else the opposite */
};

struct snapshot {
	uint64_t revision;
	struct settings settings;
	struct certificate *certificates;
	size_t n_certificates;
};

void settings_add(struct settings *settings, const char *path, const char *value); /* copies; duplicates allowed */
void settings_clear(struct settings *settings);
void settings_copy(struct settings *to, const struct settings *from); /* `to` is empty */

/* The first value of exactly this path (printf form), or NULL. */
const char *settings_value(const struct settings *settings, const char *path, ...) PRINTF_LIKE(2, 3);

/* Splits a path into words (unquoted). The array ends with NULL; free with path_words_free. NULL: malformed. */
char **path_words(const char *path, size_t *count);
void path_words_free(char **words);
void path_append(struct buf *path, const char *word); /* adds a blank and quotes where needed */

/*
 * The distinct words that follow `prefix` in any path, in order of appearance: the names of servers, of listeners.
 * Returns a NULL-terminated array for path_words_free.
 */
char **settings_names(const struct settings *settings, size_t *count, const char *prefix, ...) PRINTF_LIKE(3, 4);

void certificate_clear(struct certificate *certificate);
struct snapshot *snapshot_new(void);
void snapshot_free(struct snapshot *snapshot);
void snapshot_encode(struct buf *out, const struct snapshot *snapshot);
struct snapshot *snapshot_decode(struct msg *msg, struct err *err);

#endif
