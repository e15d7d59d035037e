/*
 * The one description of every setting (design §5): path, type, default, help, how often. The console's grammar, the
 * checks of commit, the relay's defaults and the manual's tables all come from this table; adding a setting is adding
 * a row. Pure.
 */
#ifndef INKAN_STORE_SETTINGS_H
#define INKAN_STORE_SETTINGS_H

#include "provisioning/store/snapshot.h"

enum setting_type {
	SETTING_FLAG, /* presence alone: `smime enabled` */
	SETTING_TEXT,
	SETTING_WORD, /* one of `choices` */
	SETTING_NUMBER, /* least..most */
	SETTING_SIZE, /* bytes: 50M, 64K */
	SETTING_DURATION, /* 2s 5m 1h 5d */
	SETTING_DURATIONS, /* comma-separated */
	SETTING_HOST_NAME,
	SETTING_ADDRESS_PORT, /* 0.0.0.0:25, [::1]:25 */
	SETTING_PREFIX, /* 192.0.2.0/24, 2001:db8::/32, or one address */
	SETTING_NEXT_HOP, /* HOST[:PORT] (port 25 by default), [ADDRESS]:PORT, or maildir:PATH */
	SETTING_REGEX, /* PCRE2, caseless, UTF-8 off */
	SETTING_MAIL_ADDRESS,
	SETTING_HEADER_NAME,
	SETTING_PATH, /* absolute file or directory name */
	SETTING_NAME, /* letters, digits, - _ . : a server's or user's name */
	SETTING_PIN_SOURCE, /* operator, or file:PATH */
	SETTING_PASSWORD, /* stored as a crypt(5) hash (password.h); prompted for and never shown */
	SETTING_SEALED, /* a secret sealed under a key of the token, "sealed:HEX"; prompted for and never shown */
	SETTING_NAME_SERVER, /* ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT (port 53 by default) */
	SETTING_TLS_PIN, /* "sha256:" and 64 hexadecimal digits */
	SETTING_SOURCE, /* of commands: a path, zmodem, usb:NAME */
	SETTING_URL /* https://HOST[:PORT]/…; http:// on loopback alone */
};

#define SETTING_SEALED_SCHEME "sealed:"
#define SETTING_TLS_PIN_SCHEME "sha256:"

struct setting_row {
	/* A form (form.h): words of the path; one in angle brackets is a key: "server <server:name> smtp listen <address-port>".
	 */
	const char *path;
	enum setting_type type; /* of the value; SETTING_FLAG for a row that is presence alone */
	bool repeatable; /* several values of the same path */
	const char *choices; /* SETTING_WORD: "none|starttls|implicit" */
	int64_t least, most; /* SETTING_NUMBER, SETTING_SIZE, SETTING_DURATION(S, in seconds) */
	const char *fallback; /* the default as the operator would type it; NULL: none */
	const char *help; /* one line, imperative, no full stop */
};

extern const struct setting_row setting_rows[];
extern const size_t n_setting_rows;

/* Is the value prompted for and never shown? NULL: no. */
bool setting_is_secret(const struct setting_row *row);

/* The row of a concrete path, or NULL. */
const struct setting_row *setting_row_of(const char *path);

/* The least and the most value of a number, size or duration, as they are typed ("1K", "5m"); false: it has no range. */
#define SETTING_RANGE_BYTES 24
bool setting_range(const struct setting_row *row, char least[static SETTING_RANGE_BYTES], char most[static SETTING_RANGE_BYTES]);

/* Checks a value against its row: ERR_INVALID with a text that names the allowed form or range. */
bool setting_check_value(const struct setting_row *row, const char *value, struct err *err) MUST_USE;

/*
 * Checks a whole configuration: every path known, every key and value valid, nothing single given twice, and what
 * belongs together complete (setting_rules of settings_check.c). Whether a named certificate is registered is the
 * store's business (store_resolve_certificates). Errors begin with the path.
 */
bool settings_check(const struct settings *settings, struct err *err) MUST_USE;

/* The value of a path, or its default from the table, or NULL when it has none. */
const char *setting_effective(const struct settings *settings, const char *path, ...) PRINTF_LIKE(2, 3);

/* Typed readings of values that passed the check. */
int64_t setting_parse_duration_ms(const char *value); /* -1: malformed */
int64_t setting_parse_size(const char *value); /* -1: malformed */

/* The rows that every new server gets: carrier patterns and the Content-Type exclusion (design §5, service.md X1, X2). */
void settings_add_server_defaults(struct settings *settings, const char *server);

#endif
