/*
 * The back end "cryptoki": direct calls, each thread takes a session of its own out of a small pool. A session that has
 * become invalid is replaced and its operation repeated once; key handles are found again when the token has forgotten
 * them. A lost login is the end of the process: the PIN is not kept, and a fresh process logs in.
 */
#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/token/backend.h"
#include "hsm/token/cryptoki_pool.h"
#include "hsm/token/object.h"

#define SIGNATURE_MAX_BYTES 1024 /* RSA-8192 */

struct key {
	_Atomic(CK_OBJECT_HANDLE) handle;
	bool ec;
	size_t id_len;
	uint8_t id[];
};

static void cryptoki_close(void *state)
{
	struct session_pool *pool = state;

	while (pool->n_idle > 0)
		module_functions(pool->module)->C_CloseSession(pool->idle[--pool->n_idle]);
	module_close(pool->module);
	pthread_mutex_destroy(&pool->lock);
	free(pool->index);
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
	pthread_mutex_init(&pool->lock, NULL);
	if (log_in(pool, pin, fault, err))
		return pool;
	cryptoki_close(pool);
	return NULL;
}

static void *cryptoki_load(void *state, struct bytes key_id, EVP_PKEY *public_key, enum token_fault *fault, struct err *err)
{
	struct session_pool *pool = state;
	CK_SESSION_HANDLE session = 0;
	CK_OBJECT_HANDLE handle = 0;
	struct key *key;
	CK_RV rv = pool_take(pool, &session);

	if (rv == CKR_OK)
		rv = pool_search(pool, session, key_id, &handle);
	if (cryptoki_class(rv) == CRYPTOKI_SESSION && rv != CKR_NO_SUCH_KEY && session != 0 && pool_replace(pool, &session))
		rv = pool_find_key(pool, session, key_id, &handle);
	if (session != 0)
		pool_give(pool, session);
	if (rv == CKR_NO_SUCH_KEY) {
		token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key is not on the token");
		return NULL;
	}
	if (rv != CKR_OK) {
		token_fail(fault, err, rv, "C_FindObjects");
		return NULL;
	}
	key = mem_new(sizeof *key + key_id.len);
	atomic_init(&key->handle, handle);
	key->ec = EVP_PKEY_is_a(public_key, "EC") == 1;
	key->id_len = key_id.len;
	memcpy(key->id, key_id.data, key_id.len);
	return key;
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
	CK_MECHANISM_TYPE hash;
	CK_RSA_PKCS_MGF_TYPE mgf;
} pss_hashes[] = {
    [SIGN_SHA256] = {CKM_SHA256, CKG_MGF1_SHA256},
    [SIGN_SHA384] = {CKM_SHA384, CKG_MGF1_SHA384},
    [SIGN_SHA512] = {CKM_SHA512, CKG_MGF1_SHA512},
};

struct operation {
	CK_MECHANISM mechanism;
	CK_RSA_PKCS_PSS_PARAMS pss;
	uint8_t data[sizeof digest_info[0] + SIGN_DIGEST_MAX_BYTES];
	CK_ULONG len;
};

static void operation_init(struct operation *operation, bool ec, bool pss, enum sign_digest algorithm, struct bytes digest)
{
	*operation = (struct operation){.mechanism.mechanism = ec ? CKM_ECDSA : pss ? CKM_RSA_PKCS_PSS : CKM_RSA_PKCS};
	if (!ec && pss) {
		operation->pss = (CK_RSA_PKCS_PSS_PARAMS){pss_hashes[algorithm].hash, pss_hashes[algorithm].mgf, digest.len};
		operation->mechanism.pParameter = &operation->pss;
		operation->mechanism.ulParameterLen = sizeof operation->pss;
	}
	if (!ec && !pss) {
		memcpy(operation->data, digest_info[algorithm], sizeof digest_info[0]);
		operation->len = sizeof digest_info[0];
	}
	memcpy(operation->data + operation->len, digest.data, digest.len);
	operation->len += digest.len;
}

static CK_RV sign_once(struct session_pool *pool, CK_SESSION_HANDLE session, struct key *key, struct operation *operation,
		       uint8_t *out, CK_ULONG *len)
{
	CK_FUNCTION_LIST *p11 = module_functions(pool->module);
	CK_RV rv = p11->C_SignInit(session, &operation->mechanism, atomic_load(&key->handle));

	*len = SIGNATURE_MAX_BYTES;
	return rv != CKR_OK ? rv : p11->C_Sign(session, operation->data, operation->len, out, len);
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
	rv = pool_find_key(pool, *session, bytes_of(key->id, key->id_len), &handle);
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

static bool cryptoki_sign(void *state, void *key_state, enum sign_digest algorithm, bool pss, struct bytes digest,
			  struct buf *signature, enum token_fault *fault, struct err *err)
{
	struct session_pool *pool = state;
	struct key *key = key_state;
	uint8_t out[SIGNATURE_MAX_BYTES];
	CK_SESSION_HANDLE session = 0;
	struct operation operation;
	CK_ULONG len = 0;
	CK_RV rv = pool_take(pool, &session);

	if (rv != CKR_OK)
		return token_fail(fault, err, rv, "C_OpenSession");
	operation_init(&operation, key->ec, pss, algorithm, digest);
	rv = sign_once(pool, session, key, &operation, out, &len);
	if (cryptoki_class(rv) == CRYPTOKI_SESSION)
		rv = sign_again(pool, &session, key, &operation, rv, out, &len);
	if (session != 0)
		pool_give(pool, session);
	if (rv == CKR_NO_SUCH_KEY)
		return token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key is not on the token any more");
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
