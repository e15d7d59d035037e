#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <string.h>

#include "hsm/import/mechanisms.h"
#include "hsm/import/rungs.h"

static bool is_ec(EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "EC") == 1;
}

void private_key_template(struct template *template, const struct ladder_request *request)
{
	bool ec = is_ec(request->public_key);

	template_number(template, CKA_CLASS, CKO_PRIVATE_KEY);
	template_number(template, CKA_KEY_TYPE, ec ? CKK_EC : CKK_RSA);
	template_flag(template, CKA_TOKEN, !request->session_only);
	template_flag(template, CKA_PRIVATE, true);
	template_flag(template, CKA_SENSITIVE, true);
	template_flag(template, CKA_EXTRACTABLE, false);
	template_flag(template, CKA_SIGN, true);
	if (!ec) {
		template_flag(template, CKA_DECRYPT, false);
		template_flag(template, CKA_UNWRAP, false);
	}
	template_bytes(template, CKA_ID, request->key_id);
	template_text(template, CKA_LABEL, request->label);
}

void kek_template(struct template *template, CK_KEY_TYPE type, size_t value_len)
{
	template_number(template, CKA_CLASS, CKO_SECRET_KEY);
	template_number(template, CKA_KEY_TYPE, type);
	template_flag(template, CKA_TOKEN, false);
	template_flag(template, CKA_PRIVATE, true);
	template_flag(template, CKA_SENSITIVE, true);
	template_flag(template, CKA_EXTRACTABLE, false);
	template_flag(template, CKA_UNWRAP, true);
	if (value_len > 0)
		template_number(template, CKA_VALUE_LEN, value_len);
}

size_t ec_point(EVP_PKEY *key, uint8_t out[static EC_POINT_MAX_BYTES])
{
	size_t half = (size_t)(EVP_PKEY_get_bits(key) + 7) / 8;
	BIGNUM *x = NULL, *y = NULL;
	bool good = 1 + 2 * half <= EC_POINT_MAX_BYTES && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
		    EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1;

	out[0] = 4;
	good = good && BN_bn2binpad(x, out + 1, (int)half) > 0 && BN_bn2binpad(y, out + 1 + half, (int)half) > 0;
	BN_free(x);
	BN_free(y);
	return good ? 1 + 2 * half : 0;
}

size_t ec_params(EVP_PKEY *key, uint8_t out[static EC_PARAMS_MAX_BYTES])
{
	char group[64] = "";
	ASN1_OBJECT *curve = NULL;
	uint8_t *at = out;
	int len = 0;

	if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1)
		curve = OBJ_txt2obj(group, 0);
	if (curve != NULL && i2d_ASN1_OBJECT(curve, NULL) <= EC_PARAMS_MAX_BYTES)
		len = i2d_ASN1_OBJECT(curve, &at);
	ASN1_OBJECT_free(curve);
	return len > 0 ? (size_t)len : 0;
}

bool create_kek(const struct session *session, CK_KEY_TYPE type, struct bytes value, CK_OBJECT_HANDLE *kek, struct err *err)
{
	struct template template = {0};
	CK_RV rv;

	kek_template(&template, type, 0);
	template_bytes(&template, CKA_VALUE, value);
	rv = session_functions(session)->C_CreateObject(session->handle, template.items, template.count, kek);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_CreateObject of a session key");
}

/* NSS takes no EC private key without its public point; others do not know the attribute. */
static bool add_point_for_nss(const struct attempt *attempt, struct template *template, CK_RV rv,
			      uint8_t point[static EC_POINT_MAX_BYTES])
{
	size_t len = 0;

	if (rv == CKR_TEMPLATE_INCOMPLETE && is_ec(attempt->request->public_key))
		len = ec_point(attempt->request->public_key, point);
	if (len > 0)
		template_bytes(template, CKA_NSS_PUBLIC_VALUE, bytes_of(point, len));
	return len > 0;
}

bool unwrap_private_key(const struct attempt *attempt, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek, struct bytes wrapped,
			CK_OBJECT_HANDLE *key, struct err *err)
{
	const struct session *session = attempt->session;
	CK_FUNCTION_LIST *p11 = session_functions(session);
	uint8_t point[EC_POINT_MAX_BYTES];
	struct template template = {0};
	CK_RV rv;

	private_key_template(&template, attempt->request);
	rv = p11->C_UnwrapKey(session->handle, mechanism, kek, (CK_BYTE *)wrapped.data, wrapped.len, template.items,
			      template.count, key);
	if (add_point_for_nss(attempt, &template, rv, point))
		rv = p11->C_UnwrapKey(session->handle, mechanism, kek, (CK_BYTE *)wrapped.data, wrapped.len, template.items,
				      template.count, key);
	ERR_clear_error();
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_UnwrapKey");
}

bool create_private_key(const struct attempt *attempt, struct template *template, CK_OBJECT_HANDLE *key, struct err *err)
{
	const struct session *session = attempt->session;
	CK_FUNCTION_LIST *p11 = session_functions(session);
	uint8_t point[EC_POINT_MAX_BYTES];
	CK_RV rv = p11->C_CreateObject(session->handle, template->items, template->count, key);

	if (add_point_for_nss(attempt, template, rv, point))
		rv = p11->C_CreateObject(session->handle, template->items, template->count, key);
	ERR_clear_error();
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_CreateObject");
}

/* ---- public key ---- */

#define RSA_NUMBER_MAX_BYTES 1024

static bool add_rsa_number(struct template *template, CK_ATTRIBUTE_TYPE type, EVP_PKEY *key, const char *param,
			   uint8_t room[static RSA_NUMBER_MAX_BYTES])
{
	BIGNUM *number = NULL;
	int len = -1;

	if (EVP_PKEY_get_bn_param(key, param, &number) == 1 && BN_num_bytes(number) <= RSA_NUMBER_MAX_BYTES)
		len = BN_bn2bin(number, room);
	BN_free(number);
	if (len > 0)
		template_bytes(template, type, bytes_of(room, (size_t)len));
	return len > 0;
}

/* PKCS#11 2.40 §2.3.3: CKA_EC_POINT is the point as an OCTET STRING. */
static bool add_ec_public(struct template *template, EVP_PKEY *key, uint8_t params[static EC_PARAMS_MAX_BYTES],
			  uint8_t point[static EC_POINT_MAX_BYTES + 3])
{
	size_t params_len = ec_params(key, params), point_len = ec_point(key, point + 3), header = point_len < 128 ? 2 : 3;

	if (params_len == 0 || point_len == 0)
		return false;
	memmove(point + header, point + 3, point_len);
	point[0] = 0x04;
	point[1] = header == 2 ? (uint8_t)point_len : 0x81;
	point[2] = header == 2 ? point[2] : (uint8_t)point_len;
	template_bytes(template, CKA_EC_PARAMS, bytes_of(params, params_len));
	template_bytes(template, CKA_EC_POINT, bytes_of(point, header + point_len));
	return true;
}

struct public_octets {
	uint8_t first[RSA_NUMBER_MAX_BYTES], second[RSA_NUMBER_MAX_BYTES];
};

/* `octets` is what the template points into. */
static bool public_key_template(struct template *template, EVP_PKEY *key, bool on_token, struct public_octets *octets)
{
	template_number(template, CKA_CLASS, CKO_PUBLIC_KEY);
	template_number(template, CKA_KEY_TYPE, is_ec(key) ? CKK_EC : CKK_RSA);
	template_flag(template, CKA_TOKEN, on_token);
	template_flag(template, CKA_PRIVATE, false);
	template_flag(template, CKA_VERIFY, true);
	if (is_ec(key))
		return add_ec_public(template, key, octets->first, octets->second);
	return add_rsa_number(template, CKA_MODULUS, key, OSSL_PKEY_PARAM_RSA_N, octets->first) &&
	       add_rsa_number(template, CKA_PUBLIC_EXPONENT, key, OSSL_PKEY_PARAM_RSA_E, octets->second);
}

static bool create_public(const struct session *session, struct template *template, unsigned long *key, struct err *err)
{
	CK_RV rv = session_functions(session)->C_CreateObject(session->handle, template->items, template->count, key);

	return rv == CKR_OK || cryptoki_fail(err, rv, "C_CreateObject");
}

bool create_public_key(const struct session *session, const struct ladder_request *request, struct err *err)
{
	struct template template = {0};
	struct public_octets octets;
	CK_OBJECT_HANDLE object;

	template_bytes(&template, CKA_ID, request->key_id);
	template_text(&template, CKA_LABEL, request->label);
	if (!public_key_template(&template, request->public_key, true, &octets))
		return err_set(err, ERR_INTERNAL, "the public key cannot be read");
	return create_public(session, &template, &object, err);
}

bool ladder_lend_public_key(const struct session *session, EVP_PKEY *public_key, unsigned long *key, struct err *err)
{
	struct template template = {0};
	struct public_octets octets;

	if (!public_key_template(&template, public_key, false, &octets))
		return err_set(err, ERR_INTERNAL, "the public key cannot be read");
	return create_public(session, &template, key, err);
}
