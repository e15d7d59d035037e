#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/cms/cms_private.h"

#define RSA_LEAST_BITS 2048
#define RSA_MOST_BITS 4096
#define GROUP_NAME_BYTES 64

static X509 *parse(struct bytes der)
{
	const unsigned char *at = der.data;
	X509 *certificate = d2i_X509(NULL, &at, (long)der.len);

	if (certificate != NULL && at != der.data + der.len) {
		X509_free(certificate);
		return NULL;
	}
	return certificate;
}

static bool known_curve(EVP_PKEY *key)
{
	char group[GROUP_NAME_BYTES];

	return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
	       (strcmp(group, SN_X9_62_prime256v1) == 0 || strcmp(group, SN_secp384r1) == 0);
}

static bool take_key(struct cms_identity *identity, struct err *err)
{
	int bits;

	identity->key = X509_get_pubkey(identity->leaf);
	if (identity->key == NULL)
		return err_set(err, ERR_INVALID, "the public key of the certificate is not understood");
	bits = EVP_PKEY_get_bits(identity->key);
	identity->rsa = EVP_PKEY_is_a(identity->key, "RSA") == 1;
	if (identity->rsa && bits >= RSA_LEAST_BITS && bits <= RSA_MOST_BITS)
		return true;
	if (EVP_PKEY_is_a(identity->key, "EC") == 1 && known_curve(identity->key))
		return true;
	return err_set(err, ERR_INVALID, "keys of type %s with %d bits do not sign mail", EVP_PKEY_get0_type_name(identity->key),
		       bits);
}

static bool is_there(const struct cms_identity *identity, const X509 *certificate)
{
	if (X509_cmp(identity->leaf, certificate) == 0)
		return true;
	for (int i = 0; i < sk_X509_num(identity->intermediates); i++) {
		if (X509_cmp(sk_X509_value(identity->intermediates, i), certificate) == 0)
			return true;
	}
	return false;
}

static bool add(struct cms_identity *identity, struct bytes der, struct err *err)
{
	X509 *certificate = parse(der);

	if (certificate == NULL)
		return err_set(err, ERR_INVALID, "malformed certificate");
	if (identity->leaf == NULL)
		identity->leaf = certificate;
	else if (is_there(identity, certificate) || X509_self_signed(certificate, 0) == 1 ||
		 sk_X509_push(identity->intermediates, certificate) == 0)
		X509_free(certificate);
	return true;
}

int cms_compare_encodings(const void *a, const void *b)
{
	const struct buf *x = a, *y = b;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static bool put_der(struct buf *out, const X509 *certificate)
{
	uint8_t *der = NULL;
	int len = i2d_X509(certificate, &der);

	if (len <= 0)
		return false;
	buf_put(out, der, (size_t)len);
	OPENSSL_free(der);
	return true;
}

static bool encode_certificates(struct cms_identity *identity)
{
	size_t count = (size_t)sk_X509_num(identity->intermediates) + 1;
	struct buf *encodings = mem_new_array(count, sizeof *encodings);
	bool good = put_der(&encodings[0], identity->leaf);

	for (size_t i = 1; good && i < count; i++)
		good = put_der(&encodings[i], sk_X509_value(identity->intermediates, (int)i - 1));
	if (good)
		qsort(encodings, count, sizeof *encodings, cms_compare_encodings);
	for (size_t i = 0; i < count; i++) {
		buf_put_bytes(&identity->certificates, buf_bytes(&encodings[i]));
		buf_clear(&encodings[i]);
	}
	free(encodings);
	return good;
}

static const uint8_t oid_signing_certificate_v2[] = {0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86, 0xf7,
						     0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f};

/* RFC 5035 §3: the hash of the leaf, by the digest of the signature (SHA-256 is the default and left out), and its issuer. */
static void encode_signing_certificate(struct buf *out, enum sign_digest algorithm, struct bytes hash, struct bytes issuer,
				       struct bytes serial)
{
	size_t value, names;

	buf_put(out, oid_signing_certificate_v2, sizeof oid_signing_certificate_v2);
	value = out->len;
	if (algorithm != SIGN_SHA256)
		cms_put_digest_algorithm(out, algorithm);
	cms_put_value(out, DER_OCTET_STRING, hash);
	names = out->len;
	cms_put_value(out, DER_CONTEXT_4, issuer);
	cms_wrap(out, DER_SEQUENCE, names);
	buf_put_bytes(out, serial);
	cms_wrap(out, DER_SEQUENCE, names);
	cms_wrap(out, DER_SEQUENCE, value);
	cms_wrap(out, DER_SEQUENCE, value);
	cms_wrap(out, DER_SEQUENCE, value);
	cms_wrap(out, DER_SET, value);
	cms_wrap(out, DER_SEQUENCE, 0);
}

static bool encode_signing_certificates(struct cms_identity *identity, struct bytes issuer, struct bytes serial)
{
	for (enum sign_digest algorithm = SIGN_SHA256; algorithm <= SIGN_SHA512; algorithm++) {
		uint8_t hash[SIGN_DIGEST_MAX_BYTES];

		if (cms_digest(algorithm) == NULL || X509_digest(identity->leaf, cms_digest(algorithm), hash, NULL) != 1)
			return false;
		encode_signing_certificate(&identity->signing_certificate[algorithm], algorithm,
					   bytes_of(hash, sign_digest_bytes(algorithm)), issuer, serial);
	}
	return true;
}

static bool encode_issuer_and_serial(struct cms_identity *identity)
{
	uint8_t *name = NULL, *serial = NULL;
	int name_len = i2d_X509_NAME(X509_get_issuer_name(identity->leaf), &name);
	int serial_len = i2d_ASN1_INTEGER(X509_get0_serialNumber(identity->leaf), &serial);
	bool good = name_len > 0 && serial_len > 0;

	if (good) {
		struct bytes issuer = bytes_of(name, (size_t)name_len), number = bytes_of(serial, (size_t)serial_len);

		buf_put_bytes(&identity->issuer_and_serial, issuer);
		buf_put_bytes(&identity->issuer_and_serial, number);
		cms_wrap(&identity->issuer_and_serial, DER_SEQUENCE, 0);
		good = encode_signing_certificates(identity, issuer, number);
	}
	OPENSSL_free(name);
	OPENSSL_free(serial);
	return good;
}

struct cms_identity *cms_identity_new(const struct bytes *chain, size_t n_chain, struct err *err)
{
	struct cms_identity *identity = mem_new(sizeof *identity);
	bool good = n_chain > 0 || err_set(err, ERR_INVALID, "no certificate");

	identity->intermediates = sk_X509_new_null();
	for (size_t i = 0; good && i < n_chain; i++)
		good = add(identity, chain[i], err);
	good = good && take_key(identity, err);
	if (good && !(encode_certificates(identity) && encode_issuer_and_serial(identity)))
		good = cms_openssl_fail(err, "encoding the certificate");
	ERR_clear_error();
	if (good)
		return identity;
	cms_identity_free(identity);
	return NULL;
}

void cms_identity_free(struct cms_identity *identity)
{
	if (identity == NULL)
		return;
	sk_X509_pop_free(identity->intermediates, X509_free);
	X509_free(identity->leaf);
	EVP_PKEY_free(identity->key);
	buf_clear(&identity->issuer_and_serial);
	buf_clear(&identity->certificates);
	for (size_t i = 0; i <= SIGN_SHA512; i++)
		buf_clear(&identity->signing_certificate[i]);
	free(identity);
}

EVP_PKEY *cms_identity_key(const struct cms_identity *identity)
{
	return identity->key;
}
