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

/* OpenSSL knows of no padding yet, since it does not sign. */
static bool set_algorithm(CMS_SignerInfo *signer, const struct cms_identity *identity, const struct cms_content *content)
{
	struct buf der = {0};
	const uint8_t *at;
	X509_ALGOR *made, *target;
	bool set;

	cms_put_signature_algorithm(&der, identity, content);
	at = der.data;
	made = d2i_X509_ALGOR(NULL, &at, (long)der.len);
	CMS_SignerInfo_get0_algs(signer, NULL, NULL, NULL, &target);
	set = made != NULL && X509_ALGOR_copy(target, made) == 1;
	X509_ALGOR_free(made);
	buf_clear(&der);
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

	return signer != NULL && add_attributes(signer, content) && set_algorithm(signer, identity, content) ? signer : NULL;
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
		qsort(parts, (size_t)count, sizeof parts[0], cms_compare_encodings);
		cms_put_header(out, V_ASN1_SET, total);
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
