#include "hsm/import/pkcs12_mac.h"

#include <openssl/err.h>
#include <string.h>

#include "hsm/import/pkcs12.h"
#include "hsm/import/pkcs12_pbmac1.h"

static bool is_pbmac1(const PKCS12 *file)
{
	const X509_ALGOR *algorithm = NULL;

	PKCS12_get0_mac(NULL, &algorithm, NULL, NULL, file);
	return OBJ_obj2nid(algorithm->algorithm) == NID_pbmac1;
}

/* RFC 7292 §4: an absent count is 1. PBMAC1 has its own (RFC 9579 §4). */
static bool read_iterations(const PKCS12 *file, uint64_t *iterations, struct err *err)
{
	const ASN1_INTEGER *count = NULL;

	*iterations = 1;
	if (is_pbmac1(file)) {
		struct pbmac1 *pbmac1 = pbmac1_read(file, err);

		if (pbmac1 == NULL)
			return false;
		*iterations = pbmac1_iterations(pbmac1);
		pbmac1_free(pbmac1);
		return true;
	}
	PKCS12_get0_mac(NULL, NULL, NULL, &count, file);
	if (count != NULL && (ASN1_INTEGER_get_uint64(iterations, count) != 1 || *iterations > PKCS12_MAX_ITERATIONS))
		return err_set(err, ERR_LIMIT, "the file asks for more than %d iterations of its MAC", PKCS12_MAX_ITERATIONS);
	return true;
}

uint64_t pkcs12_mac_cost(const PKCS12 *file)
{
	uint64_t iterations = 0;

	return PKCS12_mac_present(file) == 1 && read_iterations(file, &iterations, NULL) ? iterations : 0;
}

static bool fits(PKCS12 *file, struct bytes password)
{
	bool good = PKCS12_verify_mac(file, (const char *)password.data, (int)password.len) == 1;

	ERR_clear_error();
	return good;
}

static bool is_ascii(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 0x80)
			return false;
	return true;
}

/* Each octet as one character, again in UTF-8. */
static struct secret *octets_as_characters(struct bytes text, struct err *err)
{
	uint8_t wide[2 * SECRET_MAX_BYTES];
	struct secret *secret;
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] >= 0x80)
			wide[len++] = (uint8_t)(0xc0 | text.data[i] >> 6);
		wide[len++] = (uint8_t)(text.data[i] >= 0x80 ? 0x80 | (text.data[i] & 0x3f) : text.data[i]);
	}
	secret = secret_new(bytes_of(wide, len), err);
	mem_wipe(wide, sizeof wide);
	return secret;
}

/* RFC 9579 §4: the password is UTF-8, in one form alone. */
static bool check_pbmac1(PKCS12 *file, struct pkcs12_password *password, struct err *err)
{
	struct pbmac1 *pbmac1 = pbmac1_read(file, err);
	bool good = pbmac1 != NULL;

	password->for_kdf = secret_bytes(password->text);
	if (good && !pbmac1_fits(pbmac1, password->for_kdf))
		good = err_set(err, ERR_DENIED, "wrong password of the PKCS#12 file");
	pbmac1_free(pbmac1);
	return good;
}

static bool choose_form(PKCS12 *file, struct pkcs12_password *password, struct err *err)
{
	struct bytes text = secret_bytes(password->text);

	password->for_kdf = text;
	if (fits(file, text))
		return true;
	if (text.len == 0) {
		password->for_kdf = (struct bytes){0};
		if (fits(file, password->for_kdf))
			return true;
	} else if (!is_ascii(text)) {
		password->kdf = octets_as_characters(text, err);
		if (password->kdf == NULL)
			return false;
		password->for_kdf = secret_bytes(password->kdf);
		if (fits(file, password->for_kdf))
			return true;
	}
	return err_set(err, ERR_DENIED, "wrong password of the PKCS#12 file");
}

static bool widen(struct pkcs12_password *password, struct err *err)
{
	struct bytes text = password->for_kdf;
	unsigned char *wide = NULL;
	int len = 0;

	if (text.data == NULL)
		return true;
	if (OPENSSL_utf82uni((const char *)text.data, (int)text.len, &wide, &len) == NULL)
		return err_set(err, ERR_INVALID, "the password is not UTF-8");
	password->wide = secret_new(bytes_of(wide, (size_t)len), err);
	OPENSSL_clear_free(wide, (size_t)len);
	if (password->wide == NULL)
		return false;
	password->bmp = secret_bytes(password->wide);
	return true;
}

bool pkcs12_check_mac(PKCS12 *file, struct bytes text, struct pkcs12_password *password, uint64_t *iterations, struct err *err)
{
	struct pkcs12_password found = {0};
	uint64_t cost;

	if (PKCS12_mac_present(file) != 1)
		return err_set(err, ERR_INVALID,
			       "the PKCS#12 file has no MAC, so that its password cannot be checked: export it with "
			       "a password");
	if (!read_iterations(file, &cost, err))
		return false;
	found.text = secret_new(text, err);
	if (found.text == NULL || !(is_pbmac1(file) ? check_pbmac1 : choose_form)(file, &found, err) || !widen(&found, err)) {
		pkcs12_password_clear(&found);
		return false;
	}
	*password = found;
	*iterations = cost;
	return true;
}

void pkcs12_password_clear(struct pkcs12_password *password)
{
	secret_free(password->text);
	secret_free(password->kdf);
	secret_free(password->wide);
	*password = (struct pkcs12_password){0};
}
