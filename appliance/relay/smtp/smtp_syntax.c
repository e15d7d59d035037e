#include "appliance/relay/smtp/smtp_syntax.h"

#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	enum smtp_verb verb;
} verbs[] = {
    {"HELO", SMTP_HELO}, {"EHLO", SMTP_EHLO}, {"MAIL", SMTP_MAIL}, {"RCPT", SMTP_RCPT},		{"DATA", SMTP_DATA},
    {"BDAT", SMTP_BDAT}, {"RSET", SMTP_RSET}, {"NOOP", SMTP_NOOP}, {"QUIT", SMTP_QUIT},		{"VRFY", SMTP_VRFY},
    {"EXPN", SMTP_EXPN}, {"HELP", SMTP_HELP}, {"AUTH", SMTP_AUTH}, {"STARTTLS", SMTP_STARTTLS}, {"GET", SMTP_HTTP},
    {"POST", SMTP_HTTP}, {"PUT", SMTP_HTTP},  {"HEAD", SMTP_HTTP}, {"OPTIONS", SMTP_HTTP},	{"CONNECT", SMTP_HTTP},
};

/* The octets before the next space go to *word, what follows the spaces stays. False when nothing is left. */
static bool take_word(struct bytes *rest, struct bytes *word)
{
	size_t len = 0, next;

	while (len < rest->len && rest->data[len] != ' ')
		len++;
	for (next = len; next < rest->len && rest->data[next] == ' '; next++)
		;
	*word = bytes_slice(*rest, 0, len);
	*rest = bytes_slice(*rest, next, rest->len);
	return len > 0;
}

enum smtp_verb smtp_verb_of(struct bytes line, struct bytes *arguments)
{
	struct bytes rest = line, word;

	take_word(&rest, &word);
	*arguments = bytes_trim(rest);
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (bytes_equal_nocase(word, verbs[i].name))
			return verbs[i].verb;
	}
	return SMTP_UNKNOWN;
}

bool smtp_parse_hello(struct bytes arguments, struct bytes *name)
{
	if (arguments.len == 0 || arguments.len > SMTP_HELLO_MAX_BYTES)
		return false;
	for (size_t i = 0; i < arguments.len; i++) {
		if (arguments.data[i] <= ' ' || arguments.data[i] == 0x7f)
			return false;
	}
	*name = arguments;
	return true;
}

static bool is_keyword(struct bytes word)
{
	for (size_t i = 0; i < word.len; i++) {
		uint8_t c = word.data[i];
		bool letter = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');

		if (!letter && (c != '-' || i == 0))
			return false;
	}
	return word.len > 0;
}

/* esmtp-value = 1*(%d33-60 / %d62-126 / UTF8-non-ascii), RFC 6531 §3.3; who takes a value looks at the octets >= 0x80 */
static bool is_value(struct bytes word)
{
	for (size_t i = 0; i < word.len; i++) {
		if (word.data[i] <= ' ' || word.data[i] == '=' || word.data[i] == 0x7f)
			return false;
	}
	return word.len > 0;
}

static bool parse_param(struct bytes word, struct smtp_param *param)
{
	const uint8_t *equals = memchr(word.data, '=', word.len);
	size_t len = equals == NULL ? word.len : (size_t)(equals - word.data);

	param->keyword = bytes_slice(word, 0, len);
	param->value = bytes_slice(word, len + 1, word.len);
	return is_keyword(param->keyword) && (equals == NULL || is_value(param->value));
}

static bool given_before(const struct smtp_path *path, struct bytes keyword)
{
	for (size_t i = 0; i < path->n_params; i++) {
		struct bytes other = path->params[i].keyword;

		if (other.len == keyword.len && strncasecmp((const char *)other.data, (const char *)keyword.data, other.len) == 0)
			return true;
	}
	return false;
}

static bool parse_params(struct bytes rest, struct smtp_path *path)
{
	struct bytes word;

	path->n_params = 0;
	rest = bytes_trim(rest);
	while (take_word(&rest, &word)) {
		struct smtp_param param;

		if (path->n_params == SMTP_PARAMS_MAX || !parse_param(word, &param) || given_before(path, param.keyword))
			return false;
		path->params[path->n_params++] = param;
	}
	return true;
}

enum smtp_path_command_result smtp_parse_path_command(struct bytes arguments, const char *keyword, unsigned flags,
						      struct smtp_path *path, enum smtp_path_result *why)
{
	struct bytes rest;

	if (!bytes_starts_nocase(arguments, keyword))
		return SMTP_PATH_COMMAND_FORM;
	rest = bytes_trim(bytes_slice(arguments, strlen(keyword), arguments.len));
	if (rest.len == 0)
		return SMTP_PATH_COMMAND_FORM;
	*why = smtp_path_parse(&rest, flags, path->address);
	if (*why != SMTP_PATH_OK)
		return SMTP_PATH_COMMAND_ADDRESS;
	return parse_params(rest, path) ? SMTP_PATH_COMMAND_OK : SMTP_PATH_COMMAND_PARAM;
}

bool smtp_parse_number(struct bytes digits, uint64_t *value)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < digits.len; i++) {
		uint64_t digit = (uint64_t)digits.data[i] - '0';

		if (digit > 9 || sum > (UINT64_MAX - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	if (digits.len == 0 || digits.len > 20)
		return false;
	*value = sum;
	return true;
}

bool smtp_parse_bdat(struct bytes arguments, uint64_t *octets, bool *last)
{
	struct bytes rest = arguments, size, word;
	uint64_t value;

	take_word(&rest, &size);
	take_word(&rest, &word);
	if (!smtp_parse_number(size, &value) || rest.len > 0 || (word.len > 0 && !bytes_equal_nocase(word, "LAST")))
		return false;
	*octets = value;
	*last = word.len > 0;
	return true;
}

bool smtp_parse_auth(struct bytes arguments, struct bytes *mechanism, struct bytes *initial)
{
	struct bytes rest = arguments, first, second;

	if (!take_word(&rest, &first))
		return false;
	second = bytes_of(NULL, 0);
	if (rest.len > 0)
		take_word(&rest, &second);
	if (rest.len > 0)
		return false;
	*mechanism = first;
	*initial = second;
	return true;
}
