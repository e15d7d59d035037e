/*
 * OpenSSL assembles the SignerInfo with the public key alone; the attributes are encoded here as RFC 5652 §5.4 has them
 * (DER, sorted, as SET OF), since no OpenSSL 3.0 call signs a digest that is given.
 */
#include <openssl/cms.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/cms/cms_private.h"

#define ATTRIBUTES_MAX 8

/* AlgorithmIdentifier id-RSASSA-PSS (RFC 4055 §3.1) with hash and MGF1 of SHA-256 and a salt of 32; others differ in 3 octets. */
static const uint8_t pss_sha256[] = {0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30,
				     0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
				     0x02, 0x01, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
				     0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
				     0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20};
#define PSS_HASH_AT 29
#define PSS_MGF_HASH_AT 59
#define PSS_SALT_AT 66

const EVP_MD *cms_digest(enum sign_digest algorithm)
{
	static const EVP_MD *(*const digests[])(void) = {
	    [SIGN_SHA256] = EVP_sha256, [SIGN_SHA384] = EVP_sha384, [SIGN_SHA512] = EVP_sha512};

	return digests[algorithm]();
}

bool cms_openssl_fail(struct err *err, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	err_set(err, ERR_INTERNAL, "%s: %s", what, reason != NULL ? reason : "failed");
	ERR_clear_error();
	return false;
}

static bool add_signing_time(CMS_SignerInfo *signer, int64_t seconds)
{
	ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)seconds); /* UTCTime until 2049, as RFC 5652 §11.3 asks */
	bool added = time != NULL && CMS_signed_add1_attr_by_NID(signer, NID_pkcs9_signingTime, time->type, time, -1) == 1;

	ASN1_TIME_free(time);
	return added;
}

static bool add_attributes(CMS_SignerInfo *signer, const struct cms_content *content)
{
	return CMS_signed_add1_attr_by_NID(signer, NID_pkcs9_contentType, V_ASN1_OBJECT, OBJ_nid2obj(NID_pkcs7_data), -1) == 1 &&
	       CMS_signed_add1_attr_by_NID(signer, NID_pkcs9_messageDigest, V_ASN1_OCTET_STRING, content->digest.data,
					   (int)content->digest.len) == 1 &&
	       (content->signing_time == 0 || add_signing_time(signer, content->signing_time));
}

static bool set_pss_algorithm(CMS_SignerInfo *signer, enum sign_digest algorithm)
{
	uint8_t der[sizeof pss_sha256];
	const uint8_t *at = der;
	X509_ALGOR *made, *target;
	bool set;

	memcpy(der, pss_sha256, sizeof der);
	der[PSS_HASH_AT] = der[PSS_MGF_HASH_AT] = (uint8_t)algorithm; /* 2.16.840.1.101.3.4.2.{1,2,3} are SHA-256, 384, 512 */
	der[PSS_SALT_AT] = (uint8_t)sign_digest_bytes(algorithm);
	made = d2i_X509_ALGOR(NULL, &at, sizeof der);
	CMS_SignerInfo_get0_algs(signer, NULL, NULL, NULL, &target);
	set = made != NULL && X509_ALGOR_copy(target, made) == 1;
	X509_ALGOR_free(made);
	return set;
}

/* The leaf is there already, by CMS_add1_signer. */
static bool add_intermediates(CMS_ContentInfo *cms, const struct cms_identity *identity)
{
	for (int i = 0; i < sk_X509_num(identity->intermediates); i++) {
		if (CMS_add1_cert(cms, sk_X509_value(identity->intermediates, i)) != 1)
			return false;
	}
	return true;
}

static CMS_SignerInfo *add_signer(CMS_ContentInfo *cms, const struct cms_identity *identity, const struct cms_content *content)
{
	CMS_SignerInfo *signer = CMS_add1_signer(cms, identity->leaf, identity->key, cms_digest(content->algorithm),
						 CMS_PARTIAL | CMS_CADES | CMS_NOSMIMECAP);

	if (signer == NULL || !add_attributes(signer, content))
		return NULL;
	return !content->pss || set_pss_algorithm(signer, content->algorithm) ? signer : NULL;
}

static int compare_encodings(const void *a, const void *b)
{
	const struct buf *x = a, *y = b;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : x->len < y->len ? -1 : x->len > y->len;
}

static bool encode_attribute(CMS_SignerInfo *signer, int at, struct buf *out)
{
	X509_ATTRIBUTE *attribute = CMS_signed_get_attr(signer, at);
	uint8_t *der = NULL;
	int len = i2d_X509_ATTRIBUTE(attribute, &der);

	if (len <= 0)
		return false;
	buf_put(out, der, (size_t)len);
	OPENSSL_free(der);
	return true;
}

static void put_set_header(struct buf *out, size_t content)
{
	int total = ASN1_object_size(1, (int)content, V_ASN1_SET);
	size_t header = (size_t)total - content;
	unsigned char *at;

	buf_reserve(out, header);
	at = out->data + out->len;
	ASN1_put_object(&at, 1, (int)content, V_ASN1_SET, V_ASN1_UNIVERSAL);
	out->len += header;
}

/* RFC 5652 §5.4: what is signed are the attributes as a DER SET OF. */
static bool encode_signed_attributes(CMS_SignerInfo *signer, struct buf *out)
{
	struct buf parts[ATTRIBUTES_MAX] = {{0}};
	int count = CMS_signed_get_attr_count(signer);
	size_t total = 0;
	bool good = count > 0 && count <= ATTRIBUTES_MAX;

	for (int i = 0; good && i < count; i++) {
		good = encode_attribute(signer, i, &parts[i]);
		total += parts[i].len;
	}
	if (good) {
		qsort(parts, (size_t)count, sizeof parts[0], compare_encodings);
		put_set_header(out, total);
		for (int i = 0; i < count; i++)
			buf_put_bytes(out, buf_bytes(&parts[i]));
	}
	for (int i = 0; i < ATTRIBUTES_MAX; i++)
		buf_clear(&parts[i]);
	return good;
}

static bool digest_attributes(CMS_SignerInfo *signer, enum sign_digest algorithm, uint8_t *digest)
{
	struct buf attributes = {0};
	bool good = encode_signed_attributes(signer, &attributes) &&
		    EVP_Digest(attributes.data, attributes.len, digest, NULL, cms_digest(algorithm), NULL) == 1;

	buf_clear(&attributes);
	return good;
}

static bool set_signature(CMS_SignerInfo *signer, struct bytes signature)
{
	return ASN1_STRING_set(CMS_SignerInfo_get0_signature(signer), signature.data, (int)signature.len) == 1;
}

static bool encode(CMS_ContentInfo *cms, struct buf *der)
{
	uint8_t *out = NULL;
	int len = i2d_CMS_ContentInfo(cms, &out);

	if (len <= 0)
		return false;
	buf_put(der, out, (size_t)len);
	OPENSSL_free(out);
	return true;
}

static bool build(const struct cms_identity *identity, const struct cms_content *content, cms_signature *sign, void *arg,
		  struct buf *der, struct err *err)
{
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, CMS_PARTIAL | CMS_DETACHED | CMS_BINARY);
	CMS_SignerInfo *signer = cms != NULL ? add_signer(cms, identity, content) : NULL;
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	struct buf signature = {0};
	bool done = false;

	if (signer == NULL || !add_intermediates(cms, identity) || !digest_attributes(signer, content->algorithm, digest))
		cms_openssl_fail(err, "building the CMS");
	else if (sign(arg, content->algorithm, content->pss, bytes_of(digest, sign_digest_bytes(content->algorithm)), &signature,
		      err))
		done = (set_signature(signer, buf_bytes(&signature)) && encode(cms, der)) ||
		       cms_openssl_fail(err, "encoding the CMS");
	buf_clear(&signature);
	CMS_ContentInfo_free(cms);
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
