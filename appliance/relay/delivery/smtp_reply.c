#include "appliance/relay/delivery/smtp_reply.h"

#include <stdio.h>
#include <string.h>

#define CODE_DIGITS 3

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static void strip_line_end(struct bytes *line)
{
	if (line->len > 0 && line->data[line->len - 1] == '\n')
		line->len--;
	if (line->len > 0 && line->data[line->len - 1] == '\r')
		line->len--;
}

/* A code from 200 to 599, then the end of the line, a blank or a hyphen. */
static bool parse_code(struct bytes line, int *code, bool *last)
{
	if (line.len < CODE_DIGITS || !is_digit(line.data[0]) || !is_digit(line.data[1]) || !is_digit(line.data[2]))
		return false;
	if (line.data[0] < '2' || line.data[0] > '5')
		return false;
	if (line.len > CODE_DIGITS && line.data[CODE_DIGITS] != ' ' && line.data[CODE_DIGITS] != '-')
		return false;
	*code = (line.data[0] - '0') * 100 + (line.data[1] - '0') * 10 + (line.data[2] - '0');
	*last = line.len == CODE_DIGITS || line.data[CODE_DIGITS] == ' ';
	return true;
}

static enum smtp_reply_progress take_line(struct smtp_reply_parser *parser)
{
	struct smtp_reply *reply = &parser->reply;
	struct bytes line = buf_bytes(&parser->line);
	int code;
	bool last;

	strip_line_end(&line);
	if (!parse_code(line, &code, &last) || (reply->lines > 0 && code != reply->code) || reply->lines == SMTP_REPLY_LINES_MAX)
		return SMTP_REPLY_MALFORMED;
	reply->code = code;
	reply->lines++;
	buf_put_bytes(&reply->text, bytes_slice(line, CODE_DIGITS + 1, line.len));
	buf_put_byte(&reply->text, '\n');
	buf_reset(&parser->line);
	parser->complete = last;
	return last ? SMTP_REPLY_COMPLETE : SMTP_REPLY_MORE;
}

/* Moves octets up to and with the next LF to parser->line; true when a line is whole. */
static bool collect_line(struct smtp_reply_parser *parser, struct bytes *in)
{
	const uint8_t *lf = memchr(in->data, '\n', in->len);
	size_t len = lf == NULL ? in->len : (size_t)(lf - in->data) + 1;

	buf_put(&parser->line, in->data, len);
	*in = bytes_slice(*in, len, in->len);
	return lf != NULL;
}

enum smtp_reply_progress smtp_reply_feed(struct smtp_reply_parser *parser, struct bytes *in)
{
	enum smtp_reply_progress progress = SMTP_REPLY_MORE;

	if (parser->complete) {
		parser->complete = false;
		parser->reply.lines = 0;
		buf_reset(&parser->reply.text);
	}
	while (progress == SMTP_REPLY_MORE && in->len > 0) {
		bool whole = collect_line(parser, in);

		if (parser->line.len > SMTP_REPLY_LINE_MAX_BYTES)
			return SMTP_REPLY_MALFORMED;
		if (whole)
			progress = take_line(parser);
	}
	return progress;
}

void smtp_reply_parser_clear(struct smtp_reply_parser *parser)
{
	buf_clear(&parser->reply.text);
	buf_clear(&parser->line);
	*parser = (struct smtp_reply_parser){0};
}

void smtp_reply_one_line(const struct smtp_reply *reply, char out[static SMTP_REPLY_TEXT_MAX_BYTES])
{
	struct bytes text = bytes_trim(buf_bytes(&reply->text));
	size_t len = (size_t)snprintf(out, SMTP_REPLY_TEXT_MAX_BYTES, "%03d", reply->code);

	if (text.len > 0)
		out[len++] = ' ';
	for (size_t i = 0; i < text.len && len < SMTP_REPLY_TEXT_MAX_BYTES - 1; i++) {
		uint8_t c = text.data[i];

		if (c == '\n' || c == '\t')
			c = ' ';
		out[len++] = c >= 0x20 && c < 0x7f ? (char)c : '?';
	}
	out[len] = '\0';
}

/* Up to three digits at `at`; returns the offset behind them, or `at` when there are none. */
static size_t skip_number(struct bytes text, size_t at)
{
	size_t end = at;

	while (end < text.len && end - at < 3 && is_digit(text.data[end]))
		end++;
	return end;
}

static size_t status_length(struct bytes text, int first_digit)
{
	size_t dot, end;

	if (text.len < 5 || text.data[0] != first_digit || text.data[1] != '.')
		return 0;
	dot = skip_number(text, 2);
	if (dot == 2 || dot >= text.len || text.data[dot] != '.')
		return 0;
	end = skip_number(text, dot + 1);
	if (end == dot + 1 || (end < text.len && text.data[end] != ' ' && text.data[end] != '\n'))
		return 0;
	return end;
}

void smtp_reply_status(const struct smtp_reply *reply, char out[static SMTP_REPLY_STATUS_MAX_BYTES])
{
	struct bytes text = buf_bytes(&reply->text);
	int first_digit = '0' + reply->code / 100;
	size_t len = status_length(text, first_digit);

	if (len == 0)
		snprintf(out, SMTP_REPLY_STATUS_MAX_BYTES, "%c.0.0", first_digit);
	else
		snprintf(out, SMTP_REPLY_STATUS_MAX_BYTES, "%.*s", (int)len, (const char *)text.data);
}
