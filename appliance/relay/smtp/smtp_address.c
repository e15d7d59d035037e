#include "appliance/relay/smtp/smtp_address.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

struct parser {
	struct bytes in;
	size_t at;
	unsigned flags;
	enum smtp_path_result fault; /* the first one */
	size_t len;
	char out[SMTP_ADDRESS_MAX_BYTES + 1];
};

static int peek(const struct parser *parser)
{
	return parser->at < parser->in.len ? parser->in.data[parser->at] : -1;
}

static bool skip_octet(struct parser *parser, char octet)
{
	if (peek(parser) != octet)
		return false;
	parser->at++;
	return true;
}

static bool fail(struct parser *parser, enum smtp_path_result fault)
{
	if (parser->fault == SMTP_PATH_OK)
		parser->fault = fault;
	return false;
}

static bool put(struct parser *parser, const void *octets, size_t len)
{
	if (len > SMTP_ADDRESS_MAX_BYTES - parser->len)
		return fail(parser, SMTP_PATH_TOO_LONG);
	memcpy(parser->out + parser->len, octets, len);
	parser->len += len;
	return true;
}

static bool put_octet(struct parser *parser, int octet)
{
	char c = (char)octet;

	return put(parser, &c, 1);
}

size_t smtp_utf8_length(const uint8_t *at, size_t left)
{
	uint8_t lead = at[0], low = 0x80, high = 0xbf;
	size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

	if (lead < 0xc2 || lead > 0xf4 || len > left)
		return 0;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	if (at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	}
	return len;
}

static bool put_utf8(struct parser *parser)
{
	size_t len;

	if ((parser->flags & SMTP_PATH_UTF8) == 0)
		return fail(parser, SMTP_PATH_NEEDS_UTF8);
	len = smtp_utf8_length(parser->in.data + parser->at, parser->in.len - parser->at);
	if (len == 0)
		return fail(parser, SMTP_PATH_SYNTAX);
	parser->at += len;
	return put(parser, parser->in.data + parser->at - len, len);
}

static bool is_alnum(int c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* atext of RFC 5322 §3.2.3 */
static bool is_atext(int c)
{
	return is_alnum(c) || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Dot-string, with dots wherever somebody put them */
static bool read_dot_string(struct parser *parser)
{
	size_t start = parser->at;

	for (int c = peek(parser); is_atext(c) || c == '.' || c >= 0x80; c = peek(parser)) {
		if (c >= 0x80 ? !put_utf8(parser) : !put_octet(parser, c))
			return false;
		if (c < 0x80)
			parser->at++;
	}
	return parser->at > start || fail(parser, SMTP_PATH_SYNTAX);
}

static bool is_strict_dot_string(const char *text, size_t len)
{
	bool dot = true;

	for (size_t i = 0; i < len; i++) {
		int c = (uint8_t)text[i];

		if (c == '.' ? dot : !is_atext(c) && c < 0x80)
			return false;
		dot = c == '.';
	}
	return !dot;
}

/* Writes a local part given without quotes again, with quotes if it needs them. */
static bool put_local_part(struct parser *parser, const char *local, size_t len)
{
	if (is_strict_dot_string(local, len))
		return put(parser, local, len);
	if (!put_octet(parser, '"'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((local[i] == '"' || local[i] == '\\') && !put_octet(parser, '\\'))
			return false;
		if (!put(parser, local + i, 1))
			return false;
	}
	return put_octet(parser, '"');
}

/* Quoted-string = DQUOTE *(qtextSMTP / quoted-pairSMTP) DQUOTE */
static bool read_quoted_string(struct parser *parser)
{
	char local[SMTP_ADDRESS_MAX_BYTES];
	size_t len;

	parser->at++;
	for (int c = peek(parser); c != '"'; c = peek(parser)) {
		if (c == '\\') {
			parser->at++;
			c = peek(parser);
		}
		if (c >= 0x80 ? !put_utf8(parser) : c < ' ' || c == 0x7f || !put_octet(parser, c))
			return fail(parser, SMTP_PATH_SYNTAX);
		if (c < 0x80)
			parser->at++;
	}
	parser->at++;
	len = parser->len;
	memcpy(local, parser->out, len);
	parser->len = 0;
	return put_local_part(parser, local, len);
}

/* sub-domain = Let-dig [Ldh-str], or U-label; underscores too */
static bool read_label(struct parser *parser)
{
	size_t start = parser->at;

	for (int c = peek(parser); is_alnum(c) || c == '-' || c == '_' || c >= 0x80; c = peek(parser)) {
		if (c >= 0x80 ? !put_utf8(parser) : !put_octet(parser, c))
			return false;
		if (c < 0x80)
			parser->at++;
	}
	if (parser->at == start || parser->at - start > SMTP_LABEL_MAX_BYTES || parser->in.data[start] == '-' ||
	    parser->in.data[parser->at - 1] == '-')
		return fail(parser, SMTP_PATH_SYNTAX);
	return true;
}

/* address-literal = "[" ( IPv4-address-literal / "IPv6:" IPv6-addr ) "]" */
static bool read_literal(struct parser *parser)
{
	const uint8_t *start = parser->in.data + parser->at;
	const uint8_t *close = memchr(start, ']', parser->in.len - parser->at);
	size_t len = close == NULL ? 0 : (size_t)(close - start) + 1;
	char text[INET6_ADDRSTRLEN + sizeof "[IPv6:]"];
	struct in6_addr address;
	bool v6;

	if (len < 2 || len >= sizeof text)
		return fail(parser, SMTP_PATH_SYNTAX);
	memcpy(text, start + 1, len - 2);
	text[len - 2] = '\0';
	v6 = strncasecmp(text, "IPv6:", 5) == 0;
	if (memchr(text, '\0', len - 2) != NULL || inet_pton(v6 ? AF_INET6 : AF_INET, v6 ? text + 5 : text, &address) != 1)
		return fail(parser, SMTP_PATH_SYNTAX);
	parser->at += len;
	return put(parser, start, len);
}

/* Domain = sub-domain *("." sub-domain) */
static bool read_domain(struct parser *parser)
{
	if (peek(parser) == '[')
		return read_literal(parser);
	do {
		if (!read_label(parser))
			return false;
		if (peek(parser) == '.' && !put_octet(parser, '.'))
			return false;
	} while (skip_octet(parser, '.'));
	return true;
}

/* A-d-l ":" = At-domain *( "," At-domain ) ":" -- MUST be accepted, SHOULD be ignored */
static bool skip_source_route(struct parser *parser)
{
	while (skip_octet(parser, '@')) {
		if (!read_domain(parser))
			return false;
		parser->len = 0;
		if (skip_octet(parser, ':'))
			return true;
		if (!skip_octet(parser, ','))
			return fail(parser, SMTP_PATH_SYNTAX);
	}
	return fail(parser, SMTP_PATH_SYNTAX);
}

static bool is_lone_postmaster(const struct parser *parser)
{
	static const char name[] = "postmaster";

	return (parser->flags & SMTP_PATH_POSTMASTER) != 0 && parser->len == sizeof name - 1 &&
	       strncasecmp(parser->out, name, parser->len) == 0;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool read_mailbox(struct parser *parser)
{
	if (!(peek(parser) == '"' ? read_quoted_string(parser) : read_dot_string(parser)))
		return false;
	if (skip_octet(parser, '@'))
		return put_octet(parser, '@') && read_domain(parser);
	if (is_lone_postmaster(parser))
		return true;
	return fail(parser, peek(parser) == '>' || peek(parser) == -1 ? SMTP_PATH_NO_DOMAIN : SMTP_PATH_SYNTAX);
}

/* Path = "<" [ A-d-l ":" ] Mailbox ">" */
static bool read_path(struct parser *parser)
{
	if (!skip_octet(parser, '<'))
		return read_mailbox(parser);
	if ((parser->flags & SMTP_PATH_NULL) != 0 && skip_octet(parser, '>'))
		return true;
	if (peek(parser) == '@' && !skip_source_route(parser))
		return false;
	return read_mailbox(parser) && (skip_octet(parser, '>') || fail(parser, SMTP_PATH_SYNTAX));
}

enum smtp_path_result smtp_path_parse(struct bytes *in, unsigned flags, char address[static SMTP_ADDRESS_MAX_BYTES + 1])
{
	struct parser parser = {.in = *in, .flags = flags};

	if (!read_path(&parser))
		return parser.fault;
	if (peek(&parser) != -1 && peek(&parser) != ' ')
		return SMTP_PATH_SYNTAX;
	memcpy(address, parser.out, parser.len);
	address[parser.len] = '\0';
	*in = bytes_slice(*in, parser.at, in->len);
	return SMTP_PATH_OK;
}
