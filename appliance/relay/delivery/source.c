#include "appliance/relay/delivery/source.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

struct source {
	struct queue *queue;
	struct queue_stored *message;
	enum queue_rendering rendering;
	source_chunk_cb *chunk_cb;
	void *arg;
	struct event *tell; /* a chunk that needed no waiting is told from the loop */
	struct queue_reader *reader;
	struct rendering pieces;
	size_t piece; /* being read */
	uint64_t within; /* octets of it that are read */
	uint8_t *chunk;
	size_t room, len; /* of the chunk */
	bool last;
	bool opening; /* the queue still owes the opened callback */
	bool closed;
};

static bool check_ranges(const struct queue_stored *message, const struct rendering *pieces, struct err *err)
{
	for (size_t i = 0; i < pieces->count; i++) {
		const struct piece *piece = &pieces->pieces[i];
		uint64_t size = piece->source == PIECE_ORIGINAL	 ? message->original_size
				: piece->source == PIECE_ENCODED ? message->encoded_size
								 : pieces->literal.len;

		if (piece->length > size || piece->offset > size - piece->length)
			return err_set(err, ERR_INTEGRITY, "the stored rendering reaches beyond the stored message");
	}
	return true;
}

static bool decode_signed(const struct queue_stored *message, struct rendering *pieces, struct err *err)
{
	struct rendering addition = {0};

	if (message->addition.len == 0)
		return err_set(err, ERR_INTEGRITY, "the stored message has no signed rendering");
	if (!rendering_decode(buf_bytes(&message->addition), &addition, err)) {
		err_prefix(err, "the stored signed rendering");
		if (err != NULL)
			err->code = ERR_INTEGRITY;
		return false;
	}
	rendering_append(pieces, &addition);
	rendering_clear(&addition);
	return true;
}

static bool build_pieces(const struct queue_stored *message, enum queue_rendering rendering, struct rendering *pieces,
			 struct err *err)
{
	uint64_t size = rendering == QUEUE_SIGNED ? message->signed_size : message->plain_size;

	if (message->prefix.len > 0)
		rendering_add_literal(pieces, buf_bytes(&message->prefix));
	if (rendering == QUEUE_PLAIN)
		rendering_add_range(pieces, PIECE_ORIGINAL, 0, message->original_size);
	else if (!decode_signed(message, pieces, err))
		return false;
	if (pieces->size != size)
		return err_set(err, ERR_INTEGRITY, "the stored rendering has %llu octets, not %llu",
			       (unsigned long long)pieces->size, (unsigned long long)size);
	return check_ranges(message, pieces, err);
}

bool source_pieces(const struct queue_stored *message, enum queue_rendering rendering, struct rendering *pieces, struct err *err)
{
	struct rendering built = {0};

	if (!build_pieces(message, rendering, &built, err)) {
		rendering_clear(&built);
		return false;
	}
	*pieces = built;
	return true;
}

static void source_free(struct source *source)
{
	queue_stored_unref(source->message);
	event_free(source->tell);
	rendering_clear(&source->pieces);
	free(source->chunk);
	free(source);
}

static void tell(struct source *source, const struct err *err)
{
	if (err != NULL)
		source->chunk_cb((struct bytes){0}, false, err, source->arg);
	else
		source->chunk_cb(bytes_of(source->chunk, source->len), source->last, NULL, source->arg);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tell(arg, NULL);
}

static void on_verified(const struct err *err, void *arg)
{
	struct source *source = arg;

	source->last = err == NULL;
	tell(source, err);
}

static void advance(struct source *source, uint64_t octets)
{
	source->len += octets;
	source->within += octets;
	if (source->within == source->pieces.pieces[source->piece].length) {
		source->piece++;
		source->within = 0;
	}
}

static void fill(struct source *source);

static void on_read(ssize_t got, const struct err *err, void *arg)
{
	struct source *source = arg;
	struct err short_body;

	if (err == NULL && got <= 0) {
		err_set(&short_body, ERR_INTEGRITY, "the stored body ends early");
		err = &short_body;
	}
	if (err != NULL) {
		tell(source, err);
		return;
	}
	advance(source, (uint64_t)got);
	fill(source);
}

/* Reads or copies until the chunk is full, then tells; behind the last piece the digest is asked for first. */
static void fill(struct source *source)
{
	while (source->len < source->room && source->piece < source->pieces.count) {
		const struct piece *piece = &source->pieces.pieces[source->piece];
		uint64_t left = piece->length - source->within;
		size_t room = source->room - source->len, len = left < room ? (size_t)left : room;
		uint64_t offset = piece->offset + source->within;
		uint8_t *to = source->chunk + source->len;

		if (piece->source != PIECE_LITERAL && len > 0) {
			queue_reader_read(source->reader,
					  piece->source == PIECE_ORIGINAL ? QUEUE_PART_ORIGINAL : QUEUE_PART_ENCODED, offset, to,
					  len, on_read, source);
			return;
		}
		if (len > 0)
			memcpy(to, source->pieces.literal.data + offset, len);
		advance(source, len);
	}
	if (source->piece == source->pieces.count)
		queue_reader_verify(source->reader, on_verified, source);
	else
		event_active(source->tell, 0, 0);
}

static void on_opened(struct queue_reader *reader, const struct err *err, void *arg)
{
	struct source *source = arg;
	struct err damage;

	source->opening = false;
	source->reader = reader;
	if (source->closed) {
		queue_reader_close(reader);
		source_free(source);
	} else if (err != NULL) {
		tell(source, err);
	} else if (!source_pieces(source->message, source->rendering, &source->pieces, &damage)) {
		tell(source, &damage);
	} else {
		source->room = source->pieces.size < SOURCE_CHUNK_BYTES ? source->pieces.size + 1 : SOURCE_CHUNK_BYTES;
		source->chunk = mem_new(source->room);
		fill(source);
	}
}

struct source *source_open(struct event_base *base, struct queue *queue, struct queue_stored *message,
			   enum queue_rendering rendering, source_chunk_cb *chunk, void *arg)
{
	struct source *source = mem_new(sizeof *source);

	source->queue = queue;
	source->message = queue_stored_ref(message);
	source->rendering = rendering;
	source->chunk_cb = chunk;
	source->arg = arg;
	source->tell = event_new(base, -1, 0, on_tell, source);
	source->opening = true;
	queue_body_open(queue, message, on_opened, source);
	return source;
}

void source_next(struct source *source)
{
	source->len = 0;
	fill(source);
}

void source_close(struct source *source)
{
	if (source == NULL || source->closed)
		return;
	source->closed = true;
	if (source->opening)
		return;
	queue_reader_close(source->reader);
	source_free(source);
}
