/*
 * NSS softokn as a PKCS#11 module like any other: its C_Initialize wants the place of its database in a parameter that
 * other modules do not have. $INKAN_NSS_DIRECTORY names the database (made by certutil).
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>

#define SOFTOKN "libsoftokn3.so"

/* CK_C_INITIALIZE_ARGS of NSS: the last member is behind what the standard calls reserved. */
struct nss_initialize_args {
	void *mutex_functions[4];
	CK_FLAGS flags;
	char *parameters;
	void *reserved;
};

static CK_FUNCTION_LIST real, list;

static CK_RV initialize(void *args)
{
	const char *directory = getenv("INKAN_NSS_DIRECTORY");
	char parameters[4096];
	struct nss_initialize_args ours = {.flags = CKF_OS_LOCKING_OK, .parameters = parameters};

	(void)args;
	snprintf(parameters, sizeof parameters,
		 "configdir='sql:%s' certPrefix='' keyPrefix='' secmod='secmod.db' flags=noModDB dbTokenDescription='inkan'",
		 directory != NULL ? directory : "/nonexistent");
	return real.C_Initialize(&ours);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	void *library = dlopen(SOFTOKN, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST *functions = NULL;

	if (library == NULL)
		return CKR_GENERAL_ERROR;
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&functions) != CKR_OK)
		return CKR_GENERAL_ERROR;
	real = list = *functions;
	list.C_GetFunctionList = C_GetFunctionList;
	list.C_Initialize = initialize;
	*out = &list;
	return CKR_OK;
}
