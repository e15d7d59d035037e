/*
 * The last look at a signature before it leaves: the octets are read afresh by a reader of our own, and everything in
 * them must be exactly what the profile says. (d2i_CMS_ContentInfo would do too, but OpenSSL 3.0 decodes every
 * certificate's key on the way, which costs more than the signature.)
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "hsm/cms/cms_private.h"
#include "hsm/cms/der.h"

static const uint8_t oid_signed_data[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02};
static const uint8_t oid_data[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};
static const uint8_t oid_content_type[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03};
static const uint8_t oid_message_digest[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04};
static const uint8_t version_1[] = {DER_INTEGER, 1, 1};

#define OCTETS(array) bytes_of(array, sizeof(array))

struct found {
	struct bytes attributes; /* with the tag of the SignerInfo */
	struct bytes signature;
};

/* RFC 5652 §5.3, with issuerAndSerialNumber. */
static bool read_signer(struct der *signers, const struct cms_identity *identity, const struct cms_content *content,
			struct found *found)
{
	struct der signer = der_enter(signers, DER_SEQUENCE);
	struct buf digest = {0}, signature = {0};

	cms_put_digest_algorithm(&digest, content->algorithm);
	cms_put_signature_algorithm(&signature, identity, content);
	der_is(&signer, OCTETS(version_1));
	der_is(&signer, buf_bytes(&identity->issuer_and_serial));
	der_is(&signer, buf_bytes(&digest));
	found->attributes = der_whole(&signer, DER_CONTEXT_0);
	der_is(&signer, buf_bytes(&signature));
	found->signature = der_octets(&signer, DER_OCTET_STRING);
	buf_clear(&digest);
	buf_clear(&signature);
	return der_end(&signer) && der_end(signers);
}

/* RFC 5652 §5.1: no content, our certificates, one signer. */
static bool read_signed_data(struct der *der, const struct cms_identity *identity, const struct cms_content *content,
			     struct found *found)
{
	struct der info = der_enter(der, DER_SEQUENCE), outer, data, digests, encapsulated, certificates, signers;
	struct buf digest = {0};

	der_is(&info, OCTETS(oid_signed_data));
	outer = der_enter(&info, DER_CONTEXT_0);
	data = der_enter(&outer, DER_SEQUENCE);
	der_is(&data, OCTETS(version_1));
	digests = der_enter(&data, DER_SET);
	cms_put_digest_algorithm(&digest, content->algorithm);
	der_is(&digests, buf_bytes(&digest));
	buf_clear(&digest);
	encapsulated = der_enter(&data, DER_SEQUENCE);
	der_is(&encapsulated, OCTETS(oid_data));
	certificates = der_enter(&data, DER_CONTEXT_0);
	der_is(&certificates, buf_bytes(&identity->certificates));
	signers = der_enter(&data, DER_SET);
	return der_end(&digests) && der_end(&encapsulated) && der_end(&certificates) &&
	       read_signer(&signers, identity, content, found) && der_end(&data) && der_end(&outer) && der_end(&info) &&
	       der_end(der);
}

static bool has_value(struct der attribute, struct bytes value)
{
	struct der values = der_enter(&attribute, DER_SET);

	return der_is(&values, value) && der_end(&values) && der_end(&attribute);
}

static bool digest_value(struct der attribute, struct bytes digest)
{
	struct der values = der_enter(&attribute, DER_SET);
	struct bytes octets = der_octets(&values, DER_OCTET_STRING);

	return der_end(&values) && der_end(&attribute) && bytes_equal(octets, digest);
}

/* RFC 5652 §11: contentType is id-data and messageDigest is the digest that was asked for, each once. */
static bool attributes_are_right(struct bytes whole, const struct cms_content *content)
{
	struct der der = der_of(whole), attributes = der_enter(&der, DER_CONTEXT_0);
	unsigned types = 0, digests = 0;

	while (!attributes.bad && attributes.rest.len > 0) {
		struct der attribute = der_enter(&attributes, DER_SEQUENCE);
		struct bytes oid = der_whole(&attribute, DER_OID);

		if (bytes_equal(oid, OCTETS(oid_content_type)))
			types += has_value(attribute, OCTETS(oid_data)) ? 1 : 2;
		if (bytes_equal(oid, OCTETS(oid_message_digest)))
			digests += digest_value(attribute, content->digest) ? 1 : 2;
	}
	return der_end(&attributes) && der_end(&der) && types == 1 && digests == 1;
}

/* RFC 5652 §5.4: the digest is of the attributes with the tag of a SET OF. */
static bool hash_attributes(struct bytes attributes, const EVP_MD *md, uint8_t *digest)
{
	static const uint8_t set_tag = DER_SET;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool done = context != NULL && EVP_DigestInit_ex(context, md, NULL) == 1 && EVP_DigestUpdate(context, &set_tag, 1) == 1 &&
		    EVP_DigestUpdate(context, attributes.data + 1, attributes.len - 1) == 1 &&
		    EVP_DigestFinal_ex(context, digest, NULL) == 1;

	EVP_MD_CTX_free(context);
	return done;
}

static bool set_padding(EVP_PKEY_CTX *context, bool pss)
{
	if (!pss)
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

static bool signature_verifies(const struct cms_identity *identity, const struct cms_content *content, const struct found *found)
{
	const EVP_MD *md = cms_digest(content->algorithm);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(identity->key, NULL);
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	bool good = context != NULL && hash_attributes(found->attributes, md, digest) && EVP_PKEY_verify_init(context) == 1 &&
		    (!identity->rsa || set_padding(context, content->pss)) && EVP_PKEY_CTX_set_signature_md(context, md) == 1 &&
		    EVP_PKEY_verify(context, found->signature.data, found->signature.len, digest,
				    sign_digest_bytes(content->algorithm)) == 1;

	EVP_PKEY_CTX_free(context);
	return good;
}

bool cms_verify(const struct cms_identity *identity, const struct cms_content *content, struct bytes octets, struct err *err)
{
	struct der der = der_of(octets);
	struct found found = {0};
	bool good = read_signed_data(&der, identity, content, &found) && attributes_are_right(found.attributes, content) &&
		    signature_verifies(identity, content, &found);

	ERR_clear_error();
	return good || err_set(err, ERR_INTEGRITY, "the token's signature does not verify with the certificate");
}
