/*
 * The table. Keyed paths (listen, next-hop, user, exclude header) are read with settings_names, since
 * a key may be there for a setting below it alone; repeatable leaves are one row a value, in the operator's order.
 */
#include "provisioning/store/settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/store/form.h"

#define DAY (24 * 3600)
#define SIZE_MAX_BYTES (INT64_C(2) << 30)

const struct setting_row setting_rows[] = {
    {"system host-name", SETTING_HOST_NAME, .help = "Name in greetings and Received (default: its own)"},
    {"system name-server", SETTING_NAME_SERVER, .repeatable = true, .help = "DNS server (default: those of /etc/resolv.conf)"},
    {"system banner", SETTING_TEXT, .help = "Shown before a login at the console; \\n: new line"},
    {"system idle-timeout", SETTING_DURATION, .least = 0, .most = DAY, .fallback = "30m",
     .help = "No key pressed so long ends a login (0s: never)"},
    {"system two-person", SETTING_WORD, .repeatable = true, .choices = "certificates|commit|accounts",
     .help = "Wait with these actions for a second administrator"},
    {"system approval-lifetime", SETTING_DURATION, .least = 60, .most = 30 * DAY, .fallback = "1d",
     .help = "Time to approve an action, then it is dropped"},
    {"system tls handshake-timeout", SETTING_DURATION, .least = 1, .most = 300, .fallback = "10s",
     .help = "Time for a TLS handshake, then it fails"},
    {"system tls max-handshakes", SETTING_NUMBER, .least = 1, .most = 65535, .fallback = "1024",
     .help = "TLS handshakes at once"},
    {"system tls max-handshakes-per-client", SETTING_NUMBER, .least = 1, .most = 65535, .fallback = "256",
     .help = "TLS handshakes at once of one client"},
    {"system tls max-handshakes-per-minute", SETTING_NUMBER, .least = 0, .most = 1000000, .fallback = "6000",
     .help = "Signed ones a minute of one client (0: any number)"},

    {"system metrics listen", SETTING_ADDRESS_PORT, .repeatable = true,
     .help = "Serve /metrics and /healthz here, without login"},

    {"hsm module", SETTING_PATH, .help = "PKCS#11 module of the HSM's vendor"},
    {"hsm token", SETTING_TEXT, .help = "Label of the token"},
    {"hsm backend", SETTING_WORD, .choices = "engine|cryptoki", .fallback = "engine", .help = "How the token is driven"},
    {"hsm processes", SETTING_NUMBER, .least = 1, .most = 32, .fallback = "2", .help = "HSM worker processes"},
    {"hsm threads", SETTING_NUMBER, .least = 1, .most = 64, .fallback = "8",
     .help = "Signing threads of a worker; engine: at most 16"},
    {"hsm pin-source", SETTING_PIN_SOURCE, .fallback = "operator", .help = "Where the PIN comes from: hsm login, or a file"},
    {"hsm import-minimum", SETTING_WORD, .choices = "unwrap|rewrap|create", .fallback = "rewrap",
     .help = "Lowest way that a key may be imported by"},
    {"hsm deadline", SETTING_DURATION, .least = 1, .most = 600, .fallback = "20s",
     .help = "Time for a signature, then the mail is put off"},
    {"hsm canary", SETTING_DURATION, .least = 1, .most = 86400, .fallback = "1m",
     .help = "Quiet before a signature that tries the HSM"},
    {"hsm module-writable", SETTING_PATH, .repeatable = true, .help = "Directory that the module may write in"},
    {"hsm module-environment <variable:name>", SETTING_TEXT, .help = "Environment variable of the module"},

    {"server <server:name>", SETTING_FLAG, .help = "Listeners and next hops with one set of rules"},
    {"server <server:name> smtp listen <listen:address-port>", SETTING_FLAG, .help = "Accept mail by SMTP here"},
    {"server <server:name> smtp listen <listen:address-port> tls", SETTING_WORD, .choices = "none|starttls|implicit",
     .fallback = "none", .help = "TLS of this listener"},
    {"server <server:name> smtp listen <listen:address-port> certificate", SETTING_HOST_NAME, .repeatable = true,
     .help = "TLS certificate shown here, one of each kind of key"},
    {"server <server:name> smtp allow-network", SETTING_PREFIX, .repeatable = true,
     .help = "Network that may send without authentication"},
    {"server <server:name> smtp auth", SETTING_WORD, .choices = "none|offered|optional|required", .fallback = "none",
     .help = "AUTH: no, within networks, instead of one, always"},
    {"server <server:name> smtp auth-without-tls", SETTING_FLAG, .help = "Offer AUTH on connections that are not encrypted"},
    {"server <server:name> smtp max-sessions", SETTING_NUMBER, .least = 1, .most = 100000, .fallback = "2000",
     .help = "Sessions at once"},
    {"server <server:name> smtp max-sessions-per-client", SETTING_NUMBER, .least = 1, .most = 100000, .fallback = "1000",
     .help = "Sessions at once of one client address"},
    {"server <server:name> smtp max-message-size", SETTING_SIZE, .least = 1 << 10, .most = SIZE_MAX_BYTES, .fallback = "50M",
     .help = "Largest message"},
    {"server <server:name> smtp max-recipients", SETTING_NUMBER, .least = 1, .most = 100000, .fallback = "1000",
     .help = "Recipients of a message"},
    {"server <server:name> smtp max-messages-per-session", SETTING_NUMBER, .least = 1, .most = 1000000, .fallback = "10000",
     .help = "Messages of a session"},
    {"server <server:name> smtp max-messages-per-minute", SETTING_NUMBER, .least = 0, .most = 1000000, .fallback = "0",
     .help = "Messages a minute of one client (0: any number)"},
    {"server <server:name> smtp receive-interval", SETTING_DURATION, .least = 0, .most = 3600, .fallback = "0s",
     .help = "Least time between two messages of one client"},
    {"server <server:name> smtp max-bad-commands", SETTING_NUMBER, .least = 1, .most = 1000, .fallback = "20",
     .help = "Faulty commands, then the session is closed"},
    {"server <server:name> smtp bad-command-delay", SETTING_DURATION, .least = 0, .most = 60, .fallback = "1s",
     .help = "Wait, once half of the faulty commands came"},
    {"server <server:name> smtp max-failed-logins", SETTING_NUMBER, .least = 1, .most = 1000, .fallback = "5",
     .help = "Failed logins of one client, then it must wait"},
    {"server <server:name> smtp max-command-length", SETTING_SIZE, .least = 1 << 10, .most = 64 << 10, .fallback = "2K",
     .help = "Longest command line"},
    {"server <server:name> smtp max-line-length", SETTING_SIZE, .least = 1 << 10, .most = SIZE_MAX_BYTES, .fallback = "10M",
     .help = "Longest line of a message"},
    {"server <server:name> smtp max-header-size", SETTING_SIZE, .least = 1 << 10, .most = 256 << 10, .fallback = "256K",
     .help = "Largest message header"},
    {"server <server:name> smtp max-header-fields", SETTING_NUMBER, .least = 10, .most = 100000, .fallback = "1000",
     .help = "Fields of a message header"},
    {"server <server:name> smtp bare-line-ends", SETTING_WORD, .choices = "reject|normalise", .fallback = "reject",
     .help = "Messages with CR or LF alone"},
    {"server <server:name> smtp idle-timeout", SETTING_DURATION, .least = 1, .most = 3600, .fallback = "5m",
     .help = "Silence, then the session is closed"},
    {"server <server:name> smtp session-timeout", SETTING_DURATION, .least = 1, .most = 7 * DAY, .fallback = "1h",
     .help = "Longest session"},
    {"server <server:name> received", SETTING_WORD, .choices = "normal|abbreviated|none", .fallback = "normal",
     .help = "Received field that is added"},

    {"server <server:name> api listen <listen:address-port>", SETTING_FLAG, .help = "Take mail by the HTTP API here"},
    {"server <server:name> api listen <listen:address-port> tls", SETTING_WORD, .choices = "none|implicit",
     .fallback = "implicit", .help = "TLS of this listener (HTTPS)"},
    {"server <server:name> api listen <listen:address-port> certificate", SETTING_HOST_NAME, .repeatable = true,
     .help = "TLS certificate shown here, one of each kind of key"},
    {"server <server:name> api max-connections", SETTING_NUMBER, .least = 1, .most = 100000, .fallback = "500",
     .help = "Connections of API clients at once"},
    {"server <server:name> api max-connections-per-client", SETTING_NUMBER, .least = 1, .most = 100000, .fallback = "200",
     .help = "Those of one client address"},

    {"server <server:name> user <user:name> password", SETTING_PASSWORD, .help = "Password of a sender (SMTP AUTH)"},
    {"server <server:name> user <user:name> certificate", SETTING_MAIL_ADDRESS, .repeatable = true,
     .help = "Address that it may sign as (default: every one)"},

    {"server <server:name> next-hop <host:next-hop>", SETTING_FLAG, .help = "Where mail is delivered to"},
    {"server <server:name> next-hop <host:next-hop> priority", SETTING_NUMBER, .least = 0, .most = 65535, .fallback = "10",
     .help = "Lower is tried first"},
    {"server <server:name> next-hop <host:next-hop> weight", SETTING_NUMBER, .least = 1, .most = 65535, .fallback = "10",
     .help = "Share among next hops of the same priority"},
    {"server <server:name> next-hop <host:next-hop> tls", SETTING_WORD, .choices = "none|may|require|implicit", .fallback = "may",
     .help = "TLS: never, if it can, verified, from the start"},
    {"server <server:name> next-hop <host:next-hop> tls-ca-file", SETTING_PATH,
     .help = "CAs to verify it with (default: the system's)"},
    {"server <server:name> next-hop <host:next-hop> tls-pin", SETTING_TLS_PIN, .repeatable = true,
     .help = "Certificate or public key that it must show"},
    {"server <server:name> next-hop <host:next-hop> tls-name", SETTING_HOST_NAME,
     .help = "Name in its certificate (default: the host)"},
    {"server <server:name> next-hop <host:next-hop> user", SETTING_TEXT, .help = "Log in there with this name (SMTP AUTH)"},
    {"server <server:name> next-hop <host:next-hop> password", SETTING_SEALED, .help = "Password to log in there with"},
    {"server <server:name> next-hop <host:next-hop> auth-without-tls", SETTING_FLAG,
     .help = "Log in although TLS verifies no next hop"},
    {"server <server:name> webhook <url:url>", SETTING_FLAG, .help = "Post what becomes of mail to this program"},
    {"server <server:name> webhook <url:url> api-key", SETTING_SEALED, .help = "Sent as api_key"},
    {"server <server:name> webhook <url:url> secret", SETTING_SEALED, .help = "Key of the signature in X-Inkan-Signature"},
    {"server <server:name> webhook <url:url> event", SETTING_WORD, .repeatable = true, .choices = "deliveries|bounces",
     .help = "What is posted (default: both)"},
    {"server <server:name> webhook <url:url> interval", SETTING_DURATION, .least = 1, .most = 3600, .fallback = "1s",
     .help = "Longest wait for a batch to fill"},
    {"server <server:name> webhook <url:url> batch", SETTING_NUMBER, .least = 1, .most = 1000, .fallback = "100",
     .help = "Events of one request"},
    {"server <server:name> webhook <url:url> backlog", SETTING_NUMBER, .least = 100, .most = 10000000, .fallback = "100000",
     .help = "Events that may wait; then the oldest are dropped"},
    {"server <server:name> webhook <url:url> ca-file", SETTING_PATH, .help = "CAs to verify it with (default: the system's)"},

    {"server <server:name> mx-tls", SETTING_WORD, .choices = "none|may|require", .fallback = "may",
     .help = "TLS to mail exchangers, without a next-hop"},
    {"server <server:name> mx-port", SETTING_NUMBER, .least = 1, .most = 65535, .fallback = "25",
     .help = "Port of mail exchangers, without a next-hop"},
    {"server <server:name> delivery-connections", SETTING_NUMBER, .least = 1, .most = 1000, .fallback = "20",
     .help = "Connections at once to a next hop"},

    {"server <server:name> smime enabled", SETTING_FLAG, .help = "Sign mail with S/MIME"},
    {"server <server:name> smime certificate", SETTING_MAIL_ADDRESS, .repeatable = true,
     .help = "Operate the certificate of this address here"},
    {"server <server:name> smime unsigned-sender", SETTING_WORD, .choices = "relay|refuse", .fallback = "relay",
     .help = "Mail whose From has no certificate"},
    {"server <server:name> smime padding", SETTING_WORD, .choices = "pkcs1|pss", .fallback = "pkcs1",
     .help = "Padding of RSA signatures; some readers refuse pss"},
    {"server <server:name> smime unsignable", SETTING_WORD, .choices = "refuse|relay", .fallback = "refuse",
     .help = "Mail that cannot be signed safely"},
    {"server <server:name> smime exclude recipient", SETTING_REGEX, .repeatable = true,
     .help = "Recipients that get no signature"},
    {"server <server:name> smime exclude header <header:header-name>", SETTING_REGEX, .repeatable = true,
     .help = "Mail with a matching field is not signed"},

    {"server <server:name> intelligent-bcc <rule:name> header <header:header-name>", SETTING_REGEX,
     .help = "Copy mail whose field matches; every field given"},
    {"server <server:name> intelligent-bcc <rule:name> address", SETTING_MAIL_ADDRESS, .repeatable = true,
     .help = "Where the copy goes, always unsigned"},
    {"server <server:name> intelligent-bcc <rule:name> sender", SETTING_MAIL_ADDRESS,
     .help = "Return path of the copy (default: none, no bounce)"},

    {"server <server:name> log retention", SETTING_DURATION, .least = 60, .most = 400 * DAY, .fallback = "30d",
     .help = "How long the delivery log is kept"},
    {"server <server:name> queue lifetime", SETTING_DURATION, .least = 1, .most = 30 * DAY, .fallback = "5d",
     .help = "How long delivery is tried before mail is bounced"},
    {"server <server:name> queue retry", SETTING_DURATIONS, .least = 1, .most = DAY, .fallback = "1m,5m,15m,1h",
     .help = "Waits between attempts; the last one repeats"},
    {"server <server:name> queue delay-warning", SETTING_DURATION, .least = 1, .most = 30 * DAY,
     .help = "Warn the sender of mail that waits so long"},
};

const size_t n_setting_rows = sizeof setting_rows / sizeof *setting_rows;

bool setting_is_secret(const struct setting_row *row)
{
	return row != NULL && (row->type == SETTING_PASSWORD || row->type == SETTING_SEALED);
}

static bool form_matches(const char *form, char **words, size_t n_words)
{
	struct form_word word;
	size_t i = 0;

	for (; form_next(&form, &word); i++) {
		if (i == n_words || (!word.typed && !bytes_equal_text(word.text, words[i])))
			return false;
	}
	return i == n_words;
}

const struct setting_row *setting_row_of(const char *path)
{
	const struct setting_row *found = NULL;
	size_t n_words;
	char **words = path_words(path, &n_words);

	for (size_t i = 0; words != NULL && found == NULL && i < n_setting_rows; i++) {
		if (form_matches(setting_rows[i].path, words, n_words))
			found = &setting_rows[i];
	}
	path_words_free(words);
	return found;
}

const char *setting_effective(const struct settings *settings, const char *path, ...)
{
	const struct setting_row *row;
	const char *value;
	char *wanted = NULL;
	va_list args;

	va_start(args, path);
	if (vasprintf(&wanted, path, args) < 0)
		wanted = mem_string("");
	va_end(args);
	value = settings_value(settings, "%s", wanted);
	if (value == NULL) {
		row = setting_row_of(wanted);
		value = row == NULL ? NULL : row->fallback;
	}
	free(wanted);
	return value;
}

static bool check_choice(const struct setting_row *row, const char *value, struct err *err)
{
	struct bytes rest = bytes_text(row->choices), choice;

	while (form_next_choice(&rest, &choice)) {
		if (bytes_equal_text(choice, value))
			return true;
	}
	return err_set(err, ERR_INVALID, "\"%s\" is none of %s", value, row->choices);
}

/* In the largest unit that it is a whole number of; units[] ends with the factor 1. */
struct unit {
	int64_t factor;
	const char *name;
};

static const struct unit numbers[] = {{1, ""}};
static const struct unit sizes[] = {{1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}, {1, ""}};
static const struct unit durations[] = {{DAY, "d"}, {3600, "h"}, {60, "m"}, {1, "s"}};

static void put_in_units(char out[static SETTING_RANGE_BYTES], int64_t value, const struct unit *unit)
{
	while (unit->factor > 1 && (value == 0 || value % unit->factor != 0))
		unit++;
	snprintf(out, SETTING_RANGE_BYTES, "%lld%s", (long long)(value / unit->factor), unit->name);
}

static const struct unit *units_of(enum setting_type type)
{
	switch (type) {
	case SETTING_NUMBER:
		return numbers;
	case SETTING_SIZE:
		return sizes;
	case SETTING_DURATION:
	case SETTING_DURATIONS:
		return durations;
	default:
		return NULL;
	}
}

bool setting_range(const struct setting_row *row, char least[static SETTING_RANGE_BYTES], char most[static SETTING_RANGE_BYTES])
{
	const struct unit *units = units_of(row->type);

	if (units == NULL)
		return false;
	put_in_units(least, row->least, units);
	put_in_units(most, row->most, units);
	return true;
}

static bool check_range(const struct setting_row *row, const char *value, int64_t number, int64_t scale, struct err *err)
{
	char least[SETTING_RANGE_BYTES], most[SETTING_RANGE_BYTES];

	if (number >= row->least * scale && number <= row->most * scale)
		return true;
	setting_range(row, least, most);
	return err_set(err, ERR_INVALID, "%s is not between %s and %s", value, least, most);
}

static bool check_duration_range(const struct setting_row *row, const char *value, struct err *err)
{
	return check_range(row, value, setting_parse_duration_ms(value), 1000, err);
}

static bool check_durations(const struct setting_row *row, const char *value, struct err *err)
{
	char *list = mem_string(value), *rest = list, *item;
	bool valid = true;

	while (valid && (item = strsep(&rest, ",")) != NULL)
		valid = setting_type_check(SETTING_DURATION, item, err) && check_duration_range(row, item, err);
	free(list);
	return valid;
}

bool setting_check_value(const struct setting_row *row, const char *value, struct err *err)
{
	if (!setting_type_check(row->type, value, err))
		return false;
	switch (row->type) {
	case SETTING_WORD:
		return check_choice(row, value, err);
	case SETTING_NUMBER:
		return check_range(row, value, strtoll(value, NULL, 10), 1, err);
	case SETTING_SIZE:
		return check_range(row, value, setting_parse_size(value), 1, err);
	case SETTING_DURATION:
		return check_duration_range(row, value, err);
	case SETTING_DURATIONS:
		return check_durations(row, value, err);
	default:
		return true;
	}
}
