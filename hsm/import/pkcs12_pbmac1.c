#include "hsm/import/pkcs12_pbmac1.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/pkcs12.h"

#define KEY_LEAST_BYTES 20 /* RFC 9579 §5 */
#define KEY_MOST_BYTES 64

struct pbmac1 {
	unsigned char *file; /* DER, OpenSSL's */
	struct bytes contents; /* what is authenticated: a view of it */
	const EVP_MD *prf, *digest;
	struct bytes salt, mac; /* owned */
	int iterations;
	size_t key_bytes;
};

static const EVP_MD *digest_of(const X509_ALGOR *hmac)
{
	static const struct {
		int hmac;
		const EVP_MD *(*digest)(void);
	} rows[] = {
	    {NID_hmacWithSHA1, EVP_sha1},
	    {NID_hmacWithSHA224, EVP_sha224},
	    {NID_hmacWithSHA256, EVP_sha256},
	    {NID_hmacWithSHA384, EVP_sha384},
	    {NID_hmacWithSHA512, EVP_sha512},
	    {NID_hmacWithSHA512_224, EVP_sha512_224},
	    {NID_hmacWithSHA512_256, EVP_sha512_256},
	};
	int nid = OBJ_obj2nid(hmac->algorithm);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].hmac == nid)
			return rows[i].digest();
	return NULL;
}

/* ---- what is authenticated ---- */

static bool enter(const uint8_t **at, const uint8_t *end, int want, int class, long *len)
{
	int tag, found;

	return (ASN1_get_object(at, len, &tag, &found, end - *at) & 0x80) == 0 && tag == want && found == class &&
	       *len <= end - *at;
}

/* PFX ::= SEQUENCE { version, authSafe SEQUENCE { OID, [0] OCTET STRING }, macData } in DER, as OpenSSL has written it. */
static bool find_contents(struct pbmac1 *p, const PKCS12 *file)
{
	const uint8_t *at, *end;
	long len = i2d_PKCS12(file, &p->file);

	if (len <= 0)
		return false;
	at = p->file;
	end = at + len;
	if (!enter(&at, end, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &len) || !enter(&at, end, V_ASN1_INTEGER, V_ASN1_UNIVERSAL, &len))
		return false;
	at += len;
	if (!enter(&at, end, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL, &len) || !enter(&at, end, V_ASN1_OBJECT, V_ASN1_UNIVERSAL, &len))
		return false;
	at += len;
	if (!enter(&at, end, 0, V_ASN1_CONTEXT_SPECIFIC, &len) || !enter(&at, end, V_ASN1_OCTET_STRING, V_ASN1_UNIVERSAL, &len))
		return false;
	p->contents = bytes_of(at, (size_t)len);
	return true;
}

/* ---- parameters ---- */

static struct bytes copy_string(const ASN1_OCTET_STRING *string)
{
	size_t len = (size_t)ASN1_STRING_length(string);

	return bytes_of(mem_copy(ASN1_STRING_get0_data(string), len), len);
}

static bool take_kdf(struct pbmac1 *p, const PBKDF2PARAM *kdf, struct err *err)
{
	uint64_t iterations = 0, key_bytes = 0;

	if (ASN1_INTEGER_get_uint64(&iterations, kdf->iter) != 1 || iterations > PKCS12_MAX_ITERATIONS)
		return err_set(err, ERR_LIMIT, "the file asks for more than %d iterations of its MAC", PKCS12_MAX_ITERATIONS);
	if (kdf->salt->type != V_ASN1_OCTET_STRING || kdf->keylength == NULL || iterations == 0 ||
	    ASN1_INTEGER_get_uint64(&key_bytes, kdf->keylength) != 1 || key_bytes < KEY_LEAST_BYTES || key_bytes > KEY_MOST_BYTES)
		return err_set(err, ERR_INVALID, "malformed PBMAC1 parameters in the PKCS#12 file");
	p->salt = copy_string(kdf->salt->value.octet_string);
	p->iterations = (int)iterations;
	p->key_bytes = (size_t)key_bytes;
	p->prf = kdf->prf == NULL ? EVP_sha1() : digest_of(kdf->prf);
	return true;
}

/* PBMAC1-params has the shape of PBES2-params: two AlgorithmIdentifiers. */
static bool take_parameters(struct pbmac1 *p, const X509_ALGOR *algorithm, struct err *err)
{
	PBE2PARAM *both = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
	PBKDF2PARAM *kdf = NULL;
	bool good;

	if (both != NULL && OBJ_obj2nid(both->keyfunc->algorithm) == NID_id_pbkdf2)
		kdf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), both->keyfunc->parameter);
	good = kdf != NULL ? take_kdf(p, kdf, err) : err_set(err, ERR_INVALID, "malformed PBMAC1 parameters in the PKCS#12 file");
	if (good)
		p->digest = digest_of(both->encryption);
	if (good && (p->digest == NULL || p->prf == NULL))
		good = err_set(err, ERR_INVALID, "the file's PBMAC1 uses a hash that is not known here");
	PBKDF2PARAM_free(kdf);
	PBE2PARAM_free(both);
	return good;
}

struct pbmac1 *pbmac1_read(const PKCS12 *file, struct err *err)
{
	struct pbmac1 *p = mem_new(sizeof *p);
	const ASN1_OCTET_STRING *mac = NULL;
	const X509_ALGOR *algorithm = NULL;
	bool good;

	PKCS12_get0_mac(&mac, &algorithm, NULL, NULL, file);
	good = find_contents(p, file) || err_set(err, ERR_INVALID, "malformed contents in the PKCS#12 file");
	good = good && take_parameters(p, algorithm, err);
	if (good)
		p->mac = copy_string(mac);
	ERR_clear_error();
	if (good)
		return p;
	pbmac1_free(p);
	return NULL;
}

uint64_t pbmac1_iterations(const struct pbmac1 *p)
{
	return (uint64_t)p->iterations;
}

void pbmac1_free(struct pbmac1 *p)
{
	if (p == NULL)
		return;
	OPENSSL_free(p->file);
	free((void *)p->salt.data);
	free((void *)p->mac.data);
	free(p);
}

bool pbmac1_fits(const struct pbmac1 *p, struct bytes password)
{
	uint8_t key[KEY_MOST_BYTES], made[EVP_MAX_MD_SIZE];
	const char *text = password.len > 0 ? (const char *)password.data : "";
	unsigned len = 0;
	bool fits = PKCS5_PBKDF2_HMAC(text, (int)password.len, p->salt.data, (int)p->salt.len, p->iterations, p->prf,
				      (int)p->key_bytes, key) == 1 &&
		    HMAC(p->digest, key, (int)p->key_bytes, p->contents.data, p->contents.len, made, &len) != NULL &&
		    len == p->mac.len && CRYPTO_memcmp(made, p->mac.data, len) == 0;

	mem_wipe(key, sizeof key);
	ERR_clear_error();
	return fits;
}
