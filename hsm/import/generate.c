#include "hsm/import/generate.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/protection.h"
#include "hsm/token/cryptoki.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"

#define NUMBER_MAX_BYTES 512 /* an RSA-4096 modulus */
#define POINT_MAX_BYTES 256 /* CKA_EC_POINT */

static const struct key_kind {
	const char *name, *type;
	CK_ULONG rsa_bits; /* 0: EC */
	int curve;
	const char *group;
} kinds[] = {
    {"rsa2048", "RSA-2048", 2048, 0, NULL},
    {"rsa3072", "RSA-3072", 3072, 0, NULL},
    {"rsa4096", "RSA-4096", 4096, 0, NULL},
    {"p256", "EC-P256", 0, NID_X9_62_prime256v1, "prime256v1"},
    {"p384", "EC-P384", 0, NID_secp384r1, "secp384r1"},
};

static const struct key_kind *kind_of(const char *name)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

/* ---- the pair ---- */

struct pair {
	CK_OBJECT_HANDLE public_key, private_key;
};

static void fill_templates(struct template *public_key, struct template *private_key, struct bytes key_id, const char *label)
{
	template_flag(public_key, CKA_TOKEN, true);
	template_flag(public_key, CKA_PRIVATE, false);
	template_flag(public_key, CKA_VERIFY, true);
	template_bytes(public_key, CKA_ID, key_id);
	template_text(public_key, CKA_LABEL, label);
	template_flag(private_key, CKA_TOKEN, true);
	template_flag(private_key, CKA_PRIVATE, true);
	template_flag(private_key, CKA_SENSITIVE, true);
	template_flag(private_key, CKA_EXTRACTABLE, false);
	template_flag(private_key, CKA_SIGN, true);
	template_bytes(private_key, CKA_ID, key_id);
	template_text(private_key, CKA_LABEL, label);
}

/* `strict`: the key is told to do nothing but sign. */
static CK_RV try_pair(const struct session *session, const struct key_kind *kind, struct bytes key_id, const char *label,
		      bool strict, struct pair *pair)
{
	static const CK_BYTE exponent[] = {1, 0, 1};
	CK_MECHANISM mechanism = {kind->rsa_bits > 0 ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
	struct template public_key = {0}, private_key = {0};
	const ASN1_OBJECT *curve = kind->rsa_bits > 0 ? NULL : OBJ_nid2obj(kind->curve);
	uint8_t params[16], *at = params;

	fill_templates(&public_key, &private_key, key_id, label);
	if (curve != NULL) {
		int len = i2d_ASN1_OBJECT(curve, &at);

		template_bytes(&public_key, CKA_EC_PARAMS, bytes_of(params, (size_t)len));
	} else {
		template_number(&public_key, CKA_MODULUS_BITS, kind->rsa_bits);
		template_bytes(&public_key, CKA_PUBLIC_EXPONENT, bytes_of(exponent, sizeof exponent));
	}
	if (strict) {
		template_flag(&private_key, CKA_SIGN_RECOVER, false);
		template_flag(&private_key, CKA_DECRYPT, false);
		template_flag(&private_key, CKA_UNWRAP, false);
	}
	return session_functions(session)->C_GenerateKeyPair(session->handle, &mechanism, public_key.items, public_key.count,
							     private_key.items, private_key.count, &pair->public_key,
							     &pair->private_key);
}

static bool generate_pair(const struct session *session, const struct key_kind *kind, struct bytes key_id, const char *label,
			  struct pair *pair, struct err *err)
{
	CK_RV rv = try_pair(session, kind, key_id, label, true, pair);

	/* Some tokens do not take these attributes for every kind of key; tpm2-pkcs11 says no more than CKR_GENERAL_ERROR. */
	if (cryptoki_class(rv) == CRYPTOKI_REFUSED || rv == CKR_GENERAL_ERROR)
		rv = try_pair(session, kind, key_id, label, false, pair);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_GenerateKeyPair");
}

/* ---- its public key ---- */

static bool get_octets(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, uint8_t *out, size_t room,
		       size_t *len, struct err *err)
{
	CK_ATTRIBUTE item = {type, out, room};
	CK_RV rv = session_functions(session)->C_GetAttributeValue(session->handle, object, &item, 1);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_GetAttributeValue of the public key");
	*len = item.ulValueLen;
	return true;
}

static EVP_PKEY *build_public_key(const char *algorithm, OSSL_PARAM_BLD *builder)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
	EVP_PKEY *key = NULL;

	if (context != NULL && params != NULL && EVP_PKEY_fromdata_init(context) == 1)
		EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params);
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(context);
	return key;
}

static EVP_PKEY *read_rsa(const struct session *session, CK_OBJECT_HANDLE object, struct err *err)
{
	uint8_t n[NUMBER_MAX_BYTES + 1], e[NUMBER_MAX_BYTES];
	size_t n_len, e_len;
	OSSL_PARAM_BLD *builder;
	BIGNUM *modulus, *exponent;
	EVP_PKEY *key = NULL;

	if (!get_octets(session, object, CKA_MODULUS, n, sizeof n, &n_len, err) ||
	    !get_octets(session, object, CKA_PUBLIC_EXPONENT, e, sizeof e, &e_len, err))
		return NULL;
	builder = OSSL_PARAM_BLD_new();
	modulus = BN_bin2bn(n, (int)n_len, NULL);
	exponent = BN_bin2bn(e, (int)e_len, NULL);
	if (OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
	    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		key = build_public_key("RSA", builder);
	OSSL_PARAM_BLD_free(builder);
	BN_free(modulus);
	BN_free(exponent);
	if (key == NULL)
		err_set(err, ERR_UNAVAILABLE, "the token gave a malformed public key");
	return key;
}

/* PKCS#11 2.40 §2.3.3: CKA_EC_POINT is the point as an OCTET STRING; some tokens give the bare point. */
static struct bytes bare_point(struct bytes point, size_t point_len)
{
	bool wrapped = point.len == point_len + 2 && point.data[0] == 0x04 && point.data[1] == point_len;

	return wrapped ? bytes_slice(point, 2, point.len) : point;
}

static EVP_PKEY *read_ec(const struct session *session, CK_OBJECT_HANDLE object, const struct key_kind *kind, struct err *err)
{
	size_t point_len = kind->curve == NID_secp384r1 ? 97 : 65, len;
	uint8_t octets[POINT_MAX_BYTES];
	OSSL_PARAM_BLD *builder;
	struct bytes point;
	EVP_PKEY *key = NULL;

	if (!get_octets(session, object, CKA_EC_POINT, octets, sizeof octets, &len, err))
		return NULL;
	point = bare_point(bytes_of(octets, len), point_len);
	builder = OSSL_PARAM_BLD_new();
	if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, kind->group, 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len) == 1)
		key = build_public_key("EC", builder);
	OSSL_PARAM_BLD_free(builder);
	if (key == NULL)
		err_set(err, ERR_UNAVAILABLE, "the token gave a malformed public key");
	return key;
}

/* ---- all of it ---- */

static bool finish(const struct session *session, const struct key_kind *kind, const struct pair *pair, struct generated_key *key,
		   struct err *err)
{
	key->key = pair->private_key;
	key->public_key =
	    kind->rsa_bits > 0 ? read_rsa(session, pair->public_key, err) : read_ec(session, pair->public_key, kind, err);
	ERR_clear_error();
	if (key->public_key == NULL || !key_protect(session, key->key, &key->attributes, err))
		return false;
	return key_prove(session, key->key, key->public_key, err);
}

bool key_generate(const struct session *session, const char *type, struct bytes key_id, const char *label,
		  struct generated_key *key, struct err *err)
{
	const struct key_kind *kind = kind_of(type);
	struct generated_key made = {0};
	struct pair pair = {0};
	uint32_t destroyed;

	if (kind == NULL)
		return err_set(err, ERR_INVALID, "a key is rsa2048, rsa3072, rsa4096, p256 or p384, not \"%s\"", type);
	made.type = mem_string(kind->type);
	if (!generate_pair(session, kind, key_id, label, &pair, err) || !finish(session, kind, &pair, &made, err)) {
		(void)!objects_destroy(session, key_id, &destroyed, NULL);
		generated_key_clear(&made);
		return err_prefix(err, "the token makes no key %s", type);
	}
	*key = made;
	return true;
}

EVP_PKEY *key_public_read(const struct session *session, struct bytes key_id, struct err *err)
{
	static const struct key_kind *const p256 = &kinds[3];
	struct template template = {0};
	CK_OBJECT_HANDLE object;
	CK_ULONG type = 0;
	size_t count = 0;
	EVP_PKEY *key;

	template_number(&template, CKA_CLASS, CKO_PUBLIC_KEY);
	template_bytes(&template, CKA_ID, key_id);
	if (!object_find(session, &template, &object, 1, &count, err))
		return NULL;
	if (count == 0) {
		err_set(err, ERR_NOT_FOUND, "its public key is not on the token");
		return NULL;
	}
	if (!object_number(session, object, CKA_KEY_TYPE, &type, err))
		return NULL;
	key = type == CKK_RSA ? read_rsa(session, object, err) : read_ec(session, object, p256, err);
	ERR_clear_error();
	return key;
}

void generated_key_clear(struct generated_key *key)
{
	EVP_PKEY_free(key->public_key);
	free(key->type);
	*key = (struct generated_key){0};
}
