#include "hsm/token/proof.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>

#include "hsm/token/cryptoki.h"

#define NONCE_BYTES 32
#define SIGNATURE_MAX_BYTES 1024

static const char purpose[] = "Inkan: proof of possession\n";

/* RFC 8017 §9.2: DigestInfo of SHA-256 before the digest. */
static const uint8_t sha256_prefix[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

struct proof {
	uint8_t text[sizeof purpose - 1 + NONCE_BYTES];
	uint8_t digest[SHA256_DIGEST_LENGTH];
};

static bool make_text(struct proof *proof, struct err *err)
{
	memcpy(proof->text, purpose, sizeof purpose - 1);
	if (RAND_bytes(proof->text + sizeof purpose - 1, NONCE_BYTES) != 1)
		return err_set(err, ERR_INTERNAL, "no random octets");
	SHA256(proof->text, sizeof proof->text, proof->digest);
	return true;
}

static CK_RV sign_with(const struct session *session, CK_OBJECT_HANDLE key, CK_MECHANISM_TYPE type, struct bytes data,
		       uint8_t *signature, CK_ULONG *len)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	CK_MECHANISM mechanism = {type, NULL, 0};
	CK_RV rv = p11->C_SignInit(session->handle, &mechanism, key);

	*len = SIGNATURE_MAX_BYTES;
	return rv != CKR_OK ? rv : p11->C_Sign(session->handle, (CK_BYTE *)data.data, data.len, signature, len);
}

static CK_RV sign_rsa(const struct session *session, CK_OBJECT_HANDLE key, const struct proof *proof, uint8_t *signature,
		      CK_ULONG *len)
{
	uint8_t info[sizeof sha256_prefix + SHA256_DIGEST_LENGTH];
	CK_RV rv;

	memcpy(info, sha256_prefix, sizeof sha256_prefix);
	memcpy(info + sizeof sha256_prefix, proof->digest, SHA256_DIGEST_LENGTH);
	rv = sign_with(session, key, CKM_RSA_PKCS, bytes_of(info, sizeof info), signature, len);
	if (rv == CKR_MECHANISM_INVALID)
		rv = sign_with(session, key, CKM_SHA256_RSA_PKCS, bytes_of(proof->text, sizeof proof->text), signature, len);
	return rv;
}

static CK_RV sign_ec(const struct session *session, CK_OBJECT_HANDLE key, const struct proof *proof, uint8_t *signature,
		     CK_ULONG *len)
{
	return sign_with(session, key, CKM_ECDSA, bytes_of(proof->digest, sizeof proof->digest), signature, len);
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
		if (i2d_ECDSA_SIG(pair, NULL) <= SIGNATURE_MAX_BYTES)
			der_len = i2d_ECDSA_SIG(pair, &out);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(pair);
	if (der_len > 0)
		*len = (CK_ULONG)der_len;
	return der_len > 0;
}

static bool verifies(const struct proof *proof, EVP_PKEY *public_key, const uint8_t *signature, CK_ULONG len)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context != NULL && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, public_key) == 1 &&
		    EVP_DigestVerify(context, signature, len, proof->text, sizeof proof->text) == 1;

	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good;
}

bool key_prove(const struct session *session, unsigned long key, EVP_PKEY *public_key, struct err *err)
{
	bool ec = EVP_PKEY_is_a(public_key, "EC") == 1;
	uint8_t signature[SIGNATURE_MAX_BYTES];
	CK_ULONG len = 0;
	struct proof proof;
	CK_RV rv;

	if (!make_text(&proof, err))
		return false;
	rv = ec ? sign_ec(session, key, &proof, signature, &len) : sign_rsa(session, key, &proof, signature, &len);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_Sign");
	if ((ec && !encode_ecdsa(signature, &len)) || !verifies(&proof, public_key, signature, len))
		return err_set(err, ERR_INTEGRITY, "a signature made on the token does not verify with the certificate");
	return true;
}
