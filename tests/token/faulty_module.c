/*
 * A PKCS#11 module that stands before a real one ($INKAN_FAULTY_MODULE) and does what the files in a directory
 * ($INKAN_FAULTY_DIRECTORY) say, so that a test can switch a fault on and off while others run:
 *
 *     hang      C_Sign does not return for as long as the file is there
 *     stick     the one C_Sign that removes the file never returns
 *     crash     C_Sign ends the process by SIGSEGV
 *     error     C_Sign fails with the code in the file (hexadecimal)
 *     once      the one C_Sign that removes the file fails with CKR_DEVICE_ERROR
 *     lost      every call fails with CKR_DEVICE_REMOVED, and all sessions are dead from then on
 *     wrong     one bit of a signature is wrong
 *     slow      C_Sign takes as many milliseconds as the file says
 *     final-try the token says that one more wrong PIN would lock it
 *
 * Every call of C_Login adds an octet to the file `logins`.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_BYTES 4096

static CK_FUNCTION_LIST real, faulty;
static atomic_ulong epoch; /* raised when the token is lost; sessions of an earlier one are dead */
static atomic_bool was_lost;

static const char *path_of(const char *name, char path[static PATH_BYTES])
{
	const char *directory = getenv("INKAN_FAULTY_DIRECTORY");

	snprintf(path, PATH_BYTES, "%s/%s", directory != NULL ? directory : "/nonexistent", name);
	return path;
}

static bool is_on(const char *name)
{
	char path[PATH_BYTES];

	return access(path_of(name, path), F_OK) == 0;
}

/* True for the one caller that removes the file. */
static bool take(const char *name)
{
	char path[PATH_BYTES];

	return unlink(path_of(name, path)) == 0;
}

static unsigned long number_in(const char *name, int base)
{
	char path[PATH_BYTES], text[32] = {0};
	int fd = open(path_of(name, path), O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return 0;
	got = read(fd, text, sizeof text - 1);
	close(fd);
	return got > 0 ? strtoul(text, NULL, base) : 0;
}

/* Cryptoki session handles are passed on with the epoch in front. */
#define EPOCH_SHIFT 40

static CK_RV live_session(CK_SESSION_HANDLE *session)
{
	if (is_on("lost")) {
		if (!atomic_exchange(&was_lost, true))
			atomic_fetch_add(&epoch, 1);
		return CKR_DEVICE_REMOVED;
	}
	atomic_store(&was_lost, false);
	if (*session >> EPOCH_SHIFT != atomic_load(&epoch))
		return CKR_SESSION_HANDLE_INVALID;
	*session &= (1ul << EPOCH_SHIFT) - 1;
	return CKR_OK;
}

static CK_RV faulty_open(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	CK_RV rv;

	if (is_on("lost"))
		return CKR_DEVICE_REMOVED;
	rv = real.C_OpenSession(slot, flags, application, notify, session);
	if (rv == CKR_OK)
		*session |= atomic_load(&epoch) << EPOCH_SHIFT;
	return rv;
}

static CK_RV faulty_close(CK_SESSION_HANDLE session)
{
	CK_RV rv = live_session(&session);

	return rv != CKR_OK ? rv : real.C_CloseSession(session);
}

/* A token that was away has forgotten the login. */
static CK_RV faulty_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	CK_RV rv = live_session(&session);

	rv = rv != CKR_OK ? rv : real.C_GetSessionInfo(session, info);
	if (rv == CKR_OK && atomic_load(&epoch) > 0)
		info->state = CKS_RO_PUBLIC_SESSION;
	return rv;
}

static CK_RV faulty_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = is_on("lost") ? CKR_TOKEN_NOT_PRESENT : real.C_GetTokenInfo(slot, info);

	if (rv == CKR_OK && is_on("final-try"))
		info->flags |= CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
	return rv;
}

static CK_RV faulty_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	char path[PATH_BYTES];
	int fd = open(path_of("logins", path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	CK_RV rv = live_session(&session);

	if (fd >= 0) {
		if (write(fd, ".", 1) != 1)
			perror("logins");
		close(fd);
	}
	return rv != CKR_OK ? rv : real.C_Login(session, user, pin, len);
}

static CK_RV faulty_find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = live_session(&session);

	return rv != CKR_OK ? rv : real.C_FindObjectsInit(session, template, count);
}

static CK_RV faulty_find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG most, CK_ULONG *count)
{
	CK_RV rv = live_session(&session);

	return rv != CKR_OK ? rv : real.C_FindObjects(session, objects, most, count);
}

static CK_RV faulty_find_final(CK_SESSION_HANDLE session)
{
	CK_RV rv = live_session(&session);

	return rv != CKR_OK ? rv : real.C_FindObjectsFinal(session);
}

static CK_RV faulty_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = live_session(&session);

	return rv != CKR_OK ? rv : real.C_GetAttributeValue(session, object, template, count);
}

static CK_RV faulty_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_RV rv = live_session(&session);

	return rv != CKR_OK ? rv : real.C_SignInit(session, mechanism, key);
}

static CK_RV faulty_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv = live_session(&session);

	while (is_on("hang"))
		usleep(10000);
	if (rv == CKR_OK && take("stick")) {
		for (;;)
			pause();
	}
	if (is_on("crash")) {
		signal(SIGSEGV, SIG_DFL); /* a sanitizer would make an exit of it */
		raise(SIGSEGV);
	}
	usleep((useconds_t)(number_in("slow", 10) * 1000));
	if (rv == CKR_OK)
		rv = real.C_Sign(session, data, len, signature, signature_len);
	if (rv == CKR_OK && take("once"))
		rv = CKR_DEVICE_ERROR;
	if (rv == CKR_OK && is_on("error"))
		rv = number_in("error", 16);
	if (rv == CKR_OK && signature != NULL && is_on("wrong"))
		signature[*signature_len / 2] ^= 1;
	return rv;
}

static CK_RV load_real(void)
{
	const char *path = getenv("INKAN_FAULTY_MODULE");
	void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	CK_C_GetFunctionList get_functions = NULL;
	CK_FUNCTION_LIST *functions;

	if (library != NULL)
		*(void **)&get_functions = dlsym(library, "C_GetFunctionList");
	if (get_functions == NULL || get_functions(&functions) != CKR_OK)
		return CKR_GENERAL_ERROR;
	real = faulty = *functions;
	return CKR_OK;
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (real.C_Initialize == NULL && load_real() != CKR_OK)
		return CKR_GENERAL_ERROR;
	faulty.C_OpenSession = faulty_open;
	faulty.C_CloseSession = faulty_close;
	faulty.C_GetSessionInfo = faulty_session_info;
	faulty.C_GetTokenInfo = faulty_token_info;
	faulty.C_Login = faulty_login;
	faulty.C_FindObjectsInit = faulty_find_init;
	faulty.C_FindObjects = faulty_find;
	faulty.C_FindObjectsFinal = faulty_find_final;
	faulty.C_GetAttributeValue = faulty_attribute;
	faulty.C_SignInit = faulty_sign_init;
	faulty.C_Sign = faulty_sign;
	*list = &faulty;
	return CKR_OK;
}
