#include "appliance/relay/mime/syntax.h"

#include <string.h>

bool mime_split_field(struct bytes line, struct bytes *name, size_t *colon)
{
	size_t end = 0, at;

	while (end < line.len && line.data[end] > ' ' && line.data[end] < 0x7f && line.data[end] != ':')
		end++;
	at = end;
	while (at < line.len && mime_is_blank(line.data[at]))
		at++;
	if (end == 0 || at == line.len || line.data[at] != ':')
		return false;
	*name = bytes_slice(line, 0, end);
	*colon = at;
	return true;
}

bool mime_is_mbox_line(struct bytes line)
{
	if (line.len > 0 && line.data[0] == '>')
		line = bytes_slice(line, 1, line.len);
	return line.len >= 5 && memcmp(line.data, "From ", 5) == 0;
}

void mime_unfold(struct buf *out, struct bytes raw)
{
	size_t from = 0;

	for (size_t i = 0; i + 2 < raw.len; i++) {
		if (raw.data[i] != '\r' || raw.data[i + 1] != '\n' || !mime_is_blank(raw.data[i + 2]))
			continue;
		buf_put_bytes(out, bytes_slice(raw, from, i));
		from = i + 2;
	}
	buf_put_bytes(out, bytes_slice(raw, from, raw.len));
}

static void skip(struct bytes *rest, size_t count)
{
	*rest = bytes_slice(*rest, count, rest->len);
}

static size_t comment_length(struct bytes text)
{
	size_t depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == '\\')
			i++;
		else if (text.data[i] == '(')
			depth++;
		else if (text.data[i] == ')' && --depth == 0)
			return i + 1;
	}
	return text.len;
}

void mime_skip_cfws(struct bytes *rest)
{
	while (rest->len > 0) {
		if (mime_is_blank(rest->data[0]))
			skip(rest, 1);
		else if (rest->data[0] == '(')
			skip(rest, comment_length(*rest));
		else
			return;
	}
}

static bool is_token_char(uint8_t c)
{
	return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

struct bytes mime_take_token(struct bytes *rest)
{
	struct bytes token;
	size_t len = 0;

	while (len < rest->len && is_token_char(rest->data[len]))
		len++;
	token = bytes_slice(*rest, 0, len);
	skip(rest, len);
	return token;
}

bool mime_take_type(struct bytes *rest, struct bytes *type, struct bytes *subtype)
{
	mime_skip_cfws(rest);
	*type = mime_take_token(rest);
	*subtype = (struct bytes){0};
	if (type->len > 0 && rest->len > 0 && rest->data[0] == '/') {
		skip(rest, 1);
		*subtype = mime_take_token(rest);
	}
	if (subtype->len > 0)
		return true;
	*type = (struct bytes){0};
	return false;
}

static void skip_to_semicolon(struct bytes *rest)
{
	const uint8_t *semicolon = rest->len > 0 ? memchr(rest->data, ';', rest->len) : NULL;

	skip(rest, semicolon != NULL ? (size_t)(semicolon - rest->data) : rest->len);
}

/* From behind the opening quote to behind the closing one. */
static void take_quoted(struct bytes *rest, struct mime_parameter *parameter)
{
	size_t i = 1;

	for (; i < rest->len && rest->data[i] != '"'; i++) {
		if (rest->data[i] == '\\' && i + 1 < rest->len)
			i++;
		buf_put_byte(&parameter->value, rest->data[i]);
	}
	parameter->odd = i >= rest->len;
	skip(rest, i + 1);
	mime_skip_cfws(rest);
	if (rest->len > 0 && rest->data[0] != ';')
		parameter->odd = true;
}

/* Up to the semicolon; what follows a blank or a parenthesis counts for some readers and not for others. */
static void take_unquoted(struct bytes *rest, struct mime_parameter *parameter)
{
	struct bytes text = *rest;
	size_t len = 0;

	skip_to_semicolon(rest);
	text.len -= rest->len;
	text = bytes_trim(text);
	while (len < text.len && !mime_is_blank(text.data[len]) && text.data[len] != '(' && text.data[len] != '"')
		len++;
	parameter->odd = len < text.len;
	buf_put_bytes(&parameter->value, bytes_slice(text, 0, len));
}

bool mime_next_parameter(struct bytes *rest, struct mime_parameter *parameter)
{
	for (;;) {
		size_t len = 0;

		skip_to_semicolon(rest);
		if (rest->len == 0)
			return false;
		skip(rest, 1);
		mime_skip_cfws(rest);
		while (len < rest->len && rest->data[len] != '=' && rest->data[len] != ';')
			len++;
		if (len == rest->len || rest->data[len] == ';')
			continue;
		parameter->name = bytes_trim(bytes_slice(*rest, 0, len));
		buf_reset(&parameter->value);
		skip(rest, len + 1);
		mime_skip_cfws(rest);
		if (rest->len > 0 && rest->data[0] == '"')
			take_quoted(rest, parameter);
		else
			take_unquoted(rest, parameter);
		return true;
	}
}
