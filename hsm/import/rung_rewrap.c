#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "hsm/import/mechanisms.h"
#include "hsm/import/rungs.h"

#define KEK_BYTES 32
#define CARRIER_BITS 2048 /* the RSA key pair, used once, that carries the KEK to the token */
#define CARRIER_BYTES (CARRIER_BITS / 8)

struct carrier {
	CK_OBJECT_HANDLE public_key, private_key;
};

/* ---- the KEK by RSA-OAEP ---- */

static CK_RV generate_carrier(const struct session *session, struct carrier *carrier)
{
	static const CK_BYTE exponent[] = {1, 0, 1};
	CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
	struct template public_key = {0}, private_key = {0};

	template_flag(&public_key, CKA_TOKEN, false);
	template_flag(&public_key, CKA_WRAP, true);
	template_number(&public_key, CKA_MODULUS_BITS, CARRIER_BITS);
	template_bytes(&public_key, CKA_PUBLIC_EXPONENT, bytes_of(exponent, sizeof exponent));
	template_flag(&private_key, CKA_TOKEN, false);
	template_flag(&private_key, CKA_PRIVATE, true);
	template_flag(&private_key, CKA_SENSITIVE, true);
	template_flag(&private_key, CKA_EXTRACTABLE, false);
	template_flag(&private_key, CKA_UNWRAP, true);
	return session_functions(session)->C_GenerateKeyPair(session->handle, &mechanism, public_key.items, public_key.count,
							     private_key.items, private_key.count, &carrier->public_key,
							     &carrier->private_key);
}

static EVP_PKEY *public_key_of(const BIGNUM *modulus)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY *key = NULL;

	if (builder != NULL && context != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
	    OSSL_PARAM_BLD_push_uint(builder, OSSL_PKEY_PARAM_RSA_E, RSA_F4) == 1)
		params = OSSL_PARAM_BLD_to_param(builder);
	if (params != NULL && EVP_PKEY_fromdata_init(context) == 1)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(builder);
	EVP_PKEY_CTX_free(context);
	return key;
}

static EVP_PKEY *read_carrier(const struct session *session, CK_OBJECT_HANDLE public_key)
{
	uint8_t modulus[CARRIER_BYTES];
	CK_ATTRIBUTE attribute = {CKA_MODULUS, modulus, sizeof modulus};
	BIGNUM *number;
	EVP_PKEY *key;

	if (session_functions(session)->C_GetAttributeValue(session->handle, public_key, &attribute, 1) != CKR_OK)
		return NULL;
	number = BN_bin2bn(modulus, (int)attribute.ulValueLen, NULL);
	key = number != NULL ? public_key_of(number) : NULL;
	BN_free(number);
	return key;
}

/* RSAES-OAEP with SHA-1, which every token takes. */
static bool encrypt_kek(EVP_PKEY *public_key, const uint8_t *kek, uint8_t *out, size_t *len)
{
	EVP_PKEY_CTX *context = public_key != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, public_key, NULL) : NULL;
	bool good = context != NULL && EVP_PKEY_encrypt_init(context) == 1 &&
		    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
		    EVP_PKEY_encrypt(context, out, len, kek, KEK_BYTES) == 1;

	EVP_PKEY_CTX_free(context);
	return good;
}

static bool unwrap_kek(const struct session *session, const struct carrier *carrier, const uint8_t *octets, CK_OBJECT_HANDLE *kek,
		       struct err *err)
{
	CK_RSA_PKCS_OAEP_PARAMS oaep = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};
	CK_MECHANISM mechanism = {CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep};
	EVP_PKEY *public_key = read_carrier(session, carrier->public_key);
	uint8_t wrapped[CARRIER_BYTES];
	size_t len = sizeof wrapped;
	struct template template = {0};
	bool encrypted = encrypt_kek(public_key, octets, wrapped, &len);
	CK_RV rv;

	EVP_PKEY_free(public_key);
	ERR_clear_error();
	if (!encrypted)
		return err_set(err, ERR_INTERNAL, "the carrier key of the token cannot be used");
	kek_template(&template, CKK_AES, 0);
	rv = session_functions(session)->C_UnwrapKey(session->handle, &mechanism, carrier->private_key, wrapped, len,
						     template.items, template.count, kek);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_UnwrapKey of the KEK");
}

static bool place_by_oaep(const struct session *session, const uint8_t *octets, CK_OBJECT_HANDLE *kek, struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	struct carrier carrier = {0};
	CK_RV rv = generate_carrier(session, &carrier);
	bool good;

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_GenerateKeyPair");
	good = unwrap_kek(session, &carrier, octets, kek, err);
	p11->C_DestroyObject(session->handle, carrier.public_key);
	p11->C_DestroyObject(session->handle, carrier.private_key);
	return good;
}

static bool place_as_object(const struct session *session, const uint8_t *octets, CK_OBJECT_HANDLE *kek, struct err *err)
{
	return create_kek(session, CKK_AES, bytes_of(octets, KEK_BYTES), kek, err);
}

/* ---- the key under the KEK ---- */

/* RFC 5649. `out` has room for the key, its padding and the check value. */
static bool wrap_on_host(const struct host_key *host, const uint8_t *kek, uint8_t *out, size_t *len)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-WRAP-PAD", NULL);
	int wrapped = 0;
	bool good = context != NULL && cipher != NULL;

	if (good) {
		EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
		good = EVP_EncryptInit_ex2(context, cipher, kek, NULL, NULL) == 1 &&
		       EVP_EncryptUpdate(context, out, &wrapped, host->der, (int)host->der_len) == 1;
	}
	EVP_CIPHER_free(cipher);
	EVP_CIPHER_CTX_free(context);
	*len = (size_t)wrapped;
	return good;
}

/* RFC 5649 is 0x210B since PKCS#11 3.0; SoftHSM and others have it as 0x210A. */
static bool unwrap_by_any_name(const struct attempt *attempt, CK_OBJECT_HANDLE kek, struct bytes wrapped, CK_OBJECT_HANDLE *key,
			       struct err *err)
{
	CK_MECHANISM kwp = {CKM_AES_KEY_WRAP_KWP_V3, NULL, 0}, pad = {CKM_AES_KEY_WRAP_PAD_V2, NULL, 0};

	return unwrap_private_key(attempt, &kwp, kek, wrapped, key, err) ||
	       unwrap_private_key(attempt, &pad, kek, wrapped, key, err);
}

static bool carry_over(const struct attempt *attempt, const uint8_t *octets, struct bytes wrapped, CK_OBJECT_HANDLE *key,
		       struct err *err)
{
	static bool (*const places[])(const struct session *, const uint8_t *, CK_OBJECT_HANDLE *, struct err *) = {
	    place_by_oaep,
	    place_as_object,
	};
	const struct session *session = attempt->session;
	bool done = false;

	for (size_t i = 0; i < sizeof places / sizeof *places && !done; i++) {
		CK_OBJECT_HANDLE kek = 0;

		if (!places[i](session, octets, &kek, err))
			continue;
		done = unwrap_by_any_name(attempt, kek, wrapped, key, err);
		session_functions(session)->C_DestroyObject(session->handle, kek);
	}
	return done;
}

bool rung_rewrap(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err)
{
	size_t room = attempt->host->der_len + 16, len = 0;
	uint8_t *wrapped = mem_new(room), kek[KEK_BYTES];
	bool good = RAND_bytes(kek, sizeof kek) == 1 && wrap_on_host(attempt->host, kek, wrapped, &len);

	ERR_clear_error();
	if (good)
		good = carry_over(attempt, kek, bytes_of(wrapped, len), key, err);
	else
		err_set(err, ERR_INTERNAL, "the key cannot be wrapped (AES-KWP)");
	mem_wipe(kek, sizeof kek);
	free(wrapped);
	return good;
}
