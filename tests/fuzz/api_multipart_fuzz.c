/* multipart/form-data: the same parts come out however the input is cut (the first octet says how), and names are clean UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/api/charset.h"
#include "appliance/relay/api/multipart.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void check_name(const char *name)
{
	require(utf8_is_valid(bytes_text(name)));
	for (; *name != '\0'; name++)
		require((unsigned char)*name >= ' ' && *name != 0x7f);
}

static bool on_begin(const struct multipart_part *part, void *arg, struct err *err)
{
	(void)err;
	check_name(part->name);
	if (part->file_name != NULL) {
		check_name(part->file_name);
		require(strchr(part->file_name, '/') == NULL);
	}
	buf_printf(arg, "[%s]", part->name);
	return true;
}

static bool on_data(struct bytes octets, void *arg, struct err *err)
{
	(void)err;
	buf_put_bytes(arg, octets);
	return true;
}

static bool on_end(void *arg, struct err *err)
{
	(void)err;
	buf_put_byte(arg, ';');
	return true;
}

static bool read_all(struct bytes in, size_t step, struct buf *out)
{
	struct multipart_sink sink = {on_begin, on_data, on_end, out};
	struct multipart multipart;
	struct err err;
	bool right = true;

	multipart_init(&multipart, bytes_text("b"), &sink);
	for (size_t at = 0; right && at < in.len; at += step)
		right = multipart_feed(&multipart, bytes_slice(in, at, at + step), &err);
	right = right && multipart_finish(&multipart, &err);
	multipart_clear(&multipart);
	return right;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = {0}, cut = {0}, boundary = {0};
	struct bytes in;

	if (size == 0)
		return 0;
	in = bytes_of(data + 1, size - 1);
	if (read_all(in, in.len + 1, &whole)) {
		require(read_all(in, data[0] % 37 + 1u, &cut));
		require(bytes_equal(buf_bytes(&whole), buf_bytes(&cut)));
	} else {
		require(!read_all(in, data[0] % 37 + 1u, &cut));
	}
	buf_put_bytes(&cut, in);
	buf_clear(&whole);
	multipart_boundary(buf_text(&cut), &boundary);
	buf_clear(&boundary);
	buf_clear(&cut);
	return 0;
}
