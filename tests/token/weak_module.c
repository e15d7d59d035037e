/*
 * A PKCS#11 module that stands before another ($INKAN_WEAK_MODULE) and has the weaknesses of other tokens, as the words in
 * $INKAN_WEAK say:
 *
 *     no-gcm       no CKM_AES_GCM
 *     no-unwrap    C_UnwrapKey is not supported
 *     no-derive    C_GenerateKey derives no key from a password
 *     no-public    public key objects are refused
 *     readable     imported private keys come out SENSITIVE=0 EXTRACTABLE=1 (opencryptoki 3.8.1)
 *     stubborn     and C_SetAttributeValue does not change that, though it says CKR_OK
 *     wrong        one bit of a signature is wrong
 *     forgetful    what AES-GCM authenticates beside the text is not looked at
 *     busy         the first two logins of the process fail with CKR_GENERAL_ERROR
 *     rejecting    every login fails with CKR_PIN_INCORRECT
 *     final-try    one more wrong PIN would lock the token
 *     slow         C_UnwrapKey takes a second
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMPLATE_MAX 32

static CK_FUNCTION_LIST real, weak;

static bool is(const char *weakness)
{
	const char *all = getenv("INKAN_WEAK");

	return all != NULL && strstr(all, weakness) != NULL;
}

/* The module is loaded anew for each try: the process' environment remembers. */
static CK_RV weak_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	const char *tried = getenv("INKAN_WEAK_LOGINS");
	int logins = tried != NULL ? atoi(tried) : 0;
	char now[16];

	snprintf(now, sizeof now, "%d", logins + 1);
	setenv("INKAN_WEAK_LOGINS", now, 1);
	if (is("rejecting"))
		return CKR_PIN_INCORRECT;
	if (is("busy") && logins < 2)
		return CKR_GENERAL_ERROR;
	return real.C_Login(session, user, pin, len);
}

static CK_RV weak_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = real.C_GetTokenInfo(slot, info);

	if (rv == CKR_OK && is("final-try"))
		info->flags |= CKF_USER_PIN_FINAL_TRY;
	return rv;
}

static CK_RV weak_encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_GCM_PARAMS params;
	CK_MECHANISM changed = *mechanism;

	if (mechanism->mechanism != CKM_AES_GCM)
		return real.C_EncryptInit(session, mechanism, key);
	if (is("no-gcm"))
		return CKR_MECHANISM_INVALID;
	params = *(CK_GCM_PARAMS *)mechanism->pParameter;
	if (is("forgetful"))
		params.aad_len = 0;
	changed.pParameter = &params;
	return real.C_EncryptInit(session, &changed, key);
}

static CK_RV weak_decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_GCM_PARAMS params;
	CK_MECHANISM changed = *mechanism;

	if (mechanism->mechanism != CKM_AES_GCM)
		return real.C_DecryptInit(session, mechanism, key);
	params = *(CK_GCM_PARAMS *)mechanism->pParameter;
	if (is("forgetful"))
		params.aad_len = 0;
	changed.pParameter = &params;
	return real.C_DecryptInit(session, &changed, key);
}

static CK_ATTRIBUTE *attribute(CK_ATTRIBUTE *items, CK_ULONG count, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; i < count; i++)
		if (items[i].type == type)
			return &items[i];
	return NULL;
}

static CK_OBJECT_CLASS class_of(CK_ATTRIBUTE *items, CK_ULONG count)
{
	CK_ATTRIBUTE *class = attribute(items, count, CKA_CLASS);

	return class != NULL ? *(CK_OBJECT_CLASS *)class->pValue : CKO_DATA;
}

/* A copy of the template, readable where that is the weakness and the object a private key. */
static void weaken(CK_ATTRIBUTE *items, CK_ULONG count, CK_ATTRIBUTE *copy)
{
	static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

	memcpy(copy, items, count * sizeof *items);
	if (!is("readable") || class_of(items, count) != CKO_PRIVATE_KEY)
		return;
	attribute(copy, count, CKA_SENSITIVE)->pValue = &no;
	attribute(copy, count, CKA_EXTRACTABLE)->pValue = &yes;
}

static CK_RV weak_unwrap(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE kek, CK_BYTE *wrapped, CK_ULONG len,
			 CK_ATTRIBUTE *items, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	CK_ATTRIBUTE copy[TEMPLATE_MAX];

	if (is("slow"))
		sleep(1);
	if (is("no-unwrap"))
		return CKR_FUNCTION_NOT_SUPPORTED;
	weaken(items, count, copy);
	return real.C_UnwrapKey(session, mechanism, kek, wrapped, len, copy, count, key);
}

static CK_RV weak_generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *items, CK_ULONG count,
			   CK_OBJECT_HANDLE *key)
{
	bool derives = mechanism->mechanism == CKM_PKCS5_PBKD2 || mechanism->mechanism == CKM_PBE_SHA1_DES3_EDE_CBC;

	return derives && is("no-derive") ? CKR_MECHANISM_INVALID : real.C_GenerateKey(session, mechanism, items, count, key);
}

static CK_RV weak_create(CK_SESSION_HANDLE session, CK_ATTRIBUTE *items, CK_ULONG count, CK_OBJECT_HANDLE *object)
{
	CK_ATTRIBUTE copy[TEMPLATE_MAX];

	if (is("no-public") && class_of(items, count) == CKO_PUBLIC_KEY)
		return CKR_ATTRIBUTE_VALUE_INVALID;
	weaken(items, count, copy);
	return real.C_CreateObject(session, copy, count, object);
}

static CK_RV weak_set(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *items, CK_ULONG count)
{
	return is("stubborn") ? CKR_OK : real.C_SetAttributeValue(session, object, items, count);
}

static CK_RV weak_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv = real.C_Sign(session, data, len, signature, signature_len);

	if (rv == CKR_OK && signature != NULL && is("wrong"))
		signature[*signature_len / 2] ^= 0x10;
	return rv;
}

static bool load(void)
{
	const char *path = getenv("INKAN_WEAK_MODULE");
	void *library = dlopen(path != NULL ? path : "/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST *functions = NULL;

	if (library == NULL)
		return false;
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&functions) != CKR_OK)
		return false;
	real = *functions;
	return true;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (!load())
		return CKR_GENERAL_ERROR;
	weak = real;
	weak.C_GetFunctionList = C_GetFunctionList;
	weak.C_GetTokenInfo = weak_token_info;
	weak.C_Login = weak_login;
	weak.C_EncryptInit = weak_encrypt_init;
	weak.C_DecryptInit = weak_decrypt_init;
	weak.C_GenerateKey = weak_generate;
	weak.C_UnwrapKey = weak_unwrap;
	weak.C_CreateObject = weak_create;
	weak.C_SetAttributeValue = weak_set;
	weak.C_Sign = weak_sign;
	*list = &weak;
	return CKR_OK;
}
