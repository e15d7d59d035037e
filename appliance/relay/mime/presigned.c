#include "appliance/relay/mime/presigned.h"

#include <openssl/cms.h>
#include <string.h>

#include "appliance/relay/mime/scan_private.h"
#include "appliance/relay/mime/syntax.h"

#define DER_PREFIX_CHARACTERS 64 /* of base64, enough for the head of a ContentInfo */

/* ---- Types and their parameters ---- */

struct labels {
	struct bytes type, subtype;
	struct buf unfolded, protocol, micalg, name;
};

static void labels_clear(struct labels *labels)
{
	buf_clear(&labels->unfolded);
	buf_clear(&labels->protocol);
	buf_clear(&labels->micalg);
	buf_clear(&labels->name);
}

static void labels_parse(struct labels *labels, struct bytes value)
{
	struct mime_parameter parameter = {0};
	struct bytes rest;

	mime_unfold(&labels->unfolded, value);
	rest = bytes_trim(buf_bytes(&labels->unfolded));
	mime_take_type(&rest, &labels->type, &labels->subtype);
	while (mime_next_parameter(&rest, &parameter)) {
		struct buf *to = bytes_equal_nocase(parameter.name, "protocol") ? &labels->protocol
				 : bytes_equal_nocase(parameter.name, "micalg") ? &labels->micalg
				 : bytes_equal_nocase(parameter.name, "name")	? &labels->name
										: NULL;

		if (to != NULL && to->len == 0)
			buf_put_bytes(to, buf_bytes(&parameter.value));
	}
	buf_clear(&parameter.value);
}

enum signature { SIGNATURE_NONE, SIGNATURE_CMS, SIGNATURE_PGP };

static enum signature signature_of(struct bytes type)
{
	static const struct {
		const char *name;
		enum signature signature;
	} types[] = {
	    {"application/pkcs7-signature", SIGNATURE_CMS},
	    {"application/x-pkcs7-signature", SIGNATURE_CMS},
	    {"application/pgp-signature", SIGNATURE_PGP},
	};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (bytes_equal_nocase(bytes_trim(type), types[i].name))
			return types[i].signature;
	}
	return SIGNATURE_NONE;
}

/* ---- The second part ---- */

struct part {
	struct bytes type, encoding, body; /* type and encoding are field values; empty when absent */
	bool proper; /* a header of fields and an empty line, neither field twice */
};

static void take_part_field(struct part *part, struct bytes raw)
{
	struct bytes name, *to;
	size_t colon;

	if (!mime_split_field(raw, &name, &colon)) {
		part->proper = false;
		return;
	}
	if (bytes_equal_nocase(name, "content-type"))
		to = &part->type;
	else if (bytes_equal_nocase(name, "content-transfer-encoding"))
		to = &part->encoding;
	else
		return;
	part->proper = part->proper && to->len == 0;
	*to = bytes_trim(bytes_slice(raw, colon + 1, raw.len));
}

static size_t line_length(struct bytes text)
{
	const uint8_t *lf = memchr(text.data, '\n', text.len);

	return lf != NULL ? (size_t)(lf - text.data) + 1 : text.len;
}

static struct part split_part(struct bytes raw)
{
	struct part part = {.proper = true};

	while (raw.len > 0 && !bytes_equal_text(bytes_slice(raw, 0, 2), "\r\n")) {
		size_t len = line_length(raw);

		while (len < raw.len && mime_is_blank(raw.data[len]))
			len += line_length(bytes_slice(raw, len, raw.len));
		take_part_field(&part, bytes_slice(raw, 0, len));
		raw = bytes_slice(raw, len, raw.len);
	}
	part.proper = part.proper && raw.len > 0;
	part.body = bytes_slice(raw, 2, raw.len);
	return part;
}

static bool is_detached_signature(struct bytes der)
{
	const uint8_t *at = der.data;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);
	bool ok = cms != NULL && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_signed && CMS_is_detached(cms) == 1 &&
		  sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms)) > 0;

	CMS_ContentInfo_free(cms);
	return ok;
}

static bool proves_cms(const struct part *part)
{
	struct buf der = {0};
	bool ok = bytes_equal_nocase(part->encoding, "base64") && base64_decode(&der, part->body, NULL) && der.len > 0 &&
		  is_detached_signature(buf_bytes(&der));

	buf_clear(&der);
	return ok;
}

static bool proves_pgp(const struct part *part)
{
	static const char armour[] = "-----BEGIN PGP SIGNATURE-----";
	struct bytes body = bytes_trim(part->body);
	struct buf text = {0};
	bool ok;

	if (bytes_equal_nocase(part->encoding, "base64") && base64_decode(&text, body, NULL))
		body = bytes_trim(buf_bytes(&text));
	ok = body.len >= sizeof armour - 1 && memcmp(body.data, armour, sizeof armour - 1) == 0;
	buf_clear(&text);
	return ok;
}

static enum mime_presigned judge_part(struct bytes raw, enum signature protocol)
{
	struct part part = split_part(raw);
	struct labels labels = {0};
	struct buf type = {0};
	enum signature found;

	labels_parse(&labels, part.type);
	buf_put_bytes(&type, labels.type);
	buf_put_byte(&type, '/');
	buf_put_bytes(&type, labels.subtype);
	found = part.proper ? signature_of(buf_bytes(&type)) : SIGNATURE_NONE;
	buf_clear(&type);
	labels_clear(&labels);
	if (found != protocol)
		return MIME_PRESIGNED_NO;
	if (found == SIGNATURE_CMS && proves_cms(&part))
		return MIME_PRESIGNED_SMIME;
	return found == SIGNATURE_PGP && proves_pgp(&part) ? MIME_PRESIGNED_PGP : MIME_PRESIGNED_NO;
}

static enum mime_presigned judge_multipart(const struct mime_scan *scan, const struct labels *labels)
{
	enum signature protocol = signature_of(buf_bytes(&labels->protocol));

	if (!scan->root_multipart || scan->root_type.ambiguous || !scan->root_closed || scan->root_parts != 2 || scan->kept_cut ||
	    protocol == SIGNATURE_NONE || labels->micalg.len == 0)
		return MIME_PRESIGNED_NO;
	return judge_part(buf_bytes(&scan->kept), protocol);
}

/* ---- A root that is CMS ---- */

/* Does DER (or BER) begin as a ContentInfo whose type is one that hides or holds the content (RFC 8551 §3.2.2)? */
static bool begins_content_info(struct bytes der)
{
	static const struct {
		uint8_t octets[13];
		size_t len;
	} types[] = {
	    {{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2}, 11}, /* signedData */
	    {{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 3}, 11}, /* envelopedData */
	    {{6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 9}, 13}, /* compressedData */
	    {{6, 11, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 16, 1, 23}, 13}, /* authEnvelopedData */
	};
	size_t at;

	if (der.len < 2 || der.data[0] != 0x30)
		return false;
	at = 2 + (der.data[1] > 0x80 ? der.data[1] & 0x7fu : 0);
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (der.len > at + types[i].len && memcmp(der.data + at, types[i].octets, types[i].len) == 0)
			return der.data[at + types[i].len] == 0xa0;
	}
	return false;
}

static bool is_root_cms(const struct labels *labels)
{
	struct bytes name = buf_bytes(&labels->name);

	if (!bytes_equal_nocase(labels->type, "application"))
		return false;
	if (!bytes_equal_nocase(labels->subtype, "octet-stream"))
		return bytes_equal_nocase(labels->subtype, "pkcs7-mime") || bytes_equal_nocase(labels->subtype, "x-pkcs7-mime");
	return name.len > 4 && bytes_equal_nocase(bytes_slice(name, name.len - 4, name.len), ".p7m");
}

static enum mime_presigned judge_root_cms(const struct mime_scan *scan)
{
	struct buf characters = {0}, der = {0};
	bool ok;

	for (size_t i = 0; i < scan->kept.len && characters.len < DER_PREFIX_CHARACTERS; i++) {
		if (scan->kept.data[i] > ' ')
			buf_put_byte(&characters, scan->kept.data[i]);
	}
	ok = scan->entity.cte == CTE_BASE64 && !scan->entity.cte_conflict && base64_decode(&der, buf_bytes(&characters), NULL) &&
	     begins_content_info(buf_bytes(&der));
	buf_clear(&characters);
	buf_clear(&der);
	return ok ? MIME_PRESIGNED_CMS : MIME_PRESIGNED_NO;
}

enum mime_presigned mime_scan_presigned(const struct mime_scan *scan)
{
	const struct mime_field *field;
	enum mime_presigned result = MIME_PRESIGNED_NO;
	struct labels labels = {0};
	size_t count;

	field = mime_header_find(&scan->header, "content-type", &count);
	if (count != 1 || scan->header.malformed || scan->header.too_large)
		return MIME_PRESIGNED_NO;
	labels_parse(&labels, field->value);
	if (bytes_equal_nocase(labels.type, "multipart") && bytes_equal_nocase(labels.subtype, "signed"))
		result = judge_multipart(scan, &labels);
	else if (is_root_cms(&labels))
		result = judge_root_cms(scan);
	labels_clear(&labels);
	return result;
}
