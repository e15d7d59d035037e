#include "hsm/import/pkcs12_scheme.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <string.h>

static const struct {
	int nid;
	enum pkcs12_cipher cipher;
	size_t key_bytes;
} ciphers[] = {
    {NID_aes_128_cbc, PKCS12_CIPHER_AES_CBC, 16},
    {NID_aes_192_cbc, PKCS12_CIPHER_AES_CBC, 24},
    {NID_aes_256_cbc, PKCS12_CIPHER_AES_CBC, 32},
    {NID_des_ede3_cbc, PKCS12_CIPHER_DES3_CBC, 24},
};

static const struct {
	int nid;
	enum pkcs12_prf prf;
} prfs[] = {
    {NID_hmacWithSHA1, PKCS12_PRF_SHA1},     {NID_hmacWithSHA224, PKCS12_PRF_SHA224}, {NID_hmacWithSHA256, PKCS12_PRF_SHA256},
    {NID_hmacWithSHA384, PKCS12_PRF_SHA384}, {NID_hmacWithSHA512, PKCS12_PRF_SHA512},
};

size_t pkcs12_block_bytes(enum pkcs12_cipher cipher)
{
	static const size_t octets[] = {[PKCS12_CIPHER_AES_CBC] = 16, [PKCS12_CIPHER_DES3_CBC] = 8};

	return cipher <= PKCS12_CIPHER_DES3_CBC ? octets[cipher] : 0;
}

static bool set_iterations(struct pkcs12_scheme *scheme, const ASN1_INTEGER *iterations, struct err *err)
{
	if (ASN1_INTEGER_get_uint64(&scheme->iterations, iterations) != 1 || scheme->iterations > PKCS12_MAX_ITERATIONS)
		return err_set(err, ERR_LIMIT, "the file asks for more than %d iterations of its key derivation",
			       PKCS12_MAX_ITERATIONS);
	return true;
}

static bool set_salt(struct pkcs12_scheme *scheme, const ASN1_OCTET_STRING *salt)
{
	size_t len = (size_t)ASN1_STRING_length(salt);

	if (len > sizeof scheme->salt)
		return false;
	memcpy(scheme->salt, ASN1_STRING_get0_data(salt), len);
	scheme->salt_bytes = len;
	return true;
}

static bool set_cipher(struct pkcs12_scheme *scheme, const X509_ALGOR *encryption)
{
	int nid = OBJ_obj2nid(encryption->algorithm);
	const ASN1_TYPE *iv = encryption->parameter;
	size_t i = 0;

	while (i < sizeof ciphers / sizeof *ciphers && ciphers[i].nid != nid)
		i++;
	if (i == sizeof ciphers / sizeof *ciphers || iv == NULL || iv->type != V_ASN1_OCTET_STRING ||
	    (size_t)ASN1_STRING_length(iv->value.octet_string) != pkcs12_block_bytes(ciphers[i].cipher))
		return false;
	memcpy(scheme->iv, ASN1_STRING_get0_data(iv->value.octet_string), pkcs12_block_bytes(ciphers[i].cipher));
	scheme->cipher = ciphers[i].cipher;
	scheme->key_bytes = ciphers[i].key_bytes;
	return true;
}

/* RFC 8018 A.2: an absent prf is HMAC-SHA1. */
static bool set_prf(struct pkcs12_scheme *scheme, const X509_ALGOR *prf)
{
	int nid = prf == NULL ? NID_hmacWithSHA1 : OBJ_obj2nid(prf->algorithm);

	for (size_t i = 0; i < sizeof prfs / sizeof *prfs; i++)
		if (prfs[i].nid == nid) {
			scheme->prf = prfs[i].prf;
			return true;
		}
	return false;
}

static bool read_pbkdf2(struct pkcs12_scheme *scheme, const PBKDF2PARAM *kdf, const X509_ALGOR *encryption, struct err *err)
{
	uint64_t key_bytes = 0;

	if (!set_iterations(scheme, kdf->iter, err))
		return false;
	if (kdf->salt->type != V_ASN1_OCTET_STRING || !set_salt(scheme, kdf->salt->value.octet_string) ||
	    !set_prf(scheme, kdf->prf) || !set_cipher(scheme, encryption) ||
	    (kdf->keylength != NULL &&
	     (ASN1_INTEGER_get_uint64(&key_bytes, kdf->keylength) != 1 || key_bytes != scheme->key_bytes)))
		scheme->cipher = PKCS12_CIPHER_OTHER;
	return true;
}

/* Its cost is chosen by whoever made the file. */
static bool check_scrypt(const X509_ALGOR *function, struct err *err)
{
	SCRYPT_PARAMS *param = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), function->parameter);
	uint64_t n = 0, r = 0, p = 0;
	bool read = param != NULL && ASN1_INTEGER_get_uint64(&n, param->costParameter) == 1 &&
		    ASN1_INTEGER_get_uint64(&r, param->blockSize) == 1 &&
		    ASN1_INTEGER_get_uint64(&p, param->parallelizationParameter) == 1;

	SCRYPT_PARAMS_free(param);
	if (!read)
		return err_set(err, ERR_INVALID, "malformed scrypt parameters in the PKCS#12 file");
	if (n > PKCS12_MAX_SCRYPT_COST || r > PKCS12_MAX_SCRYPT_COST || p > PKCS12_MAX_SCRYPT_COST ||
	    n * r > PKCS12_MAX_SCRYPT_COST || n * r * p > PKCS12_MAX_SCRYPT_COST)
		return err_set(err, ERR_LIMIT, "the file asks for too costly an scrypt (N * r * p over %u)",
			       PKCS12_MAX_SCRYPT_COST);
	return true;
}

static bool read_pbes2(struct pkcs12_scheme *scheme, const X509_ALGOR *algorithm, struct err *err)
{
	PBE2PARAM *param = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
	PBKDF2PARAM *kdf = NULL;
	bool good = param != NULL || err_set(err, ERR_INVALID, "malformed encryption parameters in the PKCS#12 file");

	if (good && OBJ_obj2nid(param->keyfunc->algorithm) == NID_id_pbkdf2) {
		kdf = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), param->keyfunc->parameter);
		good = kdf != NULL ? read_pbkdf2(scheme, kdf, param->encryption, err)
				   : err_set(err, ERR_INVALID, "malformed PBKDF2 parameters in the PKCS#12 file");
	}
	if (good && OBJ_obj2nid(param->keyfunc->algorithm) == NID_id_scrypt)
		good = check_scrypt(param->keyfunc, err);
	PBKDF2PARAM_free(kdf);
	PBE2PARAM_free(param);
	return good;
}

static bool read_pbes1(struct pkcs12_scheme *scheme, const X509_ALGOR *algorithm, int nid, struct err *err)
{
	PBEPARAM *param = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
	bool good = param != NULL ? set_iterations(scheme, param->iter, err)
				  : err_set(err, ERR_INVALID, "malformed encryption parameters in the PKCS#12 file");

	if (good && nid == NID_pbe_WithSHA1And3_Key_TripleDES_CBC && set_salt(scheme, param->salt)) {
		scheme->cipher = PKCS12_CIPHER_DES3_CBC;
		scheme->kdf = PKCS12_KDF_PKCS12_SHA1;
		scheme->key_bytes = 24;
	}
	PBEPARAM_free(param);
	return good;
}

bool pkcs12_read_scheme(const X509_ALGOR *algorithm, struct pkcs12_scheme *scheme, struct err *err)
{
	struct pkcs12_scheme read = {.cipher = PKCS12_CIPHER_OTHER};
	int nid = OBJ_obj2nid(algorithm->algorithm);
	bool good;

	if (nid == NID_pbes2)
		good = read_pbes2(&read, algorithm, err);
	else
		good = read_pbes1(&read, algorithm, nid, err);
	ERR_clear_error();
	if (good)
		*scheme = read;
	return good;
}

bool pkcs12_uses_own_kdf(const X509_ALGOR *algorithm)
{
	static const int nids[] = {NID_pbe_WithSHA1And128BitRC4,	   NID_pbe_WithSHA1And40BitRC4,
				   NID_pbe_WithSHA1And3_Key_TripleDES_CBC, NID_pbe_WithSHA1And2_Key_TripleDES_CBC,
				   NID_pbe_WithSHA1And128BitRC2_CBC,	   NID_pbe_WithSHA1And40BitRC2_CBC};
	int nid = OBJ_obj2nid(algorithm->algorithm);

	for (size_t i = 0; i < sizeof nids / sizeof *nids; i++)
		if (nids[i] == nid)
			return true;
	return false;
}

static int inner_cipher(const X509_ALGOR *algorithm)
{
	PBE2PARAM *param = NULL;
	int nid = OBJ_obj2nid(algorithm->algorithm), cipher = NID_undef;

	if (nid != NID_pbes2) {
		EVP_PBE_find(EVP_PBE_TYPE_OUTER, nid, &cipher, NULL, NULL);
		return cipher;
	}
	param = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
	if (param != NULL)
		cipher = OBJ_obj2nid(param->encryption->algorithm);
	PBE2PARAM_free(param);
	return cipher;
}

/* Naming one provider drops the implicit default one. Both stay for the life of this short-lived process. */
static bool load_legacy(void)
{
	static OSSL_PROVIDER *usual, *legacy;

	if (usual == NULL)
		usual = OSSL_PROVIDER_load(NULL, "default");
	if (legacy == NULL && usual != NULL)
		legacy = OSSL_PROVIDER_load(NULL, "legacy");
	return legacy != NULL;
}

bool pkcs12_prepare_algorithm(const X509_ALGOR *algorithm, struct err *err)
{
	static const int old[] = {NID_rc2_40_cbc, NID_rc2_64_cbc, NID_rc2_cbc, NID_rc4, NID_rc4_40, NID_des_cbc};
	int cipher = inner_cipher(algorithm);

	for (size_t i = 0; i < sizeof old / sizeof *old; i++)
		if (old[i] == cipher && !load_legacy()) {
			ERR_clear_error();
			return err_set(err, ERR_INVALID,
				       "the file is encrypted with %s, and OpenSSL's legacy provider does not load",
				       OBJ_nid2sn(cipher));
		}
	return true;
}
