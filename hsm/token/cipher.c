#include "hsm/token/cipher.h"

#include <stdlib.h>
#include <string.h>

#include "hsm/token/cryptoki.h"

#define SECRET_KEY_BYTES 32

static void template_of(struct template *template, enum secret_key kind, const char *label)
{
	template_number(template, CKA_CLASS, CKO_SECRET_KEY);
	template_number(template, CKA_KEY_TYPE, kind == SECRET_KEY_AES_256 ? CKK_AES : CKK_GENERIC_SECRET);
	template_flag(template, CKA_TOKEN, true);
	template_flag(template, CKA_SENSITIVE, true);
	template_flag(template, CKA_EXTRACTABLE, false);
	template_text(template, CKA_LABEL, label);
}

bool secret_key_generate(const struct session *session, enum secret_key kind, const char *label, unsigned long *key,
			 struct err *err)
{
	bool aes = kind == SECRET_KEY_AES_256;
	CK_MECHANISM mechanism = {aes ? CKM_AES_KEY_GEN : CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
	struct template template = {0};
	CK_RV rv;

	template_of(&template, kind, label);
	template_flag(&template, CKA_PRIVATE, true);
	template_flag(&template, aes ? CKA_ENCRYPT : CKA_SIGN, true);
	template_flag(&template, aes ? CKA_DECRYPT : CKA_VERIFY, true);
	template_number(&template, CKA_VALUE_LEN, SECRET_KEY_BYTES);
	template_text(&template, CKA_ID, label);
	rv = session_functions(session)->C_GenerateKey(session->handle, &mechanism, template.items, template.count, key);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_GenerateKey");
}

void secret_key_destroy(const struct session *session, unsigned long key)
{
	session_functions(session)->C_DestroyObject(session->handle, key);
}

bool secret_key_find(const struct session *session, enum secret_key kind, const char *label, unsigned long *keys, size_t most,
		     size_t *count, struct err *err)
{
	struct template template = {0};

	template_of(&template, kind, label);
	return object_find(session, &template, keys, most, count, err);
}

typedef CK_RV operation_init(CK_SESSION_HANDLE, CK_MECHANISM *, CK_OBJECT_HANDLE);
typedef CK_RV operation(CK_SESSION_HANDLE, CK_BYTE *, CK_ULONG, CK_BYTE *, CK_ULONG *);

/* One-part operations all look alike. What they leave in an unused buffer is wiped, since it may be plaintext. */
static bool run(const struct session *session, operation_init *init, operation *final, const char *name, unsigned long key,
		CK_MECHANISM *mechanism, struct bytes in, struct buf *out, struct err *err)
{
	size_t room = in.len + 2 * GCM_TAG_BYTES + HMAC_SHA256_BYTES;
	CK_ULONG len = room;
	uint8_t *result;
	CK_RV rv = init(session->handle, mechanism, key);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, name);
	result = mem_new(room);
	rv = final(session->handle, (CK_BYTE *)in.data, in.len, result, &len);
	if (rv == CKR_OK) {
		buf_reserve(out, len);
		buf_put(out, result, len);
	}
	mem_wipe(result, room);
	free(result);
	return rv == CKR_OK || cryptoki_fail(err, rv, name);
}

static bool encrypt(const struct session *session, unsigned long key, CK_MECHANISM *mechanism, struct bytes in, struct buf *out,
		    struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);

	return run(session, p11->C_EncryptInit, p11->C_Encrypt, "C_Encrypt", key, mechanism, in, out, err);
}

static bool decrypt(const struct session *session, unsigned long key, CK_MECHANISM *mechanism, struct bytes in, struct buf *out,
		    struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);

	return run(session, p11->C_DecryptInit, p11->C_Decrypt, "C_Decrypt", key, mechanism, in, out, err);
}

static CK_GCM_PARAMS gcm_params(uint8_t *iv, struct bytes context)
{
	return (CK_GCM_PARAMS){
	    .iv_ptr = iv,
	    .iv_len = GCM_IV_BYTES,
	    .iv_bits = 8 * GCM_IV_BYTES,
	    .aad_ptr = (CK_BYTE *)context.data,
	    .aad_len = context.len,
	    .tag_bits = 8 * GCM_TAG_BYTES,
	};
}

bool token_gcm_encrypt(const struct session *session, unsigned long key, uint8_t iv[static GCM_IV_BYTES], struct bytes context,
		       struct bytes plain, struct buf *out, struct err *err)
{
	CK_GCM_PARAMS params = gcm_params(iv, context);

	return encrypt(session, key, &(CK_MECHANISM){CKM_AES_GCM, &params, sizeof params}, plain, out, err);
}

bool token_gcm_decrypt(const struct session *session, unsigned long key, const uint8_t iv[static GCM_IV_BYTES],
		       struct bytes context, struct bytes encrypted, struct buf *out, struct err *err)
{
	CK_GCM_PARAMS params = gcm_params((uint8_t *)iv, context);

	return decrypt(session, key, &(CK_MECHANISM){CKM_AES_GCM, &params, sizeof params}, encrypted, out, err);
}

bool token_cbc_encrypt(const struct session *session, unsigned long key, const uint8_t iv[static CBC_IV_BYTES],
		       struct bytes plain, struct buf *out, struct err *err)
{
	return encrypt(session, key, &(CK_MECHANISM){CKM_AES_CBC_PAD, (void *)iv, CBC_IV_BYTES}, plain, out, err);
}

bool token_cbc_decrypt(const struct session *session, unsigned long key, const uint8_t iv[static CBC_IV_BYTES],
		       struct bytes encrypted, struct buf *out, struct err *err)
{
	return decrypt(session, key, &(CK_MECHANISM){CKM_AES_CBC_PAD, (void *)iv, CBC_IV_BYTES}, encrypted, out, err);
}

bool token_hmac(const struct session *session, unsigned long key, struct bytes data, uint8_t out[static HMAC_SHA256_BYTES],
		struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	struct buf mac = {0};
	bool good =
	    run(session, p11->C_SignInit, p11->C_Sign, "C_Sign", key, &(CK_MECHANISM){CKM_SHA256_HMAC, NULL, 0}, data, &mac, err);

	if (good && mac.len != HMAC_SHA256_BYTES)
		good = err_set(err, ERR_INVALID, "the token gave an HMAC-SHA256 of %zu octets", mac.len);
	if (good)
		memcpy(out, mac.data, HMAC_SHA256_BYTES);
	buf_clear(&mac);
	return good;
}
