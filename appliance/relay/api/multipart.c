#include "appliance/relay/api/multipart.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/relay/api/charset.h"

#define DELIMITER_PADDING_MAX 100 /* octets: blanks between a boundary and the end of its line */

/* ---- Parameters of a header field ---- */

struct parameter {
	struct bytes name;
	struct buf value;
};

static struct bytes skip_blanks(struct bytes in)
{
	while (in.len > 0 && (*in.data == ' ' || *in.data == '\t' || *in.data == ';'))
		in = bytes_slice(in, 1, in.len);
	return in;
}

/* A backslash quotes a quote or a backslash and nothing else: old browsers send paths of Windows as they are. */
static struct bytes take_quoted(struct bytes in, struct buf *value)
{
	size_t i = 1;

	for (; i < in.len && in.data[i] != '"'; i++) {
		if (in.data[i] == '\\' && i + 1 < in.len && (in.data[i + 1] == '"' || in.data[i + 1] == '\\'))
			i++;
		buf_put_byte(value, in.data[i]);
	}
	return bytes_slice(in, i + 1, in.len);
}

static struct bytes take_token(struct bytes in, struct buf *value)
{
	size_t i = 0;

	while (i < in.len && in.data[i] != ';' && in.data[i] != ' ' && in.data[i] != '\t')
		i++;
	buf_put(value, in.data, i);
	return bytes_slice(in, i, in.len);
}

/* The next NAME=VALUE of *in; false: there is none. */
static bool next_parameter(struct bytes *in, struct parameter *parameter)
{
	struct bytes rest = skip_blanks(*in);
	size_t name = 0;

	buf_reset(&parameter->value);
	while (name < rest.len && rest.data[name] != '=' && rest.data[name] != ';')
		name++;
	if (name == rest.len)
		return false;
	parameter->name = bytes_trim(bytes_slice(rest, 0, name));
	rest = bytes_slice(rest, name, rest.len);
	if (*rest.data == '=') {
		rest = bytes_slice(rest, 1, rest.len);
		rest = rest.len > 0 && *rest.data == '"' ? take_quoted(rest, &parameter->value)
							 : take_token(rest, &parameter->value);
	}
	*in = rest;
	return true;
}

/* What stands before the first `;`. */
static struct bytes main_value(struct bytes field)
{
	const uint8_t *end = field.len == 0 ? NULL : memchr(field.data, ';', field.len);

	return bytes_trim(bytes_slice(field, 0, end == NULL ? field.len : (size_t)(end - field.data)));
}

static bool find_parameter(struct bytes field, const char *name, struct buf *value)
{
	struct parameter parameter = {0};
	struct bytes rest = bytes_slice(field, main_value(field).len, field.len);
	bool found = false;

	while (!found && next_parameter(&rest, &parameter)) {
		found = bytes_equal_nocase(parameter.name, name);
		if (found)
			buf_put_bytes(value, buf_bytes(&parameter.value));
	}
	buf_clear(&parameter.value);
	return found;
}

bool multipart_boundary(const char *content_type, struct buf *boundary)
{
	struct bytes field = bytes_trim(bytes_text(content_type));

	if (!bytes_equal_nocase(main_value(field), "multipart/form-data") || !find_parameter(field, "boundary", boundary))
		return false;
	return boundary->len > 0 && boundary->len <= MULTIPART_BOUNDARY_MAX_BYTES;
}

/* ---- The header of a part ---- */

/* HTML §4.10.21.8: browsers write quotes and line ends in names so; nothing else is encoded. */
static void undo_browser(struct buf *text)
{
	static const struct {
		const char *escape;
		uint8_t octet;
	} escapes[] = {{"%22", '"'}, {"%0D", '\r'}, {"%0A", '\n'}};
	struct buf out = {0};

	for (size_t i = 0; i < text->len; i++) {
		uint8_t octet = text->data[i];

		for (size_t j = 0; octet == '%' && j < sizeof escapes / sizeof *escapes; j++) {
			if (text->len - i >= 3 && memcmp(text->data + i, escapes[j].escape, 3) == 0) {
				octet = escapes[j].octet;
				i += 2;
				break;
			}
		}
		buf_put_byte(&out, octet);
	}
	buf_clear(text);
	*text = out;
}

/* RFC 8187: UTF-8'LANGUAGE'%E3… */
static bool extended_value(struct bytes in, struct buf *out)
{
	const uint8_t *quote = in.len < 6 || !bytes_starts_nocase(in, "utf-8'") ? NULL : memchr(in.data + 6, '\'', in.len - 6);
	char pair[3] = {0};

	if (quote == NULL)
		return false;
	for (size_t i = (size_t)(quote - in.data) + 1; i < in.len; i++) {
		if (in.data[i] == '%' && i + 2 < in.len) {
			memcpy(pair, in.data + i + 1, 2);
			buf_put_byte(out, (uint8_t)strtoul(pair, NULL, 16));
			i += 2;
		} else {
			buf_put_byte(out, in.data[i]);
		}
	}
	return true;
}

static char *as_text(const struct buf *octets)
{
	struct buf text = {0};
	char *result;

	if (utf8_is_valid(buf_bytes(octets)))
		buf_put_bytes(&text, buf_bytes(octets));
	else
		latin1_to_utf8(&text, buf_bytes(octets));
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < ' ' || text.data[i] == 0x7f)
			text.data[i] = '_';
	}
	result = bytes_string(buf_bytes(&text));
	buf_clear(&text);
	return result;
}

static char *base_name(const struct buf *path)
{
	char *text = as_text(path), *name = text, *result;

	for (char *at = text; *at != '\0'; at++) {
		if (*at == '/' || *at == '\\')
			name = at + 1;
	}
	result = mem_string(name);
	free(text);
	return result;
}

static void read_disposition(struct multipart_part *part, struct bytes field)
{
	struct buf name = {0}, file = {0}, extended = {0}, decoded = {0};

	free(part->file_name); /* of a field before this one that had no name */
	part->file_name = NULL;
	if (find_parameter(field, "name", &name)) {
		undo_browser(&name);
		part->name = as_text(&name);
	}
	if (find_parameter(field, "filename*", &extended) && extended_value(buf_bytes(&extended), &decoded)) {
		part->file_name = base_name(&decoded);
	} else if (find_parameter(field, "filename", &file)) {
		undo_browser(&file);
		part->file_name = base_name(&file);
	}
	buf_clear(&name);
	buf_clear(&file);
	buf_clear(&extended);
	buf_clear(&decoded);
}

static void read_type(struct multipart_part *part, struct bytes field)
{
	struct buf charset = {0};

	part->type = bytes_string(main_value(field));
	part->latin1 = find_parameter(field, "charset", &charset) && bytes_equal_nocase(buf_bytes(&charset), "ISO-8859-1");
	buf_clear(&charset);
}

static void part_clear(struct multipart_part *part)
{
	free(part->name);
	free(part->file_name);
	free(part->type);
}

static bool read_head(struct multipart_part *part, struct bytes head, struct err *err)
{
	while (head.len > 0) {
		const uint8_t *line_end = memmem(head.data, head.len, "\r\n", 2);
		size_t end = line_end == NULL ? head.len : (size_t)(line_end - head.data);
		struct bytes line = bytes_slice(head, 0, end);
		const uint8_t *colon = line.len == 0 ? NULL : memchr(line.data, ':', line.len);
		size_t name = colon == NULL ? line.len : (size_t)(colon - line.data);
		struct bytes value = bytes_trim(bytes_slice(line, name + 1, line.len));

		if (bytes_equal_nocase(bytes_slice(line, 0, name), "Content-Disposition") && part->name == NULL)
			read_disposition(part, value);
		else if (bytes_equal_nocase(bytes_slice(line, 0, name), "Content-Type") && part->type == NULL)
			read_type(part, value);
		head = bytes_slice(head, end + 2, head.len);
	}
	if (part->name == NULL)
		return err_set(err, ERR_INVALID, "a part has no Content-Disposition with a name");
	if (part->type == NULL)
		part->type = mem_string("");
	return true;
}

/* ---- The body ---- */

void multipart_init(struct multipart *multipart, struct bytes boundary, const struct multipart_sink *sink)
{
	*multipart = (struct multipart){.sink = *sink};
	buf_put_text(&multipart->delimiter, "\r\n--");
	buf_put_bytes(&multipart->delimiter, boundary);
	buf_put_text(&multipart->pending, "\r\n"); /* the first delimiter may be at the very front */
}

void multipart_clear(struct multipart *multipart)
{
	buf_clear(&multipart->delimiter);
	buf_wipe_clear(&multipart->pending);
}

/* Hands out what is no delimiter for sure. True: a delimiter was found and passed. */
static bool pass_to_delimiter(struct multipart *multipart, struct bytes *in, struct bytes *before)
{
	const struct buf *delimiter = &multipart->delimiter;
	const uint8_t *found = in->len == 0 ? NULL : memmem(in->data, in->len, delimiter->data, delimiter->len);
	size_t sure = in->len >= delimiter->len ? in->len - (delimiter->len - 1) : 0;

	if (found != NULL)
		sure = (size_t)(found - in->data);
	*before = bytes_slice(*in, 0, sure);
	*in = bytes_slice(*in, sure + (found != NULL ? delimiter->len : 0), in->len);
	return found != NULL;
}

/* Behind a boundary: `--`, or blanks and a line end. */
static bool step_delimiter(struct multipart *multipart, struct bytes *in, bool *more, struct err *err)
{
	size_t blanks = 0;

	while (blanks < in->len && blanks < DELIMITER_PADDING_MAX && (in->data[blanks] == ' ' || in->data[blanks] == '\t'))
		blanks++;
	if (in->len < blanks + 2) {
		*more = false;
		return true;
	}
	if (blanks == 0 && memcmp(in->data, "--", 2) == 0)
		multipart->at = MULTIPART_EPILOGUE;
	else if (memcmp(in->data + blanks, "\r\n", 2) != 0)
		return err_set(err, ERR_INVALID, "a boundary has text behind it");
	else if (++multipart->parts > MULTIPART_PARTS_MAX)
		return err_set(err, ERR_LIMIT, "it has more than %d parts", MULTIPART_PARTS_MAX);
	else
		multipart->at = MULTIPART_HEAD;
	*in = bytes_slice(*in, blanks + 2, in->len);
	return true;
}

static bool step_head(struct multipart *multipart, struct bytes *in, bool *more, struct err *err)
{
	const uint8_t *end = in->len == 0 ? NULL : memmem(in->data, in->len, "\r\n\r\n", 4);
	struct multipart_part part = {0};
	bool begun;

	if ((end == NULL ? in->len : (size_t)(end - in->data)) > MULTIPART_HEAD_MAX_BYTES)
		return err_set(err, ERR_LIMIT, "the header of a part is longer than %d octets", MULTIPART_HEAD_MAX_BYTES);
	if (end == NULL) {
		*more = false;
		return true;
	}
	begun = read_head(&part, bytes_slice(*in, 0, (size_t)(end - in->data)), err) &&
		multipart->sink.begin(&part, multipart->sink.arg, err);
	part_clear(&part);
	*in = bytes_slice(*in, (size_t)(end - in->data) + 4, in->len);
	multipart->at = MULTIPART_DATA;
	return begun;
}

static bool step_data(struct multipart *multipart, struct bytes *in, bool *more, struct err *err)
{
	struct bytes data;
	bool found = pass_to_delimiter(multipart, in, &data);

	if (data.len > 0 && !multipart->sink.data(data, multipart->sink.arg, err))
		return false;
	*more = found;
	if (!found)
		return true;
	multipart->at = MULTIPART_DELIMITER;
	return multipart->sink.end(multipart->sink.arg, err);
}

static bool step(struct multipart *multipart, struct bytes *in, bool *more, struct err *err)
{
	struct bytes ignored;

	switch (multipart->at) {
	case MULTIPART_PREAMBLE:
		*more = pass_to_delimiter(multipart, in, &ignored);
		if (*more)
			multipart->at = MULTIPART_DELIMITER;
		return true;
	case MULTIPART_DELIMITER:
		return step_delimiter(multipart, in, more, err);
	case MULTIPART_HEAD:
		return step_head(multipart, in, more, err);
	case MULTIPART_DATA:
		return step_data(multipart, in, more, err);
	case MULTIPART_EPILOGUE:
		break;
	}
	*in = (struct bytes){0};
	*more = false;
	return true;
}

bool multipart_feed(struct multipart *multipart, struct bytes octets, struct err *err)
{
	struct bytes in;
	bool more = true, right = true;

	buf_put_bytes(&multipart->pending, octets);
	in = buf_bytes(&multipart->pending);
	while (right && more)
		right = step(multipart, &in, &more, err);
	if (right)
		buf_consume(&multipart->pending, multipart->pending.len - in.len);
	return right;
}

bool multipart_finish(const struct multipart *multipart, struct err *err)
{
	if (multipart->at != MULTIPART_EPILOGUE)
		return err_set(err, ERR_INVALID, "it ends before its last boundary");
	return true;
}
