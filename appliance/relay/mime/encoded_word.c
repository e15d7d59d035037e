#include "appliance/relay/mime/encoded_word.h"

#include <ctype.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>

#define CHARSET_MAX_BYTES 32

struct word {
	struct bytes charset, text;
	bool quoted; /* Q, else B */
	size_t len; /* of the whole word */
};

/* Only these are asked of iconv: a name from a mail must not choose what is loaded. */
static bool is_known_charset(const char *name)
{
	static const char *const names[] = {"us-ascii",	   "iso-2022-jp", "iso-2022-kr", "shift_jis", "cp932",
					    "windows-31j", "euc-jp",	  "euc-kr",	 "gb2312",    "gbk",
					    "gb18030",	   "big5",	  "koi8-r",	 "koi8-u",    "utf-7"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return strncasecmp(name, "iso-8859-", 9) == 0 || strncasecmp(name, "windows-125", 11) == 0;
}

/* The next field up to '?'; *at moves behind it. */
static bool next_token(struct bytes value, size_t *at, struct bytes *token)
{
	const uint8_t *end = *at < value.len ? memchr(value.data + *at, '?', value.len - *at) : NULL;

	if (end == NULL)
		return false;
	*token = bytes_of(value.data + *at, (size_t)(end - value.data) - *at);
	*at += token->len + 1;
	return true;
}

/* RFC 2231 §5: a language may follow the charset. */
static struct bytes without_language(struct bytes charset)
{
	const uint8_t *star = charset.len > 0 ? memchr(charset.data, '*', charset.len) : NULL;

	return star != NULL ? bytes_slice(charset, 0, (size_t)(star - charset.data)) : charset;
}

static bool read_word(struct bytes value, struct word *word)
{
	struct bytes encoding;
	size_t at = 2;

	if (value.len < 2 || memcmp(value.data, "=?", 2) != 0)
		return false;
	if (!next_token(value, &at, &word->charset) || !next_token(value, &at, &encoding) ||
	    !next_token(value, &at, &word->text) || at >= value.len || value.data[at] != '=')
		return false;
	word->charset = without_language(word->charset);
	word->quoted = bytes_equal_nocase(encoding, "Q");
	word->len = at + 1;
	return word->charset.len > 0 && word->charset.len < CHARSET_MAX_BYTES &&
	       (word->quoted || bytes_equal_nocase(encoding, "B")) &&
	       (word->text.len == 0 || memchr(word->text.data, ' ', word->text.len) == NULL);
}

static int hex_value(uint8_t c)
{
	if (isdigit(c))
		return c - '0';
	c = (uint8_t)tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void decode_q(struct buf *out, struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];

		if (c == '=' && i + 2 < text.len && hex_value(text.data[i + 1]) >= 0 && hex_value(text.data[i + 2]) >= 0) {
			c = (uint8_t)(hex_value(text.data[i + 1]) << 4 | hex_value(text.data[i + 2]));
			i += 2;
		} else if (c == '_') {
			c = ' ';
		}
		buf_put_byte(out, c);
	}
}

static bool decode_text(struct buf *out, const struct word *word)
{
	struct err ignored;

	if (!word->quoted)
		return base64_decode(out, word->text, &ignored);
	decode_q(out, word->text);
	return true;
}

/* False: nothing was appended. */
static bool convert(struct buf *out, struct bytes charset, struct bytes octets)
{
	char name[CHARSET_MAX_BYTES], *in = (char *)(uintptr_t)octets.data, room[1024];
	size_t left = octets.len, before = out->len, got = 0;
	iconv_t conversion;

	if (bytes_equal_nocase(charset, "utf-8")) {
		buf_put_bytes(out, octets);
		return true;
	}
	memcpy(name, charset.data, charset.len);
	name[charset.len] = '\0';
	if (!is_known_charset(name))
		return false;
	conversion = iconv_open("UTF-8", name);
	if (conversion == (iconv_t)-1)
		return false;
	do {
		char *to = room;
		size_t space = sizeof room;

		got = iconv(conversion, &in, &left, &to, &space);
		buf_put(out, room, sizeof room - space);
		if (got == (size_t)-1 && space == sizeof room)
			break; /* an octet that is none of this charset's */
	} while (left > 0);
	iconv_close(conversion);
	if (left == 0)
		return true;
	out->len = before;
	return false;
}

static size_t blanks_at(struct bytes value, size_t at)
{
	size_t count = 0;

	while (at + count < value.len && (value.data[at + count] == ' ' || value.data[at + count] == '\t'))
		count++;
	return count;
}

/* Neighbours of one charset, decoded into one piece. Returns the octets of the value that it took, 0: no encoded word here. */
static size_t decode_run(struct buf *out, struct bytes value)
{
	struct buf octets = {0};
	struct word first, word;
	size_t used = 0, at = 0;

	while (read_word(bytes_slice(value, at, value.len), &word)) {
		if (used > 0 &&
		    (word.charset.len != first.charset.len ||
		     strncasecmp((const char *)word.charset.data, (const char *)first.charset.data, word.charset.len) != 0))
			break;
		if (!decode_text(&octets, &word))
			break;
		if (used == 0)
			first = word;
		used = at + word.len;
		at = used + blanks_at(value, used);
	}
	if (used > 0 && !convert(out, first.charset, buf_bytes(&octets)))
		buf_put(out, value.data, used);
	buf_clear(&octets);
	return used;
}

void encoded_words_decode(struct buf *out, struct bytes value)
{
	size_t at = 0;

	while (at < value.len) {
		size_t used = decode_run(out, bytes_slice(value, at, value.len));
		struct word next;

		if (used == 0) {
			buf_put_byte(out, value.data[at++]);
			continue;
		}
		at += used;
		used = blanks_at(value, at);
		if (used > 0 && read_word(bytes_slice(value, at + used, value.len), &next))
			at += used;
	}
}
