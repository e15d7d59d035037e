#include <openssl/rand.h>
#include <string.h>

#include "appliance/relay/mime/rendering.h"
#include "appliance/relay/mime/scan_private.h"

#define CMS_COLUMNS 64
#define RANDOM_OCTETS 16

bool rendering_new_boundary(char out[static RENDERING_BOUNDARY_BYTES], struct err *err)
{
	static const char prefix[] = "----=_inkan_";
	uint8_t random[RANDOM_OCTETS];

	if (RAND_bytes(random, sizeof random) != 1)
		return err_set(err, ERR_INTERNAL, "no random octets for a boundary");
	memcpy(out, prefix, sizeof prefix - 1);
	hex_encode(out + sizeof prefix - 1, bytes_of(random, sizeof random));
	return true;
}

static bool stays_outside(const struct mime_field *field)
{
	return !bytes_starts_nocase(field->name, "content-") && !bytes_equal_nocase(field->name, "mime-version");
}

static void add_outer_fields(const struct mime_scan *scan, struct rendering *message)
{
	struct bytes raw = {0};

	for (size_t i = 0; i < scan->header.count; i++) {
		const struct mime_field *field = &scan->header.fields[i];

		if (!stays_outside(field))
			continue;
		raw = mime_field_raw(scan, field);
		rendering_add_range(message, PIECE_ORIGINAL, field->offset, field->end - field->offset);
	}
	if (raw.len > 0 && raw.data[raw.len - 1] != '\n')
		rendering_add_literal(message, bytes_text("\r\n"));
}

static void put_lines(struct buf *out, struct bytes base64)
{
	for (size_t i = 0; i < base64.len; i += CMS_COLUMNS) {
		buf_put_bytes(out, bytes_slice(base64, i, i + CMS_COLUMNS));
		buf_put_text(out, "\r\n");
	}
}

static void put_signature(struct buf *out, const char *boundary, struct bytes cms)
{
	struct buf base64 = {0};

	buf_printf(out,
		   "\r\n--%s\r\n"
		   "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n"
		   "Content-Transfer-Encoding: base64\r\n"
		   "Content-Disposition: attachment; filename=\"smime.p7s\"\r\n"
		   "\r\n",
		   boundary);
	base64_encode(&base64, cms);
	put_lines(out, buf_bytes(&base64));
	buf_printf(out, "\r\n--%s--\r\n", boundary);
	buf_clear(&base64);
}

void rendering_signed_message(const struct mime_scan *scan, const struct rendering *part, const char *micalg,
			      const char *boundary, struct bytes cms, struct rendering *message)
{
	struct buf text = {0};

	add_outer_fields(scan, message);
	buf_printf(&text,
		   "MIME-Version: 1.0\r\n"
		   "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n"
		   " micalg=%s; boundary=\"%s\"\r\n"
		   "\r\n"
		   "--%s\r\n",
		   micalg, boundary, boundary);
	rendering_add_literal(message, buf_bytes(&text));
	rendering_append(message, part);
	buf_reset(&text);
	put_signature(&text, boundary, cms);
	rendering_add_literal(message, buf_bytes(&text));
	buf_clear(&text);
}

void rendering_converted_message(const struct mime_scan *scan, const struct rendering *part, struct rendering *message)
{
	add_outer_fields(scan, message);
	rendering_add_literal(message, bytes_text("MIME-Version: 1.0\r\n"));
	rendering_append(message, part);
}
