#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "hsm/import/rungs.h"

#define NUMBERS_ROOM_BYTES 8192 /* all eight numbers of an RSA-4096 key, in secure memory */

static const struct {
	CK_ATTRIBUTE_TYPE type;
	const char *param;
} rsa_numbers[] = {
    {CKA_MODULUS, OSSL_PKEY_PARAM_RSA_N},
    {CKA_PUBLIC_EXPONENT, OSSL_PKEY_PARAM_RSA_E},
    {CKA_PRIVATE_EXPONENT, OSSL_PKEY_PARAM_RSA_D},
    {CKA_PRIME_1, OSSL_PKEY_PARAM_RSA_FACTOR1},
    {CKA_PRIME_2, OSSL_PKEY_PARAM_RSA_FACTOR2},
    {CKA_EXPONENT_1, OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {CKA_EXPONENT_2, OSSL_PKEY_PARAM_RSA_EXPONENT2},
    {CKA_COEFFICIENT, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
};

struct numbers {
	uint8_t *room;
	size_t used;
};

/* `width` 0: as short as it is. */
static bool add_number(struct template *template, struct numbers *numbers, EVP_PKEY *key, CK_ATTRIBUTE_TYPE type,
		       const char *param, size_t width)
{
	BIGNUM *number = NULL;
	uint8_t *out = numbers->room + numbers->used;
	int len = -1;

	if (EVP_PKEY_get_bn_param(key, param, &number) == 1) {
		if (width == 0)
			width = (size_t)BN_num_bytes(number);
		if (numbers->used + width <= NUMBERS_ROOM_BYTES)
			len = BN_bn2binpad(number, out, (int)width);
	}
	BN_clear_free(number);
	if (len <= 0)
		return false;
	template_bytes(template, type, bytes_of(out, (size_t)len));
	numbers->used += (size_t)len;
	return true;
}

static bool add_rsa(struct template *template, struct numbers *numbers, EVP_PKEY *key)
{
	for (size_t i = 0; i < sizeof rsa_numbers / sizeof *rsa_numbers; i++)
		if (!add_number(template, numbers, key, rsa_numbers[i].type, rsa_numbers[i].param, 0))
			return false;
	return true;
}

static bool add_ec(struct template *template, struct numbers *numbers, EVP_PKEY *key, uint8_t params[static EC_PARAMS_MAX_BYTES])
{
	size_t len = ec_params(key, params);

	template_bytes(template, CKA_EC_PARAMS, bytes_of(params, len));
	return len > 0 &&
	       add_number(template, numbers, key, CKA_VALUE, OSSL_PKEY_PARAM_PRIV_KEY, (size_t)(EVP_PKEY_get_bits(key) + 7) / 8);
}

bool rung_create(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err)
{
	struct numbers numbers = {.room = OPENSSL_secure_zalloc(NUMBERS_ROOM_BYTES)};
	EVP_PKEY *pkey = attempt->host->pkey;
	uint8_t params[EC_PARAMS_MAX_BYTES];
	struct template template = {0};
	bool good = numbers.room != NULL;

	private_key_template(&template, attempt->request);
	if (good && EVP_PKEY_is_a(pkey, "EC") == 1)
		good = add_ec(&template, &numbers, pkey, params);
	else if (good)
		good = add_rsa(&template, &numbers, pkey);
	ERR_clear_error();
	if (good)
		good = create_private_key(attempt, &template, key, err);
	else
		err_set(err, ERR_INTERNAL, "the private key's numbers cannot be read");
	OPENSSL_secure_clear_free(numbers.room, NUMBERS_ROOM_BYTES);
	return good;
}
