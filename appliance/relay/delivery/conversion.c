#include "appliance/relay/delivery/conversion.h"

#include <stdlib.h>
#include <string.h>

#include "appliance/base/pool.h"
#include "appliance/relay/mime/presigned.h"
#include "appliance/relay/mime/rendering.h"

struct conversion {
	struct buf message, out;
	struct err err; /* ERR_NONE: done */
	bool running, freed;
	conversion_cb *cb;
	void *arg;
};

struct work {
	struct bytes message;
	struct buf encoded;
};

static ssize_t read_message(void *arg, void *data, size_t len, uint64_t offset, struct err *err)
{
	const struct work *work = arg;
	struct bytes rest = bytes_slice(work->message, (size_t)offset, work->message.len);

	(void)err;
	if (len > rest.len)
		len = rest.len;
	if (len > 0)
		memcpy(data, rest.data, len);
	return (ssize_t)len;
}

static bool write_encoded(void *arg, struct bytes octets, struct err *err)
{
	struct work *work = arg;

	(void)err;
	buf_put_bytes(&work->encoded, octets);
	return true;
}

static void ignore_octets(void *arg, struct bytes octets)
{
	(void)arg;
	(void)octets;
}

static struct bytes octets_of(const struct work *work, const struct rendering *rendering, const struct piece *piece)
{
	struct bytes all = piece->source == PIECE_ORIGINAL  ? work->message
			   : piece->source == PIECE_ENCODED ? buf_bytes(&work->encoded)
							    : buf_bytes(&rendering->literal);

	return bytes_slice(all, (size_t)piece->offset, (size_t)(piece->offset + piece->length));
}

static bool render(const struct mime_scan *scan, struct work *work, struct buf *out, struct err *err)
{
	const struct rendering_io io = {
	    .read = read_message, .write_encoded = write_encoded, .signed_octets = ignore_octets, .arg = work};
	struct rendering part = {0}, message = {0};
	bool good = rendering_signed_part(scan, &io, &part, err);

	if (good)
		rendering_converted_message(scan, &part, &message);
	for (size_t i = 0; i < message.count; i++)
		buf_put_bytes(out, octets_of(work, &message, &message.pieces[i]));
	rendering_clear(&part);
	rendering_clear(&message);
	return good;
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

bool conversion_convert(struct bytes message, struct buf *out, struct err *err)
{
	struct mime_scan *scan = mime_scan_new();
	struct work work = {.message = message};
	bool good;

	mime_scan_feed(scan, message);
	mime_scan_finish(scan);
	if (mime_scan_verdict(scan) == MIME_FAST) {
		buf_put_bytes(out, message); /* 8-bit at most in its header, which has no encoding */
		good = true;
	} else {
		good = may_convert(scan, err) && render(scan, &work, out, err);
	}
	mime_scan_free(scan);
	buf_clear(&work.encoded);
	return good;
}

static void convert(void *arg)
{
	struct conversion *conversion = arg;

	if (conversion_convert(buf_bytes(&conversion->message), &conversion->out, &conversion->err))
		conversion->err.code = ERR_NONE;
}

static void done(void *arg)
{
	struct conversion *conversion = arg;

	conversion->running = false;
	if (conversion->freed)
		conversion_free(conversion);
	else if (conversion->err.code == ERR_NONE)
		conversion->cb(buf_bytes(&conversion->out), NULL, conversion->arg);
	else
		conversion->cb((struct bytes){0}, &conversion->err, conversion->arg);
}

struct conversion *conversion_begin(struct pool *pool, struct buf *message, conversion_cb *cb, void *arg)
{
	struct conversion *conversion = mem_new(sizeof *conversion);

	conversion->message = *message;
	*message = (struct buf){0};
	conversion->cb = cb;
	conversion->arg = arg;
	conversion->running = true;
	pool_submit(pool, convert, done, conversion);
	return conversion;
}

void conversion_free(struct conversion *conversion)
{
	if (conversion == NULL)
		return;
	conversion->freed = true;
	if (conversion->running)
		return;
	buf_clear(&conversion->message);
	buf_clear(&conversion->out);
	free(conversion);
}
