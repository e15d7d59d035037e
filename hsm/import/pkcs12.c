#include "hsm/import/pkcs12.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/secret.h"
#include "hsm/import/pkcs12_mac.h"
#include "hsm/import/pkcs12_scheme.h"

struct pkcs12 {
	struct pkcs12_password password;
	struct pkcs12_key key;
	X509_ALGOR *algorithm;
	uint8_t *octets; /* secure heap: of a keyBag they are the key itself */
	struct bytes key_link;
	STACK_OF(X509) * certificates;
	struct bytes links[PKCS12_MAX_CERTIFICATES]; /* localKeyId of each certificate */
	unsigned keys_seen;
	uint64_t iterations; /* of the MAC and of all parts so far */
};

/* ---- bags ---- */

static struct bytes local_key_id(const PKCS12_SAFEBAG *bag)
{
	const ASN1_TYPE *attribute = PKCS12_SAFEBAG_get0_attr(bag, NID_localKeyID);
	const ASN1_OCTET_STRING *id;

	if (attribute == NULL || attribute->type != V_ASN1_OCTET_STRING)
		return (struct bytes){0};
	id = attribute->value.octet_string;
	if (ASN1_STRING_length(id) == 0)
		return (struct bytes){0};
	return bytes_of(mem_copy(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id)), (size_t)ASN1_STRING_length(id));
}

static bool keep_octets(struct pkcs12 *p, const uint8_t *octets, int len, struct err *err)
{
	p->octets = OPENSSL_secure_malloc((size_t)len);
	if (p->octets == NULL)
		return err_set(err, ERR_LIMIT, "no secure memory for a private key of %d octets", len);
	if (octets != NULL)
		memcpy(p->octets, octets, (size_t)len);
	p->key.octets = bytes_of(p->octets, (size_t)len);
	return true;
}

static bool take_plain_key(struct pkcs12 *p, const PKCS12_SAFEBAG *bag, struct err *err)
{
	const PKCS8_PRIV_KEY_INFO *info = PKCS12_SAFEBAG_get0_p8inf(bag);
	int len = info != NULL ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : -1;
	uint8_t *out;

	if (len <= 0)
		return err_set(err, ERR_INVALID, "malformed private key in the PKCS#12 file");
	if (!keep_octets(p, NULL, len, err))
		return false;
	out = p->octets;
	i2d_PKCS8_PRIV_KEY_INFO(info, &out);
	p->key.scheme.cipher = PKCS12_CIPHER_NONE;
	return true;
}

/* One file must not keep the HSM program busy for hours by having many parts. */
static bool spend(struct pkcs12 *p, uint64_t iterations, struct err *err)
{
	p->iterations += iterations;
	return p->iterations <= PKCS12_MAX_ALL_ITERATIONS ||
	       err_set(err, ERR_LIMIT, "the file's parts ask for more than %d iterations together: export it with fewer",
		       PKCS12_MAX_ALL_ITERATIONS);
}

static bool take_encrypted_key(struct pkcs12 *p, const PKCS12_SAFEBAG *bag, struct err *err)
{
	const X509_SIG *encrypted = PKCS12_SAFEBAG_get0_pkcs8(bag);
	const X509_ALGOR *algorithm = NULL;
	const ASN1_OCTET_STRING *octets = NULL;

	if (encrypted == NULL)
		return err_set(err, ERR_INVALID, "malformed private key in the PKCS#12 file");
	X509_SIG_get0(encrypted, &algorithm, &octets);
	if (ASN1_STRING_length(octets) == 0)
		return err_set(err, ERR_INVALID, "empty private key in the PKCS#12 file");
	if (!pkcs12_read_scheme(algorithm, &p->key.scheme, err) || !spend(p, p->key.scheme.iterations, err) ||
	    !keep_octets(p, ASN1_STRING_get0_data(octets), ASN1_STRING_length(octets), err))
		return false;
	p->key.algorithm = p->algorithm = X509_ALGOR_dup(algorithm);
	return p->algorithm != NULL || err_set(err, ERR_INTERNAL, "no memory");
}

static bool take_key(struct pkcs12 *p, const PKCS12_SAFEBAG *bag, struct err *err)
{
	if (++p->keys_seen > 1)
		return true;
	p->key_link = local_key_id(bag);
	return PKCS12_SAFEBAG_get_nid(bag) == NID_keyBag ? take_plain_key(p, bag, err) : take_encrypted_key(p, bag, err);
}

static bool is_known(const struct pkcs12 *p, const X509 *certificate)
{
	for (int i = 0; i < sk_X509_num(p->certificates); i++)
		if (X509_cmp(sk_X509_value(p->certificates, i), certificate) == 0)
			return true;
	return false;
}

static bool take_certificate(struct pkcs12 *p, const PKCS12_SAFEBAG *bag, struct err *err)
{
	int index = sk_X509_num(p->certificates);
	X509 *certificate;

	if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
		return true;
	certificate = PKCS12_SAFEBAG_get1_cert(bag);
	if (certificate == NULL)
		return err_set(err, ERR_INVALID, "malformed certificate in the PKCS#12 file");
	if (is_known(p, certificate)) {
		X509_free(certificate);
		return true;
	}
	if (index == PKCS12_MAX_CERTIFICATES) {
		X509_free(certificate);
		return err_set(err, ERR_LIMIT, "the PKCS#12 file holds more than %d certificates", PKCS12_MAX_CERTIFICATES);
	}
	sk_X509_push(p->certificates, certificate);
	p->links[index] = local_key_id(bag);
	return true;
}

static bool walk(struct pkcs12 *p, const STACK_OF(PKCS12_SAFEBAG) * bags, int depth, struct err *err);

static bool take_bag(struct pkcs12 *p, const PKCS12_SAFEBAG *bag, int depth, struct err *err)
{
	switch (PKCS12_SAFEBAG_get_nid(bag)) {
	case NID_keyBag:
	case NID_pkcs8ShroudedKeyBag:
		return take_key(p, bag, err);
	case NID_certBag:
		return take_certificate(p, bag, err);
	case NID_safeContentsBag:
		if (depth == PKCS12_MAX_NESTING)
			return err_set(err, ERR_LIMIT, "the PKCS#12 file nests its contents too deeply");
		return walk(p, PKCS12_SAFEBAG_get0_safes(bag), depth + 1, err);
	default:
		return true; /* CRLs and secrets are of no use here */
	}
}

static bool walk(struct pkcs12 *p, const STACK_OF(PKCS12_SAFEBAG) * bags, int depth, struct err *err)
{
	for (int i = 0; i < sk_PKCS12_SAFEBAG_num(bags); i++)
		if (!take_bag(p, sk_PKCS12_SAFEBAG_value(bags, i), depth, err))
			return false;
	return true;
}

/* ---- safes ---- */

static struct bytes password_for(const struct pkcs12 *p, const X509_ALGOR *algorithm)
{
	return pkcs12_uses_own_kdf(algorithm) ? p->password.for_kdf : secret_bytes(p->password.text);
}

static STACK_OF(PKCS12_SAFEBAG) * decrypt_safe(struct pkcs12 *p, PKCS7 *safe, struct err *err)
{
	const X509_ALGOR *algorithm = safe->d.encrypted->enc_data->algorithm;
	struct bytes password = password_for(p, algorithm);
	struct pkcs12_scheme scheme;
	STACK_OF(PKCS12_SAFEBAG) * bags;

	if (!pkcs12_read_scheme(algorithm, &scheme, err) || !spend(p, scheme.iterations, err) ||
	    !pkcs12_prepare_algorithm(algorithm, err))
		return NULL;
	bags = PKCS12_unpack_p7encdata(safe, (const char *)password.data, (int)password.len);
	if (bags == NULL)
		err_set(err, ERR_INVALID, "a part of the PKCS#12 file does not decrypt with the password that fits its MAC");
	return bags;
}

static STACK_OF(PKCS12_SAFEBAG) * open_safe(struct pkcs12 *p, PKCS7 *safe, struct err *err)
{
	STACK_OF(PKCS12_SAFEBAG) * bags;

	switch (OBJ_obj2nid(safe->type)) {
	case NID_pkcs7_data:
		bags = PKCS12_unpack_p7data(safe);
		if (bags == NULL)
			err_set(err, ERR_INVALID, "malformed contents in the PKCS#12 file");
		return bags;
	case NID_pkcs7_encrypted:
		return decrypt_safe(p, safe, err);
	default:
		err_set(err, ERR_INVALID, "a part of the PKCS#12 file is not encrypted with a password, but to a certificate");
		return NULL;
	}
}

static bool read_safes(struct pkcs12 *p, const STACK_OF(PKCS7) * safes, struct err *err)
{
	bool good = true;

	for (int i = 0; i < sk_PKCS7_num(safes) && good; i++) {
		STACK_OF(PKCS12_SAFEBAG) *bags = open_safe(p, sk_PKCS7_value(safes, i), err);

		good = bags != NULL && walk(p, bags, 0, err);
		sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
	}
	return good;
}

/* ---- the file ---- */

/* Whether a DER element begins the file and ends behind it. */
static bool is_cut(struct bytes file, size_t *whole)
{
	const uint8_t *at = file.data;
	int tag, class, form;
	long len = 0;

	form = file.len >= 2 ? ASN1_get_object(&at, &len, &tag, &class, (long)file.len) : 0x80;
	ERR_clear_error();
	*whole = (size_t)(at - file.data) + (size_t)len;
	return at != file.data && (form & 0x21) == V_ASN1_CONSTRUCTED && tag == V_ASN1_SEQUENCE && class == V_ASN1_UNIVERSAL &&
	       *whole > file.len && *whole <= PKCS12_MAX_BYTES;
}

static void tell_what_it_is(struct bytes file, struct err *err)
{
	size_t whole;

	if (bytes_starts_nocase(bytes_trim(file), "-----BEGIN "))
		err_set(err, ERR_INVALID,
			"this is a PEM file, not a PKCS#12 file (.p12, .pfx): export certificate and key as PKCS#12");
	else if (is_cut(file, &whole))
		err_set(err, ERR_INVALID, "the PKCS#12 file is cut short (%zu of %zu octets): copy it again, in binary mode",
			file.len, whole);
	else
		err_set(err, ERR_INVALID, "this is not a PKCS#12 file (.p12, .pfx), or a damaged one: copy or export it again");
}

static PKCS12 *decode(struct bytes file, struct err *err)
{
	const uint8_t *at = file.data;
	PKCS12 *decoded;

	if (file.len > PKCS12_MAX_BYTES) {
		err_set(err, ERR_LIMIT, "the PKCS#12 file has more than %u bytes", PKCS12_MAX_BYTES);
		return NULL;
	}
	decoded = d2i_PKCS12(NULL, &at, (long)file.len);
	if (decoded == NULL)
		tell_what_it_is(file, err);
	return decoded;
}

static bool read_contents(struct pkcs12 *p, PKCS12 *file, struct err *err)
{
	STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(file);
	bool good =
	    safes != NULL ? read_safes(p, safes, err) : err_set(err, ERR_INVALID, "malformed contents in the PKCS#12 file");

	sk_PKCS7_pop_free(safes, PKCS7_free);
	if (!good)
		return false;
	if (p->keys_seen == 0)
		return err_set(err, ERR_INVALID,
			       "no private key in the PKCS#12 file: export the certificate together with its key");
	if (p->keys_seen > 1)
		return err_set(err, ERR_INVALID,
			       "the PKCS#12 file holds %u private keys: export one certificate with its key alone", p->keys_seen);
	if (sk_X509_num(p->certificates) == 0)
		return err_set(err, ERR_INVALID,
			       "no certificate in the PKCS#12 file: export the key together with its certificate");
	return true;
}

struct pkcs12 *pkcs12_parse(struct bytes file, struct bytes password, struct err *err)
{
	struct pkcs12 *p = mem_new(sizeof *p);
	PKCS12 *decoded = decode(file, err);
	bool good;

	p->certificates = sk_X509_new_null();
	good = decoded != NULL && pkcs12_check_mac(decoded, password, &p->password, &p->iterations, err) &&
	       read_contents(p, decoded, err);
	PKCS12_free(decoded);
	ERR_clear_error();
	if (good)
		return p;
	pkcs12_free(p);
	return NULL;
}

uint64_t pkcs12_mac_iterations(struct bytes file)
{
	PKCS12 *decoded = decode(file, NULL);
	uint64_t iterations = decoded != NULL ? pkcs12_mac_cost(decoded) : 0;

	PKCS12_free(decoded);
	ERR_clear_error();
	return iterations;
}

void pkcs12_free(struct pkcs12 *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < PKCS12_MAX_CERTIFICATES; i++)
		free((void *)p->links[i].data);
	free((void *)p->key_link.data);
	sk_X509_pop_free(p->certificates, X509_free);
	X509_ALGOR_free(p->algorithm);
	OPENSSL_secure_clear_free(p->octets, p->key.octets.len);
	pkcs12_password_clear(&p->password);
	free(p);
}

const struct pkcs12_key *pkcs12_key(const struct pkcs12 *p)
{
	return &p->key;
}

STACK_OF(X509) * pkcs12_certificates(const struct pkcs12 *p)
{
	return p->certificates;
}

bool pkcs12_is_linked(const struct pkcs12 *p, int certificate)
{
	return p->key_link.len > 0 && bytes_equal(p->links[certificate], p->key_link);
}

/* ---- on the host ---- */

static bool decrypt(const struct pkcs12 *p, EVP_CIPHER_CTX *context, uint8_t *out, int *len)
{
	struct bytes password = password_for(p, p->algorithm);
	int tail = 0;

	if (EVP_PBE_CipherInit(p->algorithm->algorithm, (const char *)password.data, (int)password.len, p->algorithm->parameter,
			       context, 0) != 1 ||
	    EVP_CipherUpdate(context, out, len, p->key.octets.data, (int)p->key.octets.len) != 1 ||
	    EVP_CipherFinal_ex(context, out + *len, &tail) != 1)
		return false;
	*len += tail;
	return true;
}

bool pkcs12_decrypt_key(const struct pkcs12 *p, uint8_t **der, size_t *der_len, struct err *err)
{
	size_t room = p->key.octets.len + EVP_MAX_BLOCK_LENGTH;
	EVP_CIPHER_CTX *context;
	uint8_t *out;
	int len = 0;
	bool good;

	if (p->algorithm != NULL && !pkcs12_prepare_algorithm(p->algorithm, err))
		return false;
	out = OPENSSL_secure_zalloc(room);
	context = EVP_CIPHER_CTX_new();
	good = out != NULL && context != NULL;
	if (good && p->algorithm == NULL)
		memcpy(out, p->key.octets.data, (size_t)(len = (int)p->key.octets.len));
	else if (good)
		good = decrypt(p, context, out, &len);
	EVP_CIPHER_CTX_free(context);
	ERR_clear_error();
	if (!good) {
		OPENSSL_secure_clear_free(out, room);
		return err_set(err, ERR_INVALID,
			       "the private key in the file does not decrypt with the password that fits its MAC");
	}
	*der = out;
	*der_len = (size_t)len;
	return true;
}

static void set_odd_parity(uint8_t *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		key[i] = (uint8_t)((key[i] & 0xfe) | (__builtin_parity(key[i] >> 1) ^ 1));
}

static bool derive_pbkdf2(const struct pkcs12 *p, uint8_t *kek, uint8_t *iv)
{
	const EVP_MD *digests[] = {EVP_sha1(), EVP_sha224(), EVP_sha256(), EVP_sha384(), EVP_sha512()};
	const struct pkcs12_scheme *scheme = &p->key.scheme;
	struct bytes password = secret_bytes(p->password.text);

	memcpy(iv, scheme->iv, pkcs12_block_bytes(scheme->cipher));
	return PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, scheme->salt, (int)scheme->salt_bytes,
				 (int)scheme->iterations, digests[scheme->prf], (int)scheme->key_bytes, kek) == 1;
}

static bool derive_pkcs12(const struct pkcs12 *p, uint8_t *kek, uint8_t *iv)
{
	const struct pkcs12_scheme *scheme = &p->key.scheme;
	uint8_t *password = (uint8_t *)p->password.bmp.data, *salt = (uint8_t *)scheme->salt;
	int password_len = (int)p->password.bmp.len, salt_len = (int)scheme->salt_bytes, iterations = (int)scheme->iterations;

	return PKCS12_key_gen_uni(password, password_len, salt, salt_len, PKCS12_KEY_ID, iterations, (int)scheme->key_bytes, kek,
				  EVP_sha1()) == 1 &&
	       PKCS12_key_gen_uni(password, password_len, salt, salt_len, PKCS12_IV_ID, iterations,
				  (int)pkcs12_block_bytes(scheme->cipher), iv, EVP_sha1()) == 1;
}

bool pkcs12_derive(const struct pkcs12 *p, uint8_t kek[static PKCS12_KEK_MAX_BYTES], uint8_t iv[static 16], struct err *err)
{
	const struct pkcs12_scheme *scheme = &p->key.scheme;

	if (!(scheme->kdf == PKCS12_KDF_PBKDF2 ? derive_pbkdf2 : derive_pkcs12)(p, kek, iv)) {
		ERR_clear_error();
		return err_set(err, ERR_INTERNAL, "the key of the key bag cannot be derived");
	}
	if (scheme->cipher == PKCS12_CIPHER_DES3_CBC)
		set_odd_parity(kek, scheme->key_bytes);
	return true;
}

struct bytes pkcs12_password(const struct pkcs12 *p)
{
	return p->key.scheme.kdf == PKCS12_KDF_PBKDF2 ? secret_bytes(p->password.text) : p->password.bmp;
}
