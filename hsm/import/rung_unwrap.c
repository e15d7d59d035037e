#include "hsm/import/mechanisms.h"
#include "hsm/import/rungs.h"

static CK_KEY_TYPE kek_type(const struct pkcs12_scheme *scheme)
{
	return scheme->cipher == PKCS12_CIPHER_AES_CBC ? CKK_AES : CKK_DES3;
}

static bool unwrap_bag(const struct attempt *attempt, CK_OBJECT_HANDLE kek, uint8_t *iv, CK_OBJECT_HANDLE *key, struct err *err)
{
	const struct pkcs12_key *bag = pkcs12_key(attempt->request->file);
	bool aes = bag->scheme.cipher == PKCS12_CIPHER_AES_CBC;
	CK_MECHANISM mechanism = {aes ? CKM_AES_CBC_PAD : CKM_DES3_CBC_PAD, iv, pkcs12_block_bytes(bag->scheme.cipher)};
	bool good = unwrap_private_key(attempt, &mechanism, kek, bag->octets, key, err);

	session_functions(attempt->session)->C_DestroyObject(attempt->session->handle, kek);
	return good;
}

static CK_RV generate(const struct session *session, CK_MECHANISM_TYPE type, void *params, CK_ULONG params_len,
		      const struct pkcs12_scheme *scheme, CK_OBJECT_HANDLE *kek)
{
	CK_MECHANISM mechanism = {type, params, params_len};
	struct template template = {0};

	kek_template(&template, kek_type(scheme), scheme->cipher == PKCS12_CIPHER_AES_CBC ? scheme->key_bytes : 0);
	return session_functions(session)->C_GenerateKey(session->handle, &mechanism, template.items, template.count, kek);
}

/* Which of the two forms a module takes cannot be tried: the wrong one crashes it. Its own version says. */
static bool takes_length_as_number(const struct session *session)
{
	CK_INFO info = {0};

	return session_functions(session)->C_GetInfo(&info) == CKR_OK && info.cryptokiVersion.major >= 3;
}

static CK_RV derive_pbkdf2(const struct attempt *attempt, const struct pkcs12_scheme *scheme, CK_OBJECT_HANDLE *kek)
{
	static const unsigned long prfs[] = {
	    [PKCS12_PRF_SHA1] = CKP_PKCS5_PBKD2_HMAC_SHA1_PRF,	   [PKCS12_PRF_SHA224] = CKP_PKCS5_PBKD2_HMAC_SHA224_PRF,
	    [PKCS12_PRF_SHA256] = CKP_PKCS5_PBKD2_HMAC_SHA256_PRF, [PKCS12_PRF_SHA384] = CKP_PKCS5_PBKD2_HMAC_SHA384_PRF,
	    [PKCS12_PRF_SHA512] = CKP_PKCS5_PBKD2_HMAC_SHA512_PRF,
	};
	struct bytes password = pkcs12_password(attempt->request->file);
	unsigned long password_len = password.len;
	struct pbkd2_params params = {
	    .salt_source = CKZ_PKCS5_SALT_SPECIFIED,
	    .salt = (void *)scheme->salt,
	    .salt_len = scheme->salt_bytes,
	    .iterations = scheme->iterations,
	    .prf = prfs[scheme->prf],
	    .password = (unsigned char *)password.data,
	    .password_len.pointer = &password_len,
	};

	if (takes_length_as_number(attempt->session))
		params.password_len.number = password_len;
	return generate(attempt->session, CKM_PKCS5_PBKD2, &params, sizeof params, scheme, kek);
}

static CK_RV derive_pkcs12(const struct attempt *attempt, const struct pkcs12_scheme *scheme, uint8_t *iv, CK_OBJECT_HANDLE *kek)
{
	struct bytes password = pkcs12_password(attempt->request->file);
	struct pbe_params params = {
	    .iv = iv,
	    .password = (unsigned char *)password.data,
	    .password_len = password.len,
	    .salt = (unsigned char *)scheme->salt,
	    .salt_len = scheme->salt_bytes,
	    .iterations = scheme->iterations,
	};

	return generate(attempt->session, CKM_PBE_SHA1_DES3_EDE_CBC, &params, sizeof params, scheme, kek);
}

bool rung_unwrap_token_kek(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err)
{
	const struct pkcs12_scheme *scheme = &pkcs12_key(attempt->request->file)->scheme;
	CK_OBJECT_HANDLE kek = 0;
	uint8_t iv[16];
	CK_RV rv;

	for (size_t i = 0; i < sizeof iv; i++)
		iv[i] = scheme->iv[i];
	if (scheme->kdf == PKCS12_KDF_PBKDF2)
		rv = derive_pbkdf2(attempt, scheme, &kek);
	else
		rv = derive_pkcs12(attempt, scheme, iv, &kek);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_GenerateKey");
	return unwrap_bag(attempt, kek, iv, key, err);
}

bool rung_unwrap_host_kek(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err)
{
	const struct pkcs12_scheme *scheme = &pkcs12_key(attempt->request->file)->scheme;
	uint8_t octets[PKCS12_KEK_MAX_BYTES], iv[16];
	CK_OBJECT_HANDLE kek = 0;
	bool good = pkcs12_derive(attempt->request->file, octets, iv, err) &&
		    create_kek(attempt->session, kek_type(scheme), bytes_of(octets, scheme->key_bytes), &kek, err);

	mem_wipe(octets, sizeof octets);
	return good && unwrap_bag(attempt, kek, iv, key, err);
}
