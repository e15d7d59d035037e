/*
 * Reads the framing of a chunked body (RFC 9112 §7.1) strictly beside http-parser, which takes a chunk's data without the CRLF
 * behind them and lines that end in LF alone. Pure; one state per body.
 */
#ifndef INKAN_RELAY_API_HTTP_CHUNKS_H
#define INKAN_RELAY_API_HTTP_CHUNKS_H

#include "appliance/base/bytes.h"

#define HTTP_CHUNK_LINE_MAX_BYTES 256 /* a size with its extensions */
#define HTTP_TRAILERS_MAX_BYTES (8u << 10)

enum http_chunks_at {
	CHUNKS_SIZE,
	CHUNKS_EXTENSION,
	CHUNKS_SIZE_LF,
	CHUNKS_DATA,
	CHUNKS_DATA_CR,
	CHUNKS_DATA_LF,
	CHUNKS_TRAILER_BEGIN,
	CHUNKS_TRAILER,
	CHUNKS_TRAILER_LF,
	CHUNKS_END_LF,
	CHUNKS_END
};

struct http_chunks { /* all zero at the beginning of a body */
	enum http_chunks_at at;
	uint64_t left; /* of the chunk's data; in the size line: its size so far */
	size_t line; /* octets of the line, or of all trailers */
	const char *fault; /* static text: the octet at which the last call stopped may not stand there */
};

/* How many octets of `in` belong to the body and are well framed: all, or up to the body's end or to a fault. */
size_t http_chunks_take(struct http_chunks *chunks, struct bytes in);

#endif
