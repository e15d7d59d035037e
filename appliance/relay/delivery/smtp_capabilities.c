#include "appliance/relay/delivery/smtp_capabilities.h"

#include <string.h>

struct keyword {
	const char *name;
	size_t offset; /* of the flag in struct smtp_capabilities */
};

#define KEYWORD(text, member)                                                                                                    \
	{                                                                                                                        \
		text, offsetof(struct smtp_capabilities, member)                                                                 \
	}

static const struct keyword keywords[] = {
    KEYWORD("PIPELINING", pipelining),
    KEYWORD("SIZE", size),
    KEYWORD("8BITMIME", eight_bit),
    KEYWORD("SMTPUTF8", smtputf8),
    KEYWORD("ENHANCEDSTATUSCODES", enhanced_status),
    KEYWORD("STARTTLS", starttls),
    KEYWORD("DSN", dsn),
};

/* Decimal digits and nothing else; an unreadable or absurd number is no limit. */
static uint64_t parse_size(struct bytes text)
{
	uint64_t size = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9' || size > UINT64_MAX / 10 - 1)
			return 0;
		size = size * 10 + (uint64_t)(text.data[i] - '0');
	}
	return size;
}

/* "PLAIN LOGIN": the words behind AUTH. */
static void parse_mechanisms(struct bytes rest, struct smtp_capabilities *capabilities)
{
	while (rest.len > 0) {
		const uint8_t *blank = memchr(rest.data, ' ', rest.len);
		size_t len = blank == NULL ? rest.len : (size_t)(blank - rest.data);
		struct bytes word = bytes_slice(rest, 0, len);

		capabilities->auth_plain |= bytes_equal_nocase(word, "PLAIN");
		capabilities->auth_login |= bytes_equal_nocase(word, "LOGIN");
		rest = bytes_slice(rest, len + 1, rest.len);
	}
}

static void parse_line(struct bytes line, struct smtp_capabilities *capabilities)
{
	const uint8_t *blank = line.len > 0 ? memchr(line.data, ' ', line.len) : NULL;
	size_t word_len = blank == NULL ? line.len : (size_t)(blank - line.data);
	struct bytes word = bytes_slice(line, 0, word_len);

	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
		if (bytes_equal_nocase(word, keywords[i].name))
			*(bool *)((char *)capabilities + keywords[i].offset) = true;
	}
	if (bytes_equal_nocase(word, "SIZE"))
		capabilities->size_max = parse_size(bytes_trim(bytes_slice(line, word_len, line.len)));
	if (bytes_equal_nocase(word, "AUTH"))
		parse_mechanisms(bytes_trim(bytes_slice(line, word_len, line.len)), capabilities);
}

void smtp_capabilities_parse(const struct smtp_reply *reply, struct smtp_capabilities *capabilities)
{
	struct bytes rest = buf_bytes(&reply->text);
	bool first = true; /* the server's name and greeting */

	*capabilities = (struct smtp_capabilities){0};
	while (rest.len > 0) {
		const uint8_t *lf = memchr(rest.data, '\n', rest.len);
		size_t len = lf == NULL ? rest.len : (size_t)(lf - rest.data);

		if (!first)
			parse_line(bytes_trim(bytes_slice(rest, 0, len)), capabilities);
		first = false;
		rest = bytes_slice(rest, len + 1, rest.len);
	}
}
