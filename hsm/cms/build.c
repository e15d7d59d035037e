/*
 * The SignedData is written here octet by octet (DER): no OpenSSL 3.0 call signs a digest that is given, and its CMS
 * machinery copies every certificate for each message, which costs several times what this does.
 */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hsm/cms/cms_private.h"
#include "hsm/cms/der.h"

#define ATTRIBUTES 4

#define PUT(out, array) buf_put(out, array, sizeof(array))

static const uint8_t version_1[] = {DER_INTEGER, 1, 1};
static const uint8_t oid_signed_data[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02};
static const uint8_t oid_message_digest[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04};
static const uint8_t oid_signing_time[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x05};

/* EncapsulatedContentInfo without content: SEQUENCE { id-data }. */
static const uint8_t no_content[] = {0x30, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};

/* SEQUENCE { id-contentType, SET { id-data } }. */
static const uint8_t content_type[] = {0x30, 0x18, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03,
				       0x31, 0x0b, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};

bool cms_openssl_fail(struct err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	err_set(err, ERR_INTERNAL, "%s: %s", what, reason != NULL ? reason : "failed");
	ERR_clear_error();
	return false;
}

static void put_message_digest(struct buf *out, struct bytes digest)
{
	size_t set, sequence = out->len;

	PUT(out, oid_message_digest);
	set = out->len;
	cms_put_value(out, DER_OCTET_STRING, digest);
	cms_wrap(out, DER_SET, set);
	cms_wrap(out, DER_SEQUENCE, sequence);
}

/* UTCTime until 2049, as RFC 5652 §11.3 asks. */
static bool put_time(struct buf *out, int64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm utc;
	char text[32];
	bool short_year;

	if (gmtime_r(&time, &utc) == NULL || utc.tm_year < 50 || utc.tm_year + 1900 > 9999)
		return false;
	short_year = utc.tm_year < 150;
	strftime(text, sizeof text, short_year ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &utc);
	cms_put_value(out, short_year ? DER_UTC_TIME : DER_GENERALIZED_TIME, bytes_text(text));
	return true;
}

static bool put_signing_time(struct buf *out, int64_t seconds)
{
	size_t set, sequence = out->len;
	bool good;

	PUT(out, oid_signing_time);
	set = out->len;
	good = put_time(out, seconds);
	cms_wrap(out, DER_SET, set);
	cms_wrap(out, DER_SEQUENCE, sequence);
	return good;
}

/* RFC 5652 §5.4: the attributes as a DER SET OF, which is what is signed. */
static bool put_attributes(struct buf *out, const struct cms_identity *identity, const struct cms_content *content)
{
	struct buf parts[ATTRIBUTES] = {{0}};
	size_t count = 3;
	bool good = true;

	PUT(&parts[0], content_type);
	put_message_digest(&parts[1], content->digest);
	buf_put_bytes(&parts[2], buf_bytes(&identity->signing_certificate[content->algorithm]));
	if (content->signing_time != 0)
		good = put_signing_time(&parts[count++], content->signing_time);
	qsort(parts, count, sizeof parts[0], cms_compare_encodings);
	for (size_t i = 0; i < count; i++) {
		buf_put_bytes(out, buf_bytes(&parts[i]));
		buf_clear(&parts[i]);
	}
	cms_wrap(out, DER_SET, 0);
	return good;
}

/* RFC 5652 §5.3; the attributes there are [0] IMPLICIT, so their first octet differs from what was signed. */
static void put_signer(struct buf *out, const struct cms_identity *identity, const struct cms_content *content,
		       struct bytes attributes, struct bytes signature)
{
	size_t set = out->len;

	PUT(out, version_1);
	buf_put_bytes(out, buf_bytes(&identity->issuer_and_serial));
	cms_put_digest_algorithm(out, content->algorithm);
	buf_put_byte(out, DER_CONTEXT_0);
	buf_put_bytes(out, bytes_slice(attributes, 1, attributes.len));
	cms_put_signature_algorithm(out, identity, content);
	cms_put_value(out, DER_OCTET_STRING, signature);
	cms_wrap(out, DER_SEQUENCE, set);
	cms_wrap(out, DER_SET, set);
}

/* RFC 5652 §3, §5.1. `out` is empty. */
static void put_signed_data(struct buf *out, const struct cms_identity *identity, const struct cms_content *content,
			    struct bytes attributes, struct bytes signature)
{
	size_t data, at;

	buf_reserve(out, identity->certificates.len + identity->issuer_and_serial.len + attributes.len + signature.len + 256);
	PUT(out, oid_signed_data);
	data = out->len;
	PUT(out, version_1);
	at = out->len;
	cms_put_digest_algorithm(out, content->algorithm);
	cms_wrap(out, DER_SET, at);
	PUT(out, no_content);
	at = out->len;
	buf_put_bytes(out, buf_bytes(&identity->certificates));
	cms_wrap(out, DER_CONTEXT_0, at);
	put_signer(out, identity, content, attributes, signature);
	cms_wrap(out, DER_SEQUENCE, data);
	cms_wrap(out, DER_CONTEXT_0, data);
	cms_wrap(out, DER_SEQUENCE, 0);
}

static bool build(const struct cms_identity *identity, const struct cms_content *content, cms_signature *sign, void *arg,
		  struct buf *der, struct err *err)
{
	struct buf attributes = {0}, signature = {0};
	bool done;

	if (!put_attributes(&attributes, identity, content))
		done = err_set(err, ERR_INVALID, "a signing time that no calendar has");
	else
		done = sign(arg, content->algorithm, content->pss, buf_bytes(&attributes), &signature, err);
	if (done)
		put_signed_data(der, identity, content, buf_bytes(&attributes), buf_bytes(&signature));
	buf_clear(&attributes);
	buf_clear(&signature);
	return done;
}

static bool check_content(const struct cms_identity *identity, const struct cms_content *content, struct err *err)
{
	if (content->digest.len == 0 || content->digest.len != sign_digest_bytes(content->algorithm))
		return err_set(err, ERR_INVALID, "digest of %zu bytes", content->digest.len);
	if (content->pss && !identity->rsa)
		return err_set(err, ERR_INVALID, "RSASSA-PSS with a key that is not RSA");
	return true;
}

bool cms_sign(const struct cms_identity *identity, const struct cms_content *content, cms_signature *sign, void *arg,
	      struct buf *der, struct err *err)
{
	struct buf made = {0};
	bool good;

	ERR_clear_error();
	good = check_content(identity, content, err) && build(identity, content, sign, arg, &made, err) &&
	       cms_verify(identity, content, buf_bytes(&made), err);
	if (good)
		buf_put_bytes(der, buf_bytes(&made));
	buf_clear(&made);
	ERR_clear_error();
	return good;
}
