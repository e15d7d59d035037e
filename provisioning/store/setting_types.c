/* What each type of setting accepts. The texts name the allowed form, for the operator who typed the value. */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "provisioning/store/form.h"

#define NAME_MAX_BYTES 64
#define TEXT_MAX_BYTES 4096
#define REGEX_MAX_BYTES 1024 /* PATTERN_MAX_BYTES of the relay */
#define HOST_NAME_MAX_BYTES 253 /* RFC 1035 §2.3.4 */
#define MAIL_ADDRESS_MAX_BYTES 254 /* RFC 5321 §4.5.3.1.3, without the angle brackets */
#define MAILDIR_SCHEME "maildir:"
#define SEALED_MAX_BYTES 16384
#define FILE_SCHEME "file:"

static bool only(const char *value, const char *allowed)
{
	for (const char *c = value; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c) && strchr(allowed, *c) == NULL)
			return false;
	}
	return *value != '\0';
}

static bool check_text(const char *value, struct err *err)
{
	if (strlen(value) > TEXT_MAX_BYTES)
		return err_set(err, ERR_INVALID, "longer than %d bytes", TEXT_MAX_BYTES);
	for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++) {
		if (*c < 0x20 || *c == 0x7f)
			return err_set(err, ERR_INVALID, "holds a control character");
	}
	return *value != '\0' || err_set(err, ERR_INVALID, "is empty");
}

static bool check_name(const char *value, struct err *err)
{
	if (!only(value, "-_.") || strlen(value) > NAME_MAX_BYTES)
		return err_set(err, ERR_INVALID, "\"%s\" is no name: letters, digits, - _ . (at most %d)", value, NAME_MAX_BYTES);
	return true;
}

/* RFC 1123 §2.1 */
static bool check_host_name(const char *value, struct err *err)
{
	if (!only(value, "-.") || strlen(value) > HOST_NAME_MAX_BYTES || *value == '.' || *value == '-' ||
	    strstr(value, "..") != NULL)
		return err_set(err, ERR_INVALID, "\"%s\" is no host name", value);
	return true;
}

static bool check_port(const char *text, struct err *err)
{
	unsigned long port = strtoul(text, NULL, 10);

	if (*text == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 9 || port < 1 || port > 65535)
		return err_set(err, ERR_INVALID, "port \"%s\" is not a number from 1 to 65535", text);
	return true;
}

static bool is_ip_address(const char *text, size_t len, int family)
{
	char address[INET6_ADDRSTRLEN];
	uint8_t octets[16];

	return len < sizeof address && snprintf(address, sizeof address, "%.*s", (int)len, text) > 0 &&
	       inet_pton(family, address, octets) == 1;
}

/* ADDRESS:PORT and [ADDRESS]:PORT. */
static bool check_address_port(const char *value, struct err *err)
{
	const char *colon = strrchr(value, ':');
	size_t len = colon == NULL ? 0 : (size_t)(colon - value);
	bool address;

	if (len > 2 && *value == '[' && value[len - 1] == ']')
		address = is_ip_address(value + 1, len - 2, AF_INET6);
	else
		address = is_ip_address(value, len, AF_INET);
	if (!address)
		return err_set(err, ERR_INVALID, "\"%s\" is not ADDRESS:PORT (0.0.0.0:25, [::]:25)", value);
	return check_port(colon + 1, err);
}

static bool host_bits_are_zero(const uint8_t *octets, unsigned bits, unsigned all)
{
	for (unsigned i = bits; i < all; i++) {
		if ((octets[i / 8] >> (7 - i % 8) & 1) != 0)
			return false;
	}
	return true;
}

static bool check_prefix(const char *value, struct err *err)
{
	const char *slash = strchr(value, '/');
	size_t len = slash == NULL ? strlen(value) : (size_t)(slash - value);
	bool v6 = memchr(value, ':', len) != NULL;
	unsigned all = v6 ? 128 : 32, bits = all;
	char address[INET6_ADDRSTRLEN];
	uint8_t octets[16];

	if (!is_ip_address(value, len, v6 ? AF_INET6 : AF_INET))
		return err_set(err, ERR_INVALID, "\"%s\" is not a network (192.0.2.0/24, 2001:db8::/32) or address", value);
	if (slash != NULL) {
		if (slash[1] == '\0' || strspn(slash + 1, "0123456789") != strlen(slash + 1) || strlen(slash + 1) > 3)
			return err_set(err, ERR_INVALID, "\"%s\" is not a prefix length", slash + 1);
		bits = (unsigned)strtoul(slash + 1, NULL, 10);
	}
	if (bits > all)
		return err_set(err, ERR_INVALID, "prefix length %u is not between 0 and %u", bits, all);
	snprintf(address, sizeof address, "%.*s", (int)len, value);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, address, octets) != 1 || !host_bits_are_zero(octets, bits, all))
		return err_set(err, ERR_INVALID, "\"%s\" has bits set behind its prefix length", value);
	return true;
}

static bool check_next_hop(const char *value, struct err *err)
{
	const char *colon = strchr(value, ':');
	char *host;
	bool valid;

	if (strncmp(value, MAILDIR_SCHEME, sizeof MAILDIR_SCHEME - 1) == 0)
		return value[sizeof MAILDIR_SCHEME - 1] == '/' ||
		       err_set(err, ERR_INVALID, "\"%s\": the directory of a maildir begins with /", value);
	if (*value == '[') {
		const char *end = strchr(value, ']');

		if (end == NULL || !is_ip_address(value + 1, (size_t)(end - value - 1), AF_INET6) ||
		    (end[1] != '\0' && end[1] != ':'))
			return err_set(err, ERR_INVALID, "\"%s\" is not [ADDRESS]:PORT", value);
		return end[1] == '\0' || check_port(end + 2, err);
	}
	host = mem_string_n(value, colon == NULL ? strlen(value) : (size_t)(colon - value));
	valid = check_host_name(host, NULL);
	free(host);
	if (!valid)
		return err_set(err, ERR_INVALID, "\"%s\" is not HOST[:PORT], [ADDRESS]:PORT or maildir:DIRECTORY", value);
	return colon == NULL || check_port(colon + 1, err);
}

size_t setting_regex_fault(const char *text)
{
	PCRE2_SIZE offset;
	int number;
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &number, &offset, NULL);

	if (code == NULL)
		return offset;
	pcre2_code_free(code);
	return strlen(text) + 1;
}

static bool check_regex(const char *value, struct err *err)
{
	PCRE2_UCHAR message[256];
	PCRE2_SIZE offset;
	pcre2_code *code;
	int number;

	if (!check_text(value, err))
		return false;
	if (strlen(value) > REGEX_MAX_BYTES)
		return err_set(err, ERR_INVALID, "expression longer than %d bytes", REGEX_MAX_BYTES);
	code = pcre2_compile((PCRE2_SPTR)value, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &number, &offset, NULL);
	if (code == NULL) {
		pcre2_get_error_message(number, message, sizeof message);
		return err_set(err, ERR_INVALID, "expression does not compile: %s (at character %zu)", (char *)message,
			       offset + 1);
	}
	pcre2_code_free(code);
	return true;
}

/* As loose as the carriers' old addresses are (a..b@docomo.ne.jp): one @ with a host name behind, no blank. */
static bool check_mail_address(const char *value, struct err *err)
{
	const char *at = strrchr(value, '@');

	if (at == NULL || at == value || strlen(value) > MAIL_ADDRESS_MAX_BYTES || strpbrk(value, " \t<>,;\"") != NULL ||
	    !check_text(value, NULL) || !check_host_name(at + 1, NULL))
		return err_set(err, ERR_INVALID, "\"%s\" is not a mail address", value);
	return true;
}

/* RFC 5322 §3.6.8: printable but the colon. */
static bool check_header_name(const char *value, struct err *err)
{
	if (!check_text(value, NULL) || strpbrk(value, " :") != NULL || strlen(value) > NAME_MAX_BYTES)
		return err_set(err, ERR_INVALID, "\"%s\" is not the name of a header field", value);
	return true;
}

static bool check_path(const char *value, struct err *err)
{
	if (!check_text(value, err))
		return false;
	return *value == '/' || err_set(err, ERR_INVALID, "\"%s\" is no absolute path: it does not begin with /", value);
}

static bool check_pin_source(const char *value, struct err *err)
{
	if (strcmp(value, "operator") == 0)
		return true;
	if (strncmp(value, FILE_SCHEME, sizeof FILE_SCHEME - 1) != 0)
		return err_set(err, ERR_INVALID, "\"%s\" is neither operator nor file:PATH", value);
	return check_path(value + sizeof FILE_SCHEME - 1, err);
}

static bool check_password(const char *value, struct err *err)
{
	return (*value == '$' && check_text(value, NULL)) ||
	       err_set(err, ERR_INVALID, "a password is prompted for, never given here");
}

static bool is_hex(const char *text)
{
	return *text != '\0' && strspn(text, "0123456789abcdef") == strlen(text);
}

static bool check_sealed(const char *value, struct err *err)
{
	size_t scheme = sizeof SETTING_SEALED_SCHEME - 1;

	return (strncmp(value, SETTING_SEALED_SCHEME, scheme) == 0 && is_hex(value + scheme) && strlen(value) % 2 == scheme % 2 &&
		strlen(value) <= SEALED_MAX_BYTES) ||
	       err_set(err, ERR_INVALID, "a password is prompted for, never given here");
}

static bool check_name_server(const char *value, struct err *err)
{
	size_t len = strlen(value);

	if (is_ip_address(value, len, AF_INET) || is_ip_address(value, len, AF_INET6) || check_address_port(value, NULL))
		return true;
	return err_set(err, ERR_INVALID, "\"%s\" is not ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT", value);
}

static bool check_tls_pin(const char *value, struct err *err)
{
	size_t scheme = sizeof SETTING_TLS_PIN_SCHEME - 1;

	return (strncmp(value, SETTING_TLS_PIN_SCHEME, scheme) == 0 && is_hex(value + scheme) && strlen(value) == scheme + 64) ||
	       err_set(err, ERR_INVALID, "\"%s\" is not sha256: and 64 hexadecimal digits (lower case)", value);
}

/* Secrets go there: in clear only to this machine itself. No user, no fragment. */
static bool check_url(const char *value, struct err *err)
{
	static const char *const loopback[] = {"http://127.0.0.1", "http://[::1]", "http://localhost"};
	bool valid = strncmp(value, "https://", 8) == 0 && value[8] != '\0' && strchr("/:?", value[8]) == NULL;

	for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++) {
		size_t len = strlen(loopback[i]);

		valid |= strncmp(value, loopback[i], len) == 0 && strchr(":/", value[len]) != NULL;
	}
	for (const char *at = value; *at != '\0'; at++)
		valid &= *at > ' ' && *at < 0x7f && strchr("@#\"\\<>", *at) == NULL;
	return valid ||
	       err_set(err, ERR_INVALID, "\"%s\" is no https:// URL (http:// is for 127.0.0.1, [::1] and localhost)", value);
}

static bool check_number(const char *value, struct err *err)
{
	if (*value == '\0' || strspn(value, "0123456789") != strlen(value) || strlen(value) > 18)
		return err_set(err, ERR_INVALID, "\"%s\" is not a number", value);
	return true;
}

static bool check_size(const char *value, struct err *err)
{
	return setting_parse_size(value) >= 0 || err_set(err, ERR_INVALID, "\"%s\" is not a size (64K, 50M, 1G)", value);
}

static bool check_duration(const char *value, struct err *err)
{
	return setting_parse_duration_ms(value) >= 0 ||
	       err_set(err, ERR_INVALID, "\"%s\" is not a duration (2s, 5m, 1h, 5d)", value);
}

static bool check_flag(const char *value, struct err *err)
{
	return *value == '\0' || err_set(err, ERR_INVALID, "takes no value");
}

static const struct {
	const char *form;
	bool (*check)(const char *value, struct err *err);
} types[] = {
    [SETTING_FLAG] = {"nothing", check_flag},
    [SETTING_TEXT] = {"text", check_text},
    [SETTING_WORD] = {"word", check_text},
    [SETTING_NUMBER] = {"number", check_number},
    [SETTING_SIZE] = {"size: 64K, 50M, 1G", check_size},
    [SETTING_DURATION] = {"duration: 2s, 5m, 1h, 5d", check_duration},
    [SETTING_DURATIONS] = {"durations: 1m,5m,1h", check_text},
    [SETTING_HOST_NAME] = {"host name", check_host_name},
    [SETTING_ADDRESS_PORT] = {"ADDRESS:PORT, [ADDRESS]:PORT", check_address_port},
    [SETTING_PREFIX] = {"NETWORK/BITS or address", check_prefix},
    [SETTING_NEXT_HOP] = {"HOST[:PORT], [ADDRESS]:PORT, maildir:DIRECTORY", check_next_hop},
    [SETTING_REGEX] = {"regular expression (PCRE2, any case)", check_regex},
    [SETTING_MAIL_ADDRESS] = {"mail address", check_mail_address},
    [SETTING_HEADER_NAME] = {"name of a header field", check_header_name},
    [SETTING_PATH] = {"absolute path", check_path},
    [SETTING_NAME] = {"name", check_name},
    [SETTING_PIN_SOURCE] = {"operator or file:PATH", check_pin_source},
    [SETTING_PASSWORD] = {"prompted for", check_password},
    [SETTING_SEALED] = {"prompted for", check_sealed},
    [SETTING_NAME_SERVER] = {"ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT", check_name_server},
    [SETTING_TLS_PIN] = {"sha256:HEX", check_tls_pin},
    [SETTING_SOURCE] = {"path, zmodem, or usb:NAME", check_text},
    [SETTING_URL] = {"https://HOST[:PORT]/PATH", check_url},
};

bool setting_type_check(enum setting_type type, const char *value, struct err *err)
{
	return types[type].check(value, err);
}

const char *setting_type_form(enum setting_type type)
{
	return types[type].form;
}

/* A number with one unit letter; `units` and `factors` belong together. -1: malformed or too large. */
static int64_t parse_units(const char *value, const char *units, const int64_t *factors)
{
	size_t digits = strspn(value, "0123456789");
	const char *unit;

	if (digits == 0 || digits > 9 || value[digits] == '\0' || value[digits + 1] != '\0')
		return -1;
	unit = strchr(units, value[digits]);
	return unit == NULL ? -1 : strtol(value, NULL, 10) * factors[unit - units];
}

int64_t setting_parse_duration_ms(const char *value)
{
	static const int64_t factors[] = {1000, 60 * 1000, 3600 * 1000, 86400 * 1000};

	return parse_units(value, "smhd", factors);
}

int64_t setting_parse_size(const char *value)
{
	static const int64_t factors[] = {1 << 10, 1 << 20, 1 << 30};

	return parse_units(value, "KMG", factors);
}
