#include "appliance/relay/mime/signed_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "appliance/base/bytes.h"

#define LINE_MAX_OCTETS 998
#define BOUNDARY_MAX_BYTES 70 /* RFC 2046 §5.1.1 */

enum place {
	OUTER_HEADER,
	OPENING, /* the first line of the body, which must be the delimiter */
	CONTENT, /* the first part: digested */
	DELIMITER, /* the rest of the line of the delimiter behind it */
	INNER_HEADER, /* of the second part */
	SIGNATURE, /* its base64, up to the closing delimiter */
	CLOSED,
	FAILED
};

struct signed_reader {
	enum place place;
	const char *failure; /* FAILED: why */
	struct buf line; /* of everything but the content: the line so far */
	struct buf field; /* OUTER_HEADER, INNER_HEADER: the unfolded field so far */
	unsigned content_types, encodings; /* fields of this header */
	char delimiter[BOUNDARY_MAX_BYTES + 3]; /* "--boundary" */
	const EVP_MD *algorithm;
	EVP_MD_CTX *digest;
	struct buf base64;

	/* CONTENT */
	bool at_start; /* of a line, `matched` octets of the delimiter seen */
	size_t matched;
	bool line_end; /* the CRLF before this line is not digested yet: it belongs to the delimiter if one follows */
	bool cr; /* the last octet was CR */
	size_t length; /* of the line so far */
};

struct signed_reader *signed_reader_new(void)
{
	struct signed_reader *reader = mem_new(sizeof *reader);

	reader->digest = EVP_MD_CTX_new();
	return reader;
}

void signed_reader_free(struct signed_reader *reader)
{
	if (reader == NULL)
		return;
	EVP_MD_CTX_free(reader->digest);
	buf_clear(&reader->line);
	buf_clear(&reader->field);
	buf_clear(&reader->base64);
	free(reader);
}

static void fail(struct signed_reader *reader, const char *why)
{
	reader->place = FAILED;
	reader->failure = why;
}

/* ---- headers ---- */

/* The value of a parameter, unquoted, in a field as we write it: no comments, no continuations (RFC 2231). */
static bool parameter(const char *field, const char *name, char *out, size_t size)
{
	for (const char *at = strchr(field, ';'); at != NULL; at = strchr(at, ';')) {
		size_t len = strlen(name);
		const char *value, *end;

		at += 1 + strspn(at + 1, " \t");
		if (strncasecmp(at, name, len) != 0 || at[len] != '=')
			continue;
		value = at + len + 1;
		end = *value == '"' ? strchr(value + 1, '"') : value + strcspn(value, "; \t");
		value += *value == '"';
		if (end == NULL || (size_t)(end - value) >= size || end == value)
			return false;
		memcpy(out, value, (size_t)(end - value));
		out[end - value] = '\0';
		return true;
	}
	return false;
}

static bool type_is(const char *field, const char *type)
{
	const char *value = field + strcspn(field, ":") + 1;
	size_t len = strlen(type);

	value += strspn(value, " \t");
	return strncasecmp(value, type, len) == 0 && (value[len] == ';' || value[len] == '\0');
}

static bool read_outer_type(struct signed_reader *reader, const char *field)
{
	static const struct {
		const char *micalg;
		const EVP_MD *(*md)(void);
	} algorithms[] = {{"sha-256", EVP_sha256}, {"sha-384", EVP_sha384}, {"sha-512", EVP_sha512}};
	char boundary[BOUNDARY_MAX_BYTES + 1], micalg[16], protocol[64];

	if (!type_is(field, "multipart/signed") || !parameter(field, "boundary", boundary, sizeof boundary) ||
	    !parameter(field, "micalg", micalg, sizeof micalg) || !parameter(field, "protocol", protocol, sizeof protocol) ||
	    strcasecmp(protocol, "application/pkcs7-signature") != 0)
		return false;
	snprintf(reader->delimiter, sizeof reader->delimiter, "--%s", boundary);
	for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++)
		if (strcmp(algorithms[i].micalg, micalg) == 0)
			reader->algorithm = algorithms[i].md();
	return reader->algorithm != NULL && EVP_DigestInit_ex(reader->digest, reader->algorithm, NULL) == 1;
}

static bool named(const struct buf *field, const char *name)
{
	return bytes_starts_nocase(buf_bytes(field), name);
}

static void end_field(struct signed_reader *reader)
{
	bool outer = reader->place == OUTER_HEADER, sound = true;

	if (named(&reader->field, "Content-Type:")) {
		const char *field = buf_text(&reader->field);

		reader->content_types++;
		sound = outer ? read_outer_type(reader, field) : type_is(field, "application/pkcs7-signature");
	} else if (named(&reader->field, "Content-Transfer-Encoding:")) {
		reader->encodings++;
		sound = !outer && type_is(buf_text(&reader->field), "base64");
	}
	buf_reset(&reader->field);
	if (!sound)
		fail(reader, outer ? "the outer header is not that of multipart/signed" : "the header of the signature is wrong");
}

static void end_header(struct signed_reader *reader)
{
	bool outer = reader->place == OUTER_HEADER;

	end_field(reader);
	if (reader->place == FAILED)
		return;
	if (reader->content_types != 1 || reader->encodings != (outer ? 0 : 1))
		fail(reader, "a Content field is missing or there twice");
	else
		reader->place = outer ? OPENING : SIGNATURE;
	reader->content_types = reader->encodings = 0;
}

static void header_line(struct signed_reader *reader, struct bytes line)
{
	if (line.len == 0) {
		end_header(reader);
		return;
	}
	if (line.data[0] != ' ' && line.data[0] != '\t')
		end_field(reader);
	if (reader->place != FAILED)
		buf_put_bytes(&reader->field, line);
}

/* ---- lines outside the content ---- */

static void signature_line(struct signed_reader *reader, struct bytes line)
{
	char closing[sizeof reader->delimiter + 2];

	snprintf(closing, sizeof closing, "%s--", reader->delimiter);
	if (bytes_equal_text(line, closing))
		reader->place = CLOSED;
	else if (reader->base64.len + line.len > SIGNED_READER_CMS_MAX_BYTES)
		fail(reader, "the signature is too large");
	else
		buf_put_bytes(&reader->base64, line);
}

static void take_line(struct signed_reader *reader, struct bytes line)
{
	switch (reader->place) {
	case OUTER_HEADER:
	case INNER_HEADER:
		header_line(reader, line);
		break;
	case OPENING:
		reader->place = CONTENT;
		reader->at_start = true;
		if (!bytes_equal_text(line, reader->delimiter))
			fail(reader, "the body does not begin with the boundary");
		break;
	case DELIMITER:
		reader->place = INNER_HEADER;
		if (line.len > 0)
			fail(reader, "the boundary stands within the signed part");
		break;
	case SIGNATURE:
		signature_line(reader, line);
		break;
	default:
		fail(reader, "octets behind the closing boundary");
		break;
	}
}

/* The octets used: up to the end of a line, or all. */
static size_t line_octets(struct signed_reader *reader, struct bytes in)
{
	const uint8_t *end = memchr(in.data, '\n', in.len);
	size_t used = end == NULL ? in.len : (size_t)(end - in.data) + 1;
	struct buf *line = &reader->line;

	if (line->len + used > SIGNED_READER_LINE_MAX_BYTES) {
		fail(reader, "a header line is too long");
		return used;
	}
	buf_put(line, in.data, used);
	if (end == NULL)
		return used;
	if (line->len < 2 || line->data[line->len - 2] != '\r')
		fail(reader, "a line ends without CRLF");
	else
		take_line(reader, bytes_of(line->data, line->len - 2));
	buf_reset(line);
	return used;
}

/* ---- the content ---- */

static void digest(struct signed_reader *reader, const void *data, size_t len)
{
	if (len > 0 && EVP_DigestUpdate(reader->digest, data, len) != 1)
		fail(reader, "the digest failed");
}

/* It is no delimiter after all. */
static void flush_start(struct signed_reader *reader)
{
	if (reader->line_end)
		digest(reader, "\r\n", 2);
	digest(reader, reader->delimiter, reader->matched);
	reader->length = reader->matched;
	reader->line_end = reader->at_start = false;
	reader->matched = 0;
}

static size_t start_octets(struct signed_reader *reader, struct bytes in)
{
	size_t used = 0;

	while (used < in.len && reader->delimiter[reader->matched] != '\0' &&
	       in.data[used] == (uint8_t)reader->delimiter[reader->matched]) {
		reader->matched++;
		used++;
	}
	if (reader->delimiter[reader->matched] == '\0') {
		reader->at_start = false;
		reader->place = DELIMITER;
	} else if (used < in.len) {
		flush_start(reader);
	}
	return used;
}

/* A piece of a line without LF. */
static void line_piece(struct signed_reader *reader, struct bytes piece)
{
	const uint8_t *cr;

	if (piece.len == 0)
		return;
	cr = memchr(piece.data, '\r', piece.len);
	reader->length += piece.len;
	if (reader->cr || (cr != NULL && cr != piece.data + piece.len - 1))
		fail(reader, "the signed part holds a bare CR");
	else if (reader->length > LINE_MAX_OCTETS + 1) /* the CR */
		fail(reader, "the signed part holds a line over 998 octets");
	else
		digest(reader, piece.data, piece.len - (cr != NULL));
	reader->cr = cr != NULL;
}

static size_t content_octets(struct signed_reader *reader, struct bytes in)
{
	const uint8_t *end;
	size_t used;

	if (reader->at_start)
		return start_octets(reader, in);
	end = memchr(in.data, '\n', in.len);
	used = end == NULL ? in.len : (size_t)(end - in.data);
	line_piece(reader, bytes_of(in.data, used));
	if (end == NULL || reader->place == FAILED)
		return used;
	if (!reader->cr)
		fail(reader, "the signed part holds a bare LF");
	reader->cr = false;
	reader->line_end = reader->at_start = true;
	reader->length = 0;
	return used + 1;
}

void signed_reader_feed(struct signed_reader *reader, struct bytes octets)
{
	while (octets.len > 0 && reader->place != FAILED) {
		size_t used = reader->place == CONTENT ? content_octets(reader, octets) : line_octets(reader, octets);

		octets = bytes_slice(octets, used, octets.len); /* none used: the start of a line turned out to be no delimiter */
	}
}

static enum sign_digest algorithm_of(const EVP_MD *md)
{
	switch (EVP_MD_get_type(md)) {
	case NID_sha256:
		return SIGN_SHA256;
	case NID_sha384:
		return SIGN_SHA384;
	default:
		return SIGN_SHA512;
	}
}

static bool verify_cms(const struct signed_reader *reader, struct bytes der, struct bytes digest,
		       const struct cms_identity *identity, bool pss, struct err *err)
{
	struct cms_content content = {.algorithm = algorithm_of(reader->algorithm), .digest = digest, .pss = pss};

	return cms_verify(identity, &content, der, err) ||
	       err_set(err, ERR_INTEGRITY,
		       "the signed message does not verify: its signature is not by the certificate over this content");
}

bool signed_reader_verify(struct signed_reader *reader, const struct cms_identity *identity, bool pss, struct err *err)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct buf der = {0};
	unsigned len = 0;
	bool fine;

	if (reader->place == FAILED)
		return err_set(err, ERR_INTEGRITY, "the signed message does not verify: %s", reader->failure);
	if (reader->place != CLOSED || reader->line.len > 0)
		return err_set(err, ERR_INTEGRITY, "the signed message does not verify: it has no end");
	if (!base64_decode(&der, buf_bytes(&reader->base64), err) || EVP_DigestFinal_ex(reader->digest, digest, &len) != 1) {
		buf_clear(&der);
		return err_set(err, ERR_INTEGRITY, "the signed message does not verify: the signature is no base64");
	}
	fine = verify_cms(reader, buf_bytes(&der), bytes_of(digest, len), identity, pss, err);
	buf_clear(&der);
	return fine;
}
