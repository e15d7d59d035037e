/*
 * The back end "cryptoki": direct calls, each thread takes a session of its own out of a small pool. A session that has
 * become invalid is replaced and its operation repeated once; key handles are found again when the token has forgotten
 * them. A lost login is the end of the process: the PIN is not kept, and a fresh process logs in.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/token/backend.h"
#include "hsm/token/cryptoki_pool.h"
#include "hsm/token/object.h"

#define SIGNATURE_MAX_BYTES 1024 /* RSA-8192 */
#define POINT_MAX_BYTES 256

struct key {
	_Atomic(CK_OBJECT_HANDLE) handle;
	bool ec;
	size_t id_len;
	uint8_t id[];
};

static CK_RV find_key(const struct session_pool *pool, CK_SESSION_HANDLE session, struct bytes key_id, CK_OBJECT_HANDLE *key)
{
	return key_search(module_functions(pool->module), session, CKO_PRIVATE_KEY, key_id, key);
}

static void cryptoki_close(void *state)
{
	struct session_pool *pool = state;

	while (pool->n_idle > 0)
		module_functions(pool->module)->C_CloseSession(pool->idle[--pool->n_idle]);
	module_close(pool->module);
	pthread_mutex_destroy(&pool->lock);
	key_index_clear(&pool->private_keys);
	key_index_clear(&pool->public_keys);
	free(pool);
}

static bool log_in(struct session_pool *pool, const struct secret *pin, enum token_fault *fault, struct err *err)
{
	struct session session;
	struct err why = {0};

	if (session_open(pool->module, pool->slot, &session, &why)) {
		if (session_login_decided(&session, pin != NULL ? secret_bytes(pin) : (struct bytes){0}, &why)) {
			pool_give(pool, session.handle);
			return true;
		}
		session_close(&session);
	}
	*fault = why.code == ERR_DENIED ? TOKEN_FAULT_PIN : TOKEN_FAULT_MODULE;
	return err_set(err, why.code, "%s", why.text);
}

#define MECHANISMS_MAX 1024 /* of a token */

static bool lists(const CK_MECHANISM_TYPE *mechanisms, size_t count, CK_MECHANISM_TYPE type)
{
	for (size_t i = 0; i < count; i++) {
		if (mechanisms[i] == type)
			return true;
	}
	return false;
}

/* A token that hashes itself is given the text only when it says that it takes no digest: that costs it less. */
static void choose_mechanisms(struct session_pool *pool)
{
	CK_MECHANISM_TYPE mechanisms[MECHANISMS_MAX];
	size_t count = 0;
	bool told = module_mechanisms(pool->module, pool->slot, mechanisms, MECHANISMS_MAX, &count, NULL);

	pool->pkcs = !told || lists(mechanisms, count, CKM_RSA_PKCS) || !lists(mechanisms, count, CKM_SHA256_RSA_PKCS);
	pool->pss = !told || lists(mechanisms, count, CKM_RSA_PKCS_PSS) || !lists(mechanisms, count, CKM_SHA256_RSA_PKCS_PSS);
}

static void *cryptoki_open(const struct token_place *place, unsigned long slot, const struct token_info *info,
			   const struct secret *pin, enum token_fault *fault, struct err *err)
{
	struct module *module = module_open(place->module, err);
	struct session_pool *pool;

	(void)info;
	*fault = TOKEN_FAULT_MODULE;
	if (module == NULL)
		return NULL;
	pool = mem_new(sizeof *pool);
	pool->module = module;
	pool->slot = slot;
	pool->private_keys.class = CKO_PRIVATE_KEY;
	pool->public_keys.class = CKO_PUBLIC_KEY;
	pthread_mutex_init(&pool->lock, NULL);
	if (log_in(pool, pin, fault, err)) {
		choose_mechanisms(pool);
		pool_fill(pool, place->threads);
		return pool;
	}
	cryptoki_close(pool);
	return NULL;
}

/* Reads one attribute of up to `most` octets; len 0 when the token does not tell. */
static size_t read_attribute(const struct session_pool *pool, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
			     CK_ATTRIBUTE_TYPE type, uint8_t *out, size_t most)
{
	CK_ATTRIBUTE attribute = {type, out, most};

	if (module_functions(pool->module)->C_GetAttributeValue(session, object, &attribute, 1) != CKR_OK ||
	    attribute.ulValueLen == CK_UNAVAILABLE_INFORMATION)
		return 0;
	return attribute.ulValueLen;
}

static bool same_modulus(const struct session_pool *pool, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, EVP_PKEY *public_key)
{
	uint8_t octets[SIGNATURE_MAX_BYTES];
	size_t len = read_attribute(pool, session, key, CKA_MODULUS, octets, sizeof octets);
	BIGNUM *expected = NULL, *found;
	bool same;

	if (len == 0 || EVP_PKEY_get_bn_param(public_key, OSSL_PKEY_PARAM_RSA_N, &expected) != 1)
		return true;
	found = BN_bin2bn(octets, (int)len, NULL);
	same = found != NULL && BN_cmp(found, expected) == 0;
	BN_free(found);
	BN_free(expected);
	return same;
}

/* The point stands in the public key, when the token has one: DER OCTET STRING (PKCS#11 §6.3.3), or bare on some tokens. */
static bool same_point(struct session_pool *pool, CK_SESSION_HANDLE session, struct bytes key_id, EVP_PKEY *public_key)
{
	uint8_t octets[POINT_MAX_BYTES], expected[POINT_MAX_BYTES];
	CK_OBJECT_HANDLE object;
	size_t len, expected_len = 0;

	if (key_index_find(&pool->public_keys, module_functions(pool->module), session, key_id, &object) != CKR_OK)
		return true;
	len = read_attribute(pool, session, object, CKA_EC_POINT, octets, sizeof octets);
	if (len == 0 ||
	    EVP_PKEY_get_octet_string_param(public_key, OSSL_PKEY_PARAM_PUB_KEY, expected, sizeof expected, &expected_len) != 1)
		return true;
	return len >= expected_len && memcmp(octets + len - expected_len, expected, expected_len) == 0;
}

/* As far as the token tells; what it does not tell is seen when the first signature is verified. */
static bool belongs_to(struct session_pool *pool, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, struct bytes key_id,
		       EVP_PKEY *public_key)
{
	bool ec = EVP_PKEY_is_a(public_key, "EC") == 1;
	CK_KEY_TYPE type = 0;

	if (read_attribute(pool, session, key, CKA_KEY_TYPE, (uint8_t *)&type, sizeof type) == sizeof type &&
	    type != (ec ? CKK_EC : CKK_RSA))
		return false;
	return ec ? same_point(pool, session, key_id, public_key) : same_modulus(pool, session, key, public_key);
}

static struct key *key_new(struct bytes key_id, CK_OBJECT_HANDLE handle, bool ec)
{
	struct key *key = mem_new(sizeof *key + key_id.len);

	atomic_init(&key->handle, handle);
	key->ec = ec;
	key->id_len = key_id.len;
	memcpy(key->id, key_id.data, key_id.len);
	return key;
}

static void *cryptoki_load(void *state, struct bytes key_id, EVP_PKEY *public_key, enum token_fault *fault, struct err *err)
{
	struct session_pool *pool = state;
	bool same = false;
	CK_SESSION_HANDLE session = 0;
	CK_OBJECT_HANDLE handle = 0;
	CK_RV rv = pool_take(pool, &session);

	if (rv == CKR_OK)
		rv = key_index_find(&pool->private_keys, module_functions(pool->module), session, key_id, &handle);
	if (cryptoki_class(rv) == CRYPTOKI_SESSION && rv != CKR_NO_SUCH_KEY && session != 0 && pool_replace(pool, &session))
		rv = find_key(pool, session, key_id, &handle);
	if (rv == CKR_OK)
		same = belongs_to(pool, session, handle, key_id, public_key);
	if (session != 0)
		pool_give(pool, session);
	if (rv == CKR_OK && same)
		return key_new(key_id, handle, EVP_PKEY_is_a(public_key, "EC") == 1);
	if (rv == CKR_OK)
		token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key on the token is not the certificate's");
	else if (rv == CKR_NO_SUCH_KEY)
		token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key is not on the token");
	else
		token_fail(fault, err, rv, "C_FindObjects");
	return NULL;
}

static void cryptoki_free(void *state, void *key)
{
	(void)state;
	free(key);
}

/* RFC 8017 §9.2: what stands before the digest in DigestInfo. */
static const uint8_t digest_info[][19] = {
    [SIGN_SHA256] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04,
		     0x20},
    [SIGN_SHA384] = {0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04,
		     0x30},
    [SIGN_SHA512] = {0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04,
		     0x40},
};

static const struct {
	CK_MECHANISM_TYPE hash, pkcs, pss;
	CK_RSA_PKCS_MGF_TYPE mgf;
} hashes[] = {
    [SIGN_SHA256] = {CKM_SHA256, CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS, CKG_MGF1_SHA256},
    [SIGN_SHA384] = {CKM_SHA384, CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS, CKG_MGF1_SHA384},
    [SIGN_SHA512] = {CKM_SHA512, CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS, CKG_MGF1_SHA512},
};

struct operation {
	CK_MECHANISM mechanism;
	CK_RSA_PKCS_PSS_PARAMS pss;
	uint8_t info[sizeof digest_info[0] + SIGN_DIGEST_MAX_BYTES];
	struct bytes data;
};

static void pss_init(struct operation *operation, const struct session_pool *pool, const struct sign_text *text)
{
	bool hashed = pool->pss || text->octets.len == 0;

	operation->pss = (CK_RSA_PKCS_PSS_PARAMS){hashes[text->algorithm].hash, hashes[text->algorithm].mgf, text->digest.len};
	operation->mechanism =
	    (CK_MECHANISM){hashed ? CKM_RSA_PKCS_PSS : hashes[text->algorithm].pss, &operation->pss, sizeof operation->pss};
	operation->data = hashed ? text->digest : text->octets;
}

static void pkcs_init(struct operation *operation, const struct session_pool *pool, const struct sign_text *text)
{
	if (!pool->pkcs && text->octets.len > 0) {
		operation->mechanism.mechanism = hashes[text->algorithm].pkcs;
		operation->data = text->octets;
		return;
	}
	operation->mechanism.mechanism = CKM_RSA_PKCS;
	memcpy(operation->info, digest_info[text->algorithm], sizeof digest_info[0]);
	memcpy(operation->info + sizeof digest_info[0], text->digest.data, text->digest.len);
	operation->data = bytes_of(operation->info, sizeof digest_info[0] + text->digest.len);
}

static void operation_init(struct operation *operation, const struct session_pool *pool, bool ec, const struct sign_text *text)
{
	operation->mechanism = (CK_MECHANISM){CKM_ECDSA, NULL, 0};
	operation->data = text->digest;
	if (!ec && text->pss)
		pss_init(operation, pool, text);
	else if (!ec)
		pkcs_init(operation, pool, text);
}

static CK_RV sign_once(struct session_pool *pool, CK_SESSION_HANDLE session, struct key *key, struct operation *operation,
		       uint8_t *out, CK_ULONG *len)
{
	CK_FUNCTION_LIST *p11 = module_functions(pool->module);
	CK_RV rv = p11->C_SignInit(session, &operation->mechanism, atomic_load(&key->handle));

	*len = SIGNATURE_MAX_BYTES;
	return rv != CKR_OK ? rv : p11->C_Sign(session, (CK_BYTE *)operation->data.data, operation->data.len, out, len);
}

static bool wants_a_new_handle(CK_RV rv)
{
	return rv == CKR_KEY_HANDLE_INVALID || rv == CKR_OBJECT_HANDLE_INVALID;
}

/* Once more after what can be mended has been: the session, then the key's handle. */
static CK_RV sign_again(struct session_pool *pool, CK_SESSION_HANDLE *session, struct key *key, struct operation *operation,
			CK_RV rv, uint8_t *out, CK_ULONG *len)
{
	CK_OBJECT_HANDLE handle;

	if (!wants_a_new_handle(rv)) {
		if (!pool_replace(pool, session))
			return *session != 0 ? CKR_USER_NOT_LOGGED_IN : rv;
		rv = sign_once(pool, *session, key, operation, out, len);
		if (!wants_a_new_handle(rv))
			return rv;
	}
	rv = find_key(pool, *session, bytes_of(key->id, key->id_len), &handle);
	if (rv != CKR_OK)
		return rv;
	atomic_store(&key->handle, handle);
	return sign_once(pool, *session, key, operation, out, len);
}

/* PKCS#11 gives r || s; CMS wants ECDSA-Sig-Value (RFC 3279 §2.2.3). */
static bool put_ecdsa(struct buf *signature, const uint8_t *pair, size_t len)
{
	int half = (int)(len / 2), der_len;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	uint8_t *der = NULL;

	if (sig == NULL || len % 2 != 0 ||
	    ECDSA_SIG_set0(sig, BN_bin2bn(pair, half, NULL), BN_bin2bn(pair + half, half, NULL)) != 1) {
		ECDSA_SIG_free(sig);
		return false;
	}
	der_len = i2d_ECDSA_SIG(sig, &der);
	ECDSA_SIG_free(sig);
	if (der_len <= 0)
		return false;
	buf_put(signature, der, (size_t)der_len);
	OPENSSL_free(der);
	return true;
}

/*
 * The key has signed before. Where others are still there it was deleted; a token that shows none has been taken away under
 * the module (SoftHSM's directory), which may not notice when it comes back: a fresh process does.
 */
static bool key_is_gone(bool others, enum token_fault *fault, struct err *err)
{
	if (!others)
		return token_fault_set(fault, TOKEN_FAULT_MODULE, err, ERR_UNAVAILABLE, "the token shows no keys any more");
	return token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key is not on the token any more");
}

static bool cryptoki_sign(void *state, void *key_state, const struct sign_text *text, struct buf *signature,
			  enum token_fault *fault, struct err *err)
{
	struct session_pool *pool = state;
	struct key *key = key_state;
	uint8_t out[SIGNATURE_MAX_BYTES];
	CK_SESSION_HANDLE session = 0;
	struct operation operation;
	bool others = false;
	CK_ULONG len = 0;
	CK_RV rv = pool_take(pool, &session);

	if (rv != CKR_OK)
		return token_fail(fault, err, rv, "C_OpenSession");
	operation_init(&operation, pool, key->ec, text);
	rv = sign_once(pool, session, key, &operation, out, &len);
	if (cryptoki_class(rv) == CRYPTOKI_SESSION)
		rv = sign_again(pool, &session, key, &operation, rv, out, &len);
	if (rv == CKR_NO_SUCH_KEY && session != 0)
		others = key_any(module_functions(pool->module), session);
	if (session != 0)
		pool_give(pool, session);
	if (rv == CKR_NO_SUCH_KEY)
		return key_is_gone(others, fault, err);
	if (rv != CKR_OK)
		return token_fail(fault, err, rv, "C_Sign");
	if (!key->ec)
		buf_put(signature, out, len);
	else if (!put_ecdsa(signature, out, len))
		return token_fault_set(fault, TOKEN_FAULT_RETRY, err, ERR_INTEGRITY, "malformed ECDSA signature of the token");
	return true;
}

static bool cryptoki_check(void *state, enum token_fault *fault, struct err *err)
{
	struct session_pool *pool = state;
	CK_SESSION_HANDLE session = 0;
	CK_TOKEN_INFO info;
	CK_RV rv = module_functions(pool->module)->C_GetTokenInfo(pool->slot, &info);

	if (rv == CKR_OK)
		rv = pool_take(pool, &session);
	if (rv != CKR_OK)
		return token_fail(fault, err, rv, "C_GetTokenInfo");
	if (!pool_is_logged_in(pool, session) && !pool_replace(pool, &session))
		rv = CKR_USER_NOT_LOGGED_IN;
	if (session != 0)
		pool_give(pool, session);
	return rv == CKR_OK || token_fail(fault, err, rv, "C_GetSessionInfo");
}

const struct token_backend token_backend_cryptoki = {
    .name = "cryptoki",
    .max_threads = SESSIONS_MAX,
    .open = cryptoki_open,
    .close = cryptoki_close,
    .load = cryptoki_load,
    .free = cryptoki_free,
    .sign = cryptoki_sign,
    .check = cryptoki_check,
};
