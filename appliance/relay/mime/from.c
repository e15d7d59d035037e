#include "appliance/relay/mime/address.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/mime/syntax.h"

/*
 * The From field is cut into tokens, and only shapes that every reader takes alike are an address: LOCAL "@" DOMAIN, three
 * tokens with nothing between them, alone or in angle brackets.
 */
enum token_kind {
	TOKEN_ATOM, /* atext, dots and octets >= 0x80 */
	TOKEN_QUOTED,
	TOKEN_LITERAL, /* [192.0.2.1] */
	TOKEN_SPECIAL, /* one of < > , : ; @ */
	TOKEN_COMMENT,
	TOKEN_BLANK,
	TOKEN_BAD
};

struct token {
	enum token_kind kind;
	struct bytes text;
};

struct tokens {
	struct token *at;
	size_t count;
};

static bool is_atom_octet(uint8_t c)
{
	return c > ' ' && c != 0x7f && strchr("()<>[]:;@\\,\"", c) == NULL;
}

/* Length of a quoted string or domain literal, 0 when it does not end. */
static size_t quoted_length(struct bytes text, uint8_t closing)
{
	for (size_t i = 1; i < text.len; i++) {
		if (text.data[i] == '\\')
			i++;
		else if (text.data[i] == closing)
			return i + 1;
	}
	return 0;
}

static size_t comment_length(struct bytes text)
{
	struct bytes rest = text;
	size_t depth = 0;

	for (; rest.len > 0; rest = bytes_slice(rest, 1, rest.len)) {
		if (rest.data[0] == '\\')
			rest = bytes_slice(rest, 1, rest.len);
		else if (rest.data[0] == '(')
			depth++;
		else if (rest.data[0] == ')' && --depth == 0)
			return text.len - rest.len + 1;
	}
	return 0;
}

static size_t run_length(struct bytes text, bool (*belongs)(uint8_t c))
{
	size_t len = 0;

	while (len < text.len && belongs(text.data[len]))
		len++;
	return len;
}

static struct token next_token(struct bytes text)
{
	uint8_t c = text.data[0];
	enum token_kind kind = TOKEN_BAD;
	size_t len = 1;

	if (mime_is_blank(c)) {
		kind = TOKEN_BLANK;
		len = run_length(text, mime_is_blank);
	} else if (c == '"') {
		kind = TOKEN_QUOTED;
		len = quoted_length(text, '"');
	} else if (c == '[') {
		kind = TOKEN_LITERAL;
		len = quoted_length(text, ']');
	} else if (c == '(') {
		kind = TOKEN_COMMENT;
		len = comment_length(text);
	} else if (strchr("<>,:;@", c) != NULL) {
		kind = TOKEN_SPECIAL;
	} else if (is_atom_octet(c)) {
		kind = TOKEN_ATOM;
		len = run_length(text, is_atom_octet);
	}
	if (len == 0) /* it does not end: nobody knows what the rest is, and to look again behind each octet takes its square */
		return (struct token){TOKEN_BAD, text};
	return (struct token){kind, bytes_slice(text, 0, len)};
}

static struct tokens cut(struct bytes text)
{
	struct tokens tokens = {.at = mem_new_array(text.len, sizeof *tokens.at)};

	while (text.len > 0) {
		struct token token = next_token(text);

		tokens.at[tokens.count++] = token;
		text = bytes_slice(text, token.text.len, text.len);
	}
	return tokens;
}

static bool is_special(const struct token *token, char c)
{
	return token->kind == TOKEN_SPECIAL && token->text.data[0] == c;
}

static struct tokens part_of(struct tokens tokens, size_t from, size_t to)
{
	return (struct tokens){tokens.at + from, to - from};
}

static size_t find_special(struct tokens tokens, char c)
{
	size_t i = 0;

	while (i < tokens.count && !is_special(&tokens.at[i], c))
		i++;
	return i;
}

/* Without blanks, and with `comments` also without comments, at both ends. */
static struct tokens trim(struct tokens tokens, bool comments)
{
	size_t from = 0, to = tokens.count;

	while (from < to && (tokens.at[from].kind == TOKEN_BLANK || (comments && tokens.at[from].kind == TOKEN_COMMENT)))
		from++;
	while (to > from && (tokens.at[to - 1].kind == TOKEN_BLANK || (comments && tokens.at[to - 1].kind == TOKEN_COMMENT)))
		to--;
	return part_of(tokens, from, to);
}

/* ---- An address ---- */

static size_t utf8_length(struct bytes text)
{
	static const struct {
		uint8_t mask, lead;
		uint32_t least;
	} forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (size_t len = 1; len <= 4 && len <= text.len; len++) {
		uint32_t value = text.data[0] & (uint8_t)~forms[len - 1].mask;

		if ((text.data[0] & forms[len - 1].mask) != forms[len - 1].lead)
			continue;
		for (size_t i = 1; i < len; i++) {
			if ((text.data[i] & 0xc0) != 0x80)
				return 0;
			value = value << 6 | (text.data[i] & 0x3f);
		}
		return value >= forms[len - 1].least && value <= 0x10ffff && (value & 0xfffff800) != 0xd800 ? len : 0;
	}
	return 0;
}

static bool is_utf8(struct bytes text)
{
	while (text.len > 0) {
		size_t len = utf8_length(text);

		if (len == 0)
			return false;
		text = bytes_slice(text, len, text.len);
	}
	return true;
}

/* IPv4 and "IPv6:" addresses (RFC 5321 §4.1.3); RFC 5322 would let in nearly everything. */
static bool is_literal_octet(uint8_t c)
{
	return isalnum(c) || c == '.' || c == ':' || c == '-';
}

static bool is_domain(const struct token *token)
{
	struct bytes text = token->text;

	if (token->kind == TOKEN_LITERAL)
		return text.len > 2 && run_length(bytes_slice(text, 1, text.len), is_literal_octet) == text.len - 2;
	if (token->kind != TOKEN_ATOM || text.data[0] == '.' || text.data[text.len - 1] == '.')
		return false;
	return memmem(text.data, text.len, "..", 2) == NULL;
}

/* A quoted local part that need not be quoted is the same address without the quotes (RFC 5322 §3.4.1). */
static void put_local(struct buf *out, const struct token *token)
{
	struct buf inner = {0};
	bool atom;

	if (token->kind != TOKEN_QUOTED) {
		buf_put_bytes(out, token->text);
		return;
	}
	for (size_t i = 1; i + 1 < token->text.len; i++) {
		if (token->text.data[i] == '\\')
			i++;
		buf_put_byte(&inner, token->text.data[i]);
	}
	atom = inner.len > 0 && run_length(buf_bytes(&inner), is_atom_octet) == inner.len;
	buf_put_bytes(out, atom ? buf_bytes(&inner) : token->text);
	buf_clear(&inner);
}

static bool is_address_text(struct bytes text)
{
	return is_utf8(text) && memchr(text.data, '\t', text.len) == NULL;
}

static bool take_address(struct tokens tokens, struct buf *address)
{
	const struct token *token = tokens.at;

	if (tokens.count != 3 || (token[0].kind != TOKEN_ATOM && token[0].kind != TOKEN_QUOTED) || !is_special(&token[1], '@') ||
	    !is_domain(&token[2]) || !is_address_text(token[0].text) || !is_address_text(token[2].text))
		return false;
	buf_reset(address);
	put_local(address, &token[0]);
	buf_put_byte(address, '@');
	buf_put_bytes(address, token[2].text);
	return true;
}

static bool is_phrase(struct tokens tokens)
{
	for (size_t i = 0; i < tokens.count; i++) {
		if (tokens.at[i].kind == TOKEN_SPECIAL || tokens.at[i].kind == TOKEN_BAD)
			return false;
	}
	return true;
}

static bool take_mailbox(struct tokens tokens, struct buf *address)
{
	size_t open;

	tokens = trim(tokens, true);
	open = find_special(tokens, '<');
	if (open == tokens.count)
		return take_address(tokens, address);
	if (!is_phrase(part_of(tokens, 0, open)) || !is_special(&tokens.at[tokens.count - 1], '>'))
		return false;
	return take_address(trim(part_of(tokens, open + 1, tokens.count - 1), false), address);
}

/* ---- The field ---- */

static enum mime_from take_list(struct tokens tokens, struct buf *address)
{
	unsigned mailboxes = 0;

	for (;;) {
		size_t comma = find_special(tokens, ',');

		if (!take_mailbox(part_of(tokens, 0, comma), address))
			return MIME_FROM_UNUSABLE;
		mailboxes++;
		if (comma == tokens.count)
			return mailboxes == 1 ? MIME_FROM_ONE : MIME_FROM_SEVERAL_MAILBOXES;
		tokens = part_of(tokens, comma + 1, tokens.count);
	}
}

static bool has_control(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if ((text.data[i] < ' ' && text.data[i] != '\t') || text.data[i] == 0x7f)
			return true;
	}
	return false;
}

static enum mime_from parse_from(struct bytes value, struct buf *address)
{
	struct tokens tokens;
	enum mime_from from;

	if (has_control(value))
		return MIME_FROM_CONTROL;
	if (value.len == 0)
		return MIME_FROM_NONE;
	if (value.len > MIME_FROM_FIELD_MAX_BYTES)
		return MIME_FROM_UNUSABLE;
	tokens = cut(value);
	if (trim(tokens, true).count == 0)
		from = MIME_FROM_NONE;
	else if (find_special(tokens, ':') < find_special(tokens, '<'))
		from = MIME_FROM_GROUP;
	else
		from = take_list(tokens, address);
	free(tokens.at);
	return from;
}

enum mime_from mime_header_from(const struct mime_header *header, char **address)
{
	size_t count;
	const struct mime_field *field = mime_header_find(header, "from", &count);
	struct buf value = {0}, found = {0};
	enum mime_from from;

	if (count != 1)
		return count == 0 ? MIME_FROM_NONE : MIME_FROM_SEVERAL_FIELDS;
	mime_field_unfold(&value, field);
	from = parse_from(buf_bytes(&value), &found);
	if (from == MIME_FROM_ONE)
		*address = bytes_string(buf_bytes(&found));
	buf_clear(&value);
	buf_clear(&found);
	return from;
}

const char *mime_from_phrase(enum mime_from from)
{
	static const char *const phrases[] = {
	    [MIME_FROM_ONE] = "one mailbox in From",
	    [MIME_FROM_NONE] = "no From address",
	    [MIME_FROM_SEVERAL_FIELDS] = "several From fields",
	    [MIME_FROM_SEVERAL_MAILBOXES] = "several mailboxes in From",
	    [MIME_FROM_GROUP] = "a group in From",
	    [MIME_FROM_UNUSABLE] = "no plain address in From",
	    [MIME_FROM_CONTROL] = "control octets in From",
	};

	return (unsigned)from < sizeof phrases / sizeof *phrases ? phrases[from] : "unknown From";
}
