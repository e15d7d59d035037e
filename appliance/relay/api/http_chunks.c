#include "appliance/relay/api/http_chunks.h"

#define SIZE_MAX_DIGITS 15 /* hexadecimal: less than 2^60 octets */

static int digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *take_size(struct http_chunks *chunks, uint8_t c)
{
	int value = digit(c);

	if (value < 0 && chunks->line == 0)
		return "a chunk has no size";
	if (value >= 0 && chunks->line == SIZE_MAX_DIGITS)
		return "a chunk's size is too large";
	if (value >= 0)
		chunks->left = chunks->left << 4 | (unsigned)value;
	else if (c == ';' || c == ' ' || c == '\t')
		chunks->at = CHUNKS_EXTENSION;
	else if (c == '\r')
		chunks->at = CHUNKS_SIZE_LF;
	else
		return "a chunk's size does not end in CRLF";
	chunks->line++;
	return NULL;
}

static bool is_control(uint8_t c)
{
	return (c < ' ' && c != '\t') || c == 0x7f;
}

static const char *take_extension(struct http_chunks *chunks, uint8_t c)
{
	if (c == '\r')
		chunks->at = CHUNKS_SIZE_LF;
	else if (is_control(c))
		return "a chunk's size does not end in CRLF";
	return ++chunks->line > HTTP_CHUNK_LINE_MAX_BYTES ? "a chunk's extensions are too long" : NULL;
}

static const char *expect(struct http_chunks *chunks, uint8_t c, uint8_t wanted, enum http_chunks_at next, const char *fault)
{
	if (c != wanted)
		return fault;
	chunks->at = next;
	return NULL;
}

static const char *take_size_lf(struct http_chunks *chunks, uint8_t c)
{
	enum http_chunks_at next = chunks->left > 0 ? CHUNKS_DATA : CHUNKS_TRAILER_BEGIN;

	chunks->line = 0;
	return expect(chunks, c, '\n', next, "a chunk's size does not end in CRLF");
}

static const char *take_data_lf(struct http_chunks *chunks, uint8_t c)
{
	chunks->line = 0;
	chunks->left = 0;
	return expect(chunks, c, '\n', CHUNKS_SIZE, "a chunk does not end in CRLF");
}

static const char *take_trailer(struct http_chunks *chunks, uint8_t c)
{
	bool begin = chunks->at == CHUNKS_TRAILER_BEGIN;

	if (c == '\r')
		chunks->at = begin ? CHUNKS_END_LF : CHUNKS_TRAILER_LF;
	else if (is_control(c))
		return "a trailer does not end in CRLF";
	else
		chunks->at = CHUNKS_TRAILER;
	return ++chunks->line > HTTP_TRAILERS_MAX_BYTES ? "its trailers are too long" : NULL;
}

static const char *take(struct http_chunks *chunks, uint8_t c)
{
	switch (chunks->at) {
	case CHUNKS_SIZE:
		return take_size(chunks, c);
	case CHUNKS_EXTENSION:
		return take_extension(chunks, c);
	case CHUNKS_SIZE_LF:
		return take_size_lf(chunks, c);
	case CHUNKS_DATA_CR:
		return expect(chunks, c, '\r', CHUNKS_DATA_LF, "a chunk does not end in CRLF");
	case CHUNKS_DATA_LF:
		return take_data_lf(chunks, c);
	case CHUNKS_TRAILER_BEGIN:
	case CHUNKS_TRAILER:
		return take_trailer(chunks, c);
	case CHUNKS_TRAILER_LF:
		return expect(chunks, c, '\n', CHUNKS_TRAILER_BEGIN, "a trailer does not end in CRLF");
	case CHUNKS_END_LF:
		return expect(chunks, c, '\n', CHUNKS_END, "the last chunk does not end in CRLF");
	case CHUNKS_DATA:
	case CHUNKS_END:
		break;
	}
	return NULL;
}

size_t http_chunks_take(struct http_chunks *chunks, struct bytes in)
{
	size_t at = 0;

	while (at < in.len && chunks->at != CHUNKS_END) {
		if (chunks->at != CHUNKS_DATA) {
			chunks->fault = take(chunks, in.data[at]);
			if (chunks->fault != NULL)
				break;
			at++;
			continue;
		}
		size_t step = in.len - at < chunks->left ? in.len - at : (size_t)chunks->left;

		at += step;
		chunks->left -= step;
		if (chunks->left == 0)
			chunks->at = CHUNKS_DATA_CR;
	}
	return at;
}
