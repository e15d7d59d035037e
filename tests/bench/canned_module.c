/*
 * A PKCS#11 module before a real one ($INKAN_CANNED_MODULE) that stands for a distant HSM: C_Sign takes $INKAN_CANNED_US
 * microseconds of waiting and, for data that it has seen before, no computing; the signature is the real one of the first
 * time, so that whoever verifies it can. For measuring alone.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DATA_BYTES 512
#define SIGNATURE_BYTES 1024
#define SESSIONS_MAX 4096
#define CANNED_MAX 64

static CK_FUNCTION_LIST real, list;
static long wait_us;
static CK_OBJECT_HANDLE keys[SESSIONS_MAX]; /* of the last C_SignInit of a session, whose number is its handle modulo */

static struct canned {
	CK_OBJECT_HANDLE key;
	CK_ULONG data_len, len;
	CK_BYTE data[DATA_BYTES], signature[SIGNATURE_BYTES];
} canned[CANNED_MAX];
static size_t n_canned;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static const struct canned *find(CK_OBJECT_HANDLE key, const CK_BYTE *data, CK_ULONG len)
{
	const struct canned *found = NULL;

	pthread_rwlock_rdlock(&lock);
	for (size_t i = 0; i < n_canned && found == NULL; i++) {
		if (canned[i].key == key && canned[i].data_len == len && memcmp(canned[i].data, data, len) == 0)
			found = &canned[i];
	}
	pthread_rwlock_unlock(&lock);
	return found;
}

static void keep(CK_OBJECT_HANDLE key, const CK_BYTE *data, CK_ULONG data_len, const CK_BYTE *signature, CK_ULONG len)
{
	pthread_rwlock_wrlock(&lock);
	if (n_canned < CANNED_MAX && data_len <= DATA_BYTES && len <= SIGNATURE_BYTES) {
		canned[n_canned] = (struct canned){.key = key, .data_len = data_len, .len = len};
		memcpy(canned[n_canned].data, data, data_len);
		memcpy(canned[n_canned++].signature, signature, len);
	}
	pthread_rwlock_unlock(&lock);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	(void)mechanism;
	keys[session % SESSIONS_MAX] = key;
	return CKR_OK;
}

static CK_RV really_sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature,
			 CK_ULONG *signature_len)
{
	/* RSA data is longer than any digest: it has its DigestInfo. */
	CK_MECHANISM mechanism = {len > 48 ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0};
	CK_RV rv = real.C_SignInit(session, &mechanism, key);

	if (rv == CKR_OK)
		rv = real.C_Sign(session, data, len, signature, signature_len);
	if (rv == CKR_OK)
		keep(key, data, len, signature, *signature_len);
	return rv;
}

static CK_RV canned_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_OBJECT_HANDLE key = keys[session % SESSIONS_MAX];
	const struct canned *found = find(key, data, len);
	struct timespec pause = {wait_us / 1000000, wait_us % 1000000 * 1000};

	nanosleep(&pause, NULL);
	if (found == NULL)
		return really_sign(session, key, data, len, signature, signature_len);
	if (*signature_len < found->len)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(signature, found->signature, found->len);
	*signature_len = found->len;
	return CKR_OK;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	const char *path = getenv("INKAN_CANNED_MODULE"), *wait = getenv("INKAN_CANNED_US");
	void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	CK_C_GetFunctionList get = NULL;
	CK_FUNCTION_LIST *functions;

	if (library != NULL)
		*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&functions) != CKR_OK)
		return CKR_GENERAL_ERROR;
	wait_us = wait != NULL ? atol(wait) : 0;
	real = list = *functions;
	list.C_SignInit = sign_init;
	list.C_Sign = canned_sign;
	*out = &list;
	return CKR_OK;
}
