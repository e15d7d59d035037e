#include "appliance/relay/delivery/conversion.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/base/pool.h"
#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/queue/queue.h"

struct conversion {
	struct queue *queue;
	struct pool *pool;
	const struct conversion_events *events;
	void *arg;
	struct mime_scan *scan;
	struct queue_body *original, *encoded;
	struct rendering message; /* what comes out */
	size_t piece; /* being read */
	uint64_t within; /* octets of it that are read */
	uint8_t *chunk;
	size_t len; /* of the chunk */
	struct err err; /* of the job; ERR_NONE: none */
	bool last; /* no more chunks go in */
	bool running; /* a job is on the pool */
	bool freed; /* when the job is over */
};

/* May be the last thing that happens: the callee may free. */
static void fail(struct conversion *conversion, const struct err *err)
{
	conversion->events->chunk((struct bytes){0}, false, err, conversion->arg);
}

static void run(struct conversion *conversion, pool_work *work, pool_done *done)
{
	conversion->running = true;
	conversion->err.code = ERR_NONE;
	queue_hold(conversion->queue);
	pool_submit(conversion->pool, work, done, conversion);
}

/* A job is over: true when the conversion still lives and nothing went wrong. */
static bool came_back(struct conversion *conversion)
{
	conversion->running = false;
	if (conversion->freed)
		conversion_free(conversion);
	else if (conversion->err.code != ERR_NONE)
		fail(conversion, &conversion->err);
	else
		return true;
	return false;
}

/* ---- Coming out ---- */

static ssize_t read_piece(struct conversion *conversion, const struct piece *piece, void *to, size_t len)
{
	uint64_t offset = piece->offset + conversion->within;

	if (piece->source != PIECE_LITERAL)
		return queue_body_pread(piece->source == PIECE_ORIGINAL ? conversion->original : conversion->encoded, to, len,
					offset, &conversion->err);
	memcpy(to, conversion->message.literal.data + offset, len);
	return (ssize_t)len;
}

static bool read_some(struct conversion *conversion)
{
	const struct piece *piece = &conversion->message.pieces[conversion->piece];
	uint64_t left = piece->length - conversion->within;
	size_t room = CONVERSION_CHUNK_BYTES - conversion->len;
	ssize_t got = read_piece(conversion, piece, conversion->chunk + conversion->len, left < room ? (size_t)left : room);

	if (got < 0)
		return false;
	if (got == 0)
		return err_set(&conversion->err, ERR_INTEGRITY, "the converted message ends early");
	conversion->len += (size_t)got;
	conversion->within += (uint64_t)got;
	if (conversion->within == piece->length) {
		conversion->piece++;
		conversion->within = 0;
	}
	return true;
}

static void read_work(void *arg)
{
	struct conversion *conversion = arg;

	conversion->len = 0;
	while (conversion->len < CONVERSION_CHUNK_BYTES && conversion->piece < conversion->message.count) {
		if (!read_some(conversion))
			return;
	}
}

static void read_done(void *arg)
{
	struct conversion *conversion = arg;
	struct queue *queue = conversion->queue;

	if (came_back(conversion))
		conversion->events->chunk(bytes_of(conversion->chunk, conversion->len),
					  conversion->piece == conversion->message.count, NULL, conversion->arg);
	queue_release(queue);
}

void conversion_next(struct conversion *conversion)
{
	run(conversion, read_work, read_done);
}

uint64_t conversion_size(const struct conversion *conversion)
{
	return conversion->message.size;
}

static void begin_reading(struct conversion *conversion)
{
	conversion->chunk = mem_new(CONVERSION_CHUNK_BYTES);
	conversion_next(conversion);
}

/* ---- Encoding ---- */

static ssize_t read_original(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	const struct conversion *conversion = arg;

	return queue_body_pread(conversion->original, data, len, offset, err);
}

static bool write_encoded(void *arg, struct bytes octets, struct err *err)
{
	struct conversion *conversion = arg;

	return queue_body_append_blocking(conversion->encoded, octets, err);
}

static void ignore_octets(void *arg, struct bytes octets)
{
	(void)arg;
	(void)octets;
}

static void encode_work(void *arg)
{
	struct conversion *conversion = arg;
	const struct rendering_io io = {
	    .read = read_original, .write_encoded = write_encoded, .signed_octets = ignore_octets, .arg = conversion};
	struct rendering part = {0};

	if (!rendering_signed_part(conversion->scan, &io, &part, &conversion->err))
		return;
	conversion->err.code = ERR_NONE;
	rendering_converted_message(conversion->scan, &part, &conversion->message);
	rendering_clear(&part);
}

static void on_encoded_sealed(const struct err *err, void *arg)
{
	struct conversion *conversion = arg;

	if (err != NULL)
		fail(conversion, err);
	else
		begin_reading(conversion);
}

static void encode_done(void *arg)
{
	struct conversion *conversion = arg;
	struct queue *queue = conversion->queue;

	if (came_back(conversion))
		queue_body_seal(conversion->encoded, on_encoded_sealed, conversion);
	queue_release(queue);
}

/* A signature of somebody else's covers the octets as they are; here a label is believed, since nothing is lost by that. */
static bool is_signed(const struct mime_scan *scan)
{
	const struct mime_field *type = mime_header_find(mime_scan_header(scan), "Content-Type", NULL);
	struct buf value = {0};
	bool labelled;

	if (type != NULL)
		mime_field_unfold(&value, type);
	labelled = bytes_starts_nocase(buf_bytes(&value), "multipart/signed");
	buf_clear(&value);
	return labelled || mime_scan_presigned(scan) != MIME_PRESIGNED_NO;
}

static bool may_convert(const struct mime_scan *scan, struct err *err)
{
	if (is_signed(scan))
		return err_set(err, ERR_INVALID, "its signature would break");
	if (mime_scan_verdict(scan) == MIME_UNSIGNABLE)
		return err_set(err, ERR_INVALID, "%s", mime_scan_reason(scan));
	return true;
}

static void convert(struct conversion *conversion)
{
	struct err err;

	if (mime_scan_verdict(conversion->scan) == MIME_FAST) { /* 8-bit at most in its header, which has no encoding */
		rendering_add_range(&conversion->message, PIECE_ORIGINAL, 0, queue_body_size(conversion->original));
		begin_reading(conversion);
	} else if (may_convert(conversion->scan, &err)) {
		conversion->encoded = queue_body_begin(conversion->queue, 0);
		run(conversion, encode_work, encode_done);
	} else {
		fail(conversion, &err);
	}
}

/* ---- Going in ---- */

static void on_original_sealed(const struct err *err, void *arg)
{
	struct conversion *conversion = arg;

	if (err != NULL)
		fail(conversion, err);
	else
		convert(conversion);
}

static void on_resume(void *arg)
{
	struct conversion *conversion = arg;

	if (!conversion->last && queue_body_error(conversion->original) == NULL)
		conversion->events->more(conversion->arg);
	else if (!conversion->last)
		queue_body_seal(conversion->original, on_original_sealed, conversion); /* tells the error, from the loop */
}

/* A body that has failed says why when it is sealed. */
void conversion_put(struct conversion *conversion, struct bytes chunk, bool last)
{
	enum queue_append appended = queue_body_append(conversion->original, chunk);

	mime_scan_feed(conversion->scan, chunk);
	conversion->last = last || appended == QUEUE_APPEND_FAILED;
	if (conversion->last) {
		mime_scan_finish(conversion->scan);
		queue_body_seal(conversion->original, on_original_sealed, conversion);
	} else if (appended == QUEUE_APPEND_MORE) {
		conversion->events->more(conversion->arg);
	}
}

struct conversion *conversion_begin(struct queue *queue, struct pool *pool, const struct conversion_events *events, void *arg)
{
	struct conversion *conversion = mem_new(sizeof *conversion);

	conversion->queue = queue;
	conversion->pool = pool;
	conversion->events = events;
	conversion->arg = arg;
	conversion->scan = mime_scan_new();
	conversion->original = queue_body_begin(queue, 0);
	queue_body_on_resume(conversion->original, on_resume, conversion);
	return conversion;
}

void conversion_free(struct conversion *conversion)
{
	if (conversion == NULL)
		return;
	conversion->freed = true;
	if (conversion->running)
		return;
	mime_scan_free(conversion->scan);
	queue_body_discard(conversion->original);
	queue_body_discard(conversion->encoded);
	rendering_clear(&conversion->message);
	free(conversion->chunk);
	free(conversion);
}
