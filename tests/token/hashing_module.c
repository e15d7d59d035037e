/* A PKCS#11 module before $INKAN_HASHING_MODULE that signs no digest with RSA: the mechanisms that take one are neither listed
 * nor taken, as on tokens that hash themselves. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdlib.h>

static CK_FUNCTION_LIST real, list;

static bool takes_a_digest(CK_MECHANISM_TYPE type)
{
	return type == CKM_RSA_PKCS || type == CKM_RSA_PKCS_PSS || type == CKM_RSA_X_509;
}

static CK_RV hashing_mechanisms(CK_SLOT_ID slot, CK_MECHANISM_TYPE *types, CK_ULONG *count)
{
	CK_RV rv = real.C_GetMechanismList(slot, types, count);
	CK_ULONG kept = 0;

	if (rv != CKR_OK || types == NULL)
		return rv;
	for (CK_ULONG i = 0; i < *count; i++) {
		if (!takes_a_digest(types[i]))
			types[kept++] = types[i];
	}
	*count = kept;
	return CKR_OK;
}

static CK_RV hashing_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	return takes_a_digest(mechanism->mechanism) ? CKR_MECHANISM_INVALID : real.C_SignInit(session, mechanism, key);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	const char *path = getenv("INKAN_HASHING_MODULE");
	void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	CK_C_GetFunctionList get = NULL;
	CK_FUNCTION_LIST *functions;

	if (library != NULL)
		*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&functions) != CKR_OK)
		return CKR_GENERAL_ERROR;
	real = list = *functions;
	list.C_GetMechanismList = hashing_mechanisms;
	list.C_SignInit = hashing_sign_init;
	*out = &list;
	return CKR_OK;
}
