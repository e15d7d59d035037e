#include "hsm/token/proof.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "hsm/token/cryptoki.h"

#define NONCE_BYTES 32
static const char purpose[] = "Inkan: proof of possession\n";
#define TEXT_BYTES (sizeof purpose - 1 + NONCE_BYTES)

/* RFC 8017 §9.2: DigestInfo of SHA-256 before the digest. */
static const uint8_t sha256_prefix[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

static bool make_text(uint8_t text[static TEXT_BYTES], struct err *err)
{
	memcpy(text, purpose, sizeof purpose - 1);
	return RAND_bytes(text + sizeof purpose - 1, NONCE_BYTES) == 1 || err_set(err, ERR_INTERNAL, "no random octets");
}

static CK_RV sign_with(const struct session *session, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type, struct bytes data,
		       uint8_t *signature, CK_ULONG *len)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	CK_MECHANISM mechanism = {type, NULL, 0};
	CK_RV rv = p11->C_SignInit(session->handle, &mechanism, key);

	*len = KEY_SIGNATURE_MAX_BYTES;
	return rv != CKR_OK ? rv : p11->C_Sign(session->handle, (CK_BYTE *)data.data, data.len, signature, len);
}

static CK_RV sign_rsa(const struct session *session, CK_OBJECT_HANDLE key, struct bytes text, const uint8_t *digest,
		      uint8_t *signature, CK_ULONG *len)
{
	uint8_t info[sizeof sha256_prefix + SHA256_DIGEST_LENGTH];
	CK_RV rv;

	memcpy(info, sha256_prefix, sizeof sha256_prefix);
	memcpy(info + sizeof sha256_prefix, digest, SHA256_DIGEST_LENGTH);
	rv = sign_with(session, key, CKM_RSA_PKCS, bytes_of(info, sizeof info), signature, len);
	if (rv == CKR_MECHANISM_INVALID)
		rv = sign_with(session, key, CKM_SHA256_RSA_PKCS, text, signature, len);
	return rv;
}

/* PKCS#11 gives r || s, OpenSSL verifies ECDSA-Sig-Value (RFC 3279 §2.2.3). Replaces the octets in place. */
static bool encode_ecdsa(uint8_t *signature, CK_ULONG *len)
{
	int half = (int)(*len / 2), der_len = -1;
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(signature, half, NULL), *s = BN_bin2bn(signature + half, half, NULL);
	uint8_t *out = signature;

	if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
		r = s = NULL;
		if (i2d_ECDSA_SIG(pair, NULL) <= KEY_SIGNATURE_MAX_BYTES)
			der_len = i2d_ECDSA_SIG(pair, &out);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(pair);
	if (der_len > 0)
		*len = (CK_ULONG)der_len;
	return der_len > 0;
}

bool key_sign(const struct session *session, unsigned long key, EVP_PKEY *public_key, struct bytes text,
	      uint8_t signature[static KEY_SIGNATURE_MAX_BYTES], size_t *len, struct err *err)
{
	bool ec = EVP_PKEY_is_a(public_key, "EC") == 1;
	uint8_t digest[SHA256_DIGEST_LENGTH];
	CK_ULONG made = 0;
	CK_RV rv;

	SHA256(text.data, text.len, digest);
	if (ec)
		rv = sign_with(session, key, CKM_ECDSA, bytes_of(digest, sizeof digest), signature, &made);
	else
		rv = sign_rsa(session, key, text, digest, signature, &made);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_Sign");
	if (ec && !encode_ecdsa(signature, &made))
		return err_set(err, ERR_INTEGRITY, "a signature made on the token is malformed");
	*len = made;
	return true;
}

static bool verifies(EVP_PKEY *public_key, struct bytes text, const uint8_t *signature, size_t len)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context != NULL && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, public_key) == 1 &&
		    EVP_DigestVerify(context, signature, len, text.data, text.len) == 1;

	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good;
}

bool key_prove(const struct session *session, unsigned long key, EVP_PKEY *public_key, struct err *err)
{
	uint8_t text[TEXT_BYTES], signature[KEY_SIGNATURE_MAX_BYTES];
	size_t len = 0;

	if (!make_text(text, err) || !key_sign(session, key, public_key, bytes_of(text, sizeof text), signature, &len, err))
		return false;
	return verifies(public_key, bytes_of(text, sizeof text), signature, len) ||
	       err_set(err, ERR_INTEGRITY, "a signature made on the token does not verify with the certificate");
}

bool key_prove_on_token(const struct session *session, unsigned long key, unsigned long public_object, EVP_PKEY *public_key,
			struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	CK_MECHANISM mechanism = {EVP_PKEY_is_a(public_key, "EC") == 1 ? CKM_ECDSA : CKM_RSA_PKCS, NULL, 0};
	uint8_t text[TEXT_BYTES], data[sizeof sha256_prefix + SHA256_DIGEST_LENGTH], signature[KEY_SIGNATURE_MAX_BYTES];
	size_t prefix = mechanism.mechanism == CKM_RSA_PKCS ? sizeof sha256_prefix : 0;
	CK_ULONG len = 0;
	CK_RV rv;

	if (!make_text(text, err))
		return false;
	memcpy(data, sha256_prefix, prefix);
	SHA256(text, sizeof text, data + prefix);
	rv = sign_with(session, key, mechanism.mechanism, bytes_of(data, prefix + SHA256_DIGEST_LENGTH), signature, &len);
	if (rv == CKR_OK)
		rv = p11->C_VerifyInit(session->handle, &mechanism, public_object);
	if (rv == CKR_OK)
		rv = p11->C_Verify(session->handle, data, prefix + SHA256_DIGEST_LENGTH, signature, len);
	if (rv == CKR_SIGNATURE_INVALID || rv == CKR_SIGNATURE_LEN_RANGE)
		return err_set(err, ERR_INTEGRITY, "the token does not verify its own signature with the certificate's key");
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_Verify");
}
