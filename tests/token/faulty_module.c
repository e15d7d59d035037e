/*
 * A PKCS#11 module that stands before a real one and does what the files in a directory say ($INKAN_FAULTY_DIRECTORY, or
 * the one that the module is in), so that a test can switch a fault on and off while others run:
 *
 *     hang             C_Sign does not return for as long as the file is there
 *     stick            C_Sign never returns, for as many calls as the file has octets (at least one)
 *     crash            C_Sign ends the process by SIGSEGV; crash-once: so often as the file has octets
 *     error            C_Sign fails with the code in the file (hexadecimal); error.C_NAME: that function does
 *     once             C_Sign fails with CKR_DEVICE_ERROR, so often as the file has octets
 *     lost             every call fails with CKR_DEVICE_REMOVED; all sessions and the login are gone from then on
 *     reset            the number in it changes: all sessions and the login are gone
 *     expire           the number in it changes: all sessions are gone, the login stays
 *     session-limit    the number of sessions that a process may have; what it has beyond is gone
 *     wrong            one bit of a signature is wrong; wrong-once: so often as the file has octets
 *     slow             C_Sign takes as many milliseconds as the file says; slow.C_NAME: that function does
 *     pin-rejected     C_Login fails with CKR_PIN_INCORRECT, whatever the PIN
 *     final-try        one more wrong PIN locks the token (file pin-locked); a right one takes the file away
 *     pin-locked       C_Login fails with CKR_PIN_LOCKED
 *     protected-path   the PIN is entered at the token: C_Login takes none; the file says what is entered
 *
 * The real module is $INKAN_FAULTY_MODULE, or what the file `real` says; a softhsm2.conf in the directory is its
 * configuration. What it keeps there: `logins`, one line with the process number for each C_Login; `overlap`, when two
 * C_Login ran at once; `kill.lock`, locked (shared) during C_Login, which destroys a SoftHSM token when it is killed;
 * `calls`, the counters of faulty_switches.h.
 */
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <signal.h>

#include "tests/token/faulty_switches.h"

enum function {
	F_OPEN,
	F_CLOSE,
	F_SESSION_INFO,
	F_TOKEN_INFO,
	F_SLOT_LIST,
	F_LOGIN,
	F_FIND_INIT,
	F_FIND,
	F_FIND_FINAL,
	F_ATTRIBUTE,
	F_SIGN_INIT,
	F_SIGN,
	F_INITIALIZE,
	FUNCTIONS
};

static const char *const names[FUNCTIONS] = {
    [F_OPEN] = "C_OpenSession",
    [F_CLOSE] = "C_CloseSession",
    [F_SESSION_INFO] = "C_GetSessionInfo",
    [F_TOKEN_INFO] = "C_GetTokenInfo",
    [F_SLOT_LIST] = "C_GetSlotList",
    [F_LOGIN] = "C_Login",
    [F_FIND_INIT] = "C_FindObjectsInit",
    [F_FIND] = "C_FindObjects",
    [F_FIND_FINAL] = "C_FindObjectsFinal",
    [F_ATTRIBUTE] = "C_GetAttributeValue",
    [F_SIGN_INIT] = "C_SignInit",
    [F_SIGN] = "C_Sign",
    [F_INITIALIZE] = "C_Initialize",
};

static CK_FUNCTION_LIST real, faulty;
static struct call_count *calls;

/* ---- what every call passes ---- */

static void sleep_ms(unsigned long ms)
{
	usleep((useconds_t)(ms * 1000));
}

static CK_RV pass(enum function function)
{
	char name[40];

	if (calls != NULL)
		atomic_fetch_add(&calls[function].count, 1);
	snprintf(name, sizeof name, "slow.%s", names[function]);
	sleep_ms(number_in(name, 10));
	snprintf(name, sizeof name, "error.%s", names[function]);
	return is_on(name) ? number_in(name, 16) : CKR_OK;
}

/* ---- sessions ---- */

#define EPOCH_SHIFT 40 /* session handles are given out with the epoch added there: some modules use the bits above */
#define SESSIONS_MAX 1024

static struct {
	pthread_mutex_t lock;
	unsigned long epoch; /* raised when all sessions are gone; those of an earlier one are dead */
	bool logged_in;
	bool was_lost;
	unsigned long reset, expire; /* as they were last seen */
	CK_SESSION_HANDLE open[SESSIONS_MAX]; /* oldest first */
	unsigned n_open;
} token = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void all_sessions_are_gone(bool login_too)
{
	token.epoch++;
	token.n_open = 0;
	if (login_too)
		token.logged_in = false;
}

/* With the lock held. */
static CK_RV look(void)
{
	unsigned long reset = number_in("reset", 10), expire = number_in("expire", 10);
	bool lost = is_on("lost");

	if ((lost && !token.was_lost) || reset != token.reset)
		all_sessions_are_gone(true);
	else if (expire != token.expire)
		all_sessions_are_gone(false);
	token.was_lost = lost;
	token.reset = reset;
	token.expire = expire;
	return lost ? CKR_DEVICE_REMOVED : CKR_OK;
}

static unsigned session_limit(void)
{
	unsigned long limit = number_in("session-limit", 10);

	return limit == 0 || limit > SESSIONS_MAX ? SESSIONS_MAX : (unsigned)limit;
}

static unsigned rank_of(CK_SESSION_HANDLE session)
{
	unsigned rank = 0;

	while (rank < token.n_open && token.open[rank] != session)
		rank++;
	return rank;
}

static void forget(CK_SESSION_HANDLE session)
{
	unsigned rank = rank_of(session);

	if (rank == token.n_open)
		return;
	memmove(&token.open[rank], &token.open[rank + 1], (token.n_open - rank - 1) * sizeof token.open[0]);
	token.n_open--;
}

/* The real handle in *session, when it is alive. */
static CK_RV live(CK_SESSION_HANDLE *session)
{
	unsigned rank;
	CK_RV rv;

	pthread_mutex_lock(&token.lock);
	rv = look();
	rank = rank_of(*session);
	if (rv == CKR_OK && (rank == token.n_open || rank >= session_limit())) {
		forget(*session);
		rv = CKR_SESSION_HANDLE_INVALID;
	}
	*session ^= token.epoch << EPOCH_SHIFT;
	pthread_mutex_unlock(&token.lock);
	return rv;
}

static CK_RV enter(enum function function, CK_SESSION_HANDLE *session)
{
	CK_RV rv = pass(function), dead = live(session);

	return rv != CKR_OK ? rv : dead;
}

static bool is_logged_in(void)
{
	bool is;

	pthread_mutex_lock(&token.lock);
	is = token.logged_in;
	pthread_mutex_unlock(&token.lock);
	return is;
}

static CK_RV faulty_open(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	CK_RV rv = pass(F_OPEN);

	pthread_mutex_lock(&token.lock);
	if (rv == CKR_OK)
		rv = look();
	if (rv == CKR_OK && token.n_open >= session_limit())
		rv = CKR_SESSION_COUNT;
	if (rv == CKR_OK)
		rv = real.C_OpenSession(slot, flags, application, notify, session);
	if (rv == CKR_OK) {
		*session ^= token.epoch << EPOCH_SHIFT;
		token.open[token.n_open++] = *session;
	}
	pthread_mutex_unlock(&token.lock);
	return rv;
}

static CK_RV faulty_close(CK_SESSION_HANDLE session)
{
	CK_SESSION_HANDLE given = session;
	CK_RV rv = enter(F_CLOSE, &session);

	if (rv != CKR_OK)
		return rv;
	pthread_mutex_lock(&token.lock);
	forget(given);
	pthread_mutex_unlock(&token.lock);
	return real.C_CloseSession(session);
}

static CK_RV faulty_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	CK_RV rv = enter(F_SESSION_INFO, &session);

	rv = rv != CKR_OK ? rv : real.C_GetSessionInfo(session, info);
	if (rv == CKR_OK && !is_logged_in())
		info->state = (info->flags & CKF_RW_SESSION) != 0 ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
	return rv;
}

static CK_RV faulty_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = pass(F_TOKEN_INFO);

	if (rv == CKR_OK && is_on("lost"))
		rv = CKR_TOKEN_NOT_PRESENT;
	rv = rv != CKR_OK ? rv : real.C_GetTokenInfo(slot, info);
	if (rv != CKR_OK)
		return rv;
	if (is_on("final-try"))
		info->flags |= CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY;
	if (is_on("pin-locked"))
		info->flags |= CKF_USER_PIN_LOCKED;
	if (is_on("protected-path"))
		info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
	if (is_on("session-limit"))
		info->ulMaxSessionCount = session_limit();
	return CKR_OK;
}

static CK_RV faulty_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	CK_RV rv = pass(F_SLOT_LIST);

	return rv != CKR_OK ? rv : real.C_GetSlotList(present, slots, count);
}

/* ---- the PIN ---- */

static CK_RV judge_pin(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	char entered[256];
	CK_RV rv;

	if (is_on("pin-locked"))
		return CKR_PIN_LOCKED;
	if (is_on("protected-path")) {
		if (pin != NULL)
			return CKR_ARGUMENTS_BAD;
		(void)read_text("protected-path", entered, sizeof entered);
		pin = (CK_UTF8CHAR *)entered;
		len = strlen(entered);
	}
	rv = is_on("pin-rejected") ? CKR_PIN_INCORRECT : real.C_Login(session, user, pin, len);
	if (is_on("final-try") && rv == CKR_PIN_INCORRECT)
		append_line("pin-locked", "");
	else if (rv == CKR_OK)
		(void)take("final-try");
	return rv;
}

static CK_RV faulty_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG len)
{
	int unharmed = hold("kill.lock", LOCK_SH), alone = hold("login.lock", LOCK_EX | LOCK_NB);
	char line[32];
	CK_RV rv;

	snprintf(line, sizeof line, "%d\n", (int)getpid());
	append_line("logins", line);
	if (alone < 0)
		append_line("overlap", line);
	rv = enter(F_LOGIN, &session);
	if (rv == CKR_OK)
		rv = judge_pin(session, user, pin, len);
	pthread_mutex_lock(&token.lock);
	if (rv == CKR_USER_ALREADY_LOGGED_IN && !token.logged_in)
		rv = CKR_OK; /* the real token knows nothing of a reset */
	token.logged_in |= rv == CKR_OK;
	pthread_mutex_unlock(&token.lock);
	let_go(alone);
	let_go(unharmed);
	return rv;
}

/* ---- keys ---- */

static CK_RV faulty_find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = enter(F_FIND_INIT, &session);

	return rv != CKR_OK ? rv : real.C_FindObjectsInit(session, template, count);
}

static CK_RV faulty_find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG most, CK_ULONG *count)
{
	CK_RV rv = enter(F_FIND, &session);

	return rv != CKR_OK ? rv : real.C_FindObjects(session, objects, most, count);
}

static CK_RV faulty_find_final(CK_SESSION_HANDLE session)
{
	CK_RV rv = enter(F_FIND_FINAL, &session);

	return rv != CKR_OK ? rv : real.C_FindObjectsFinal(session);
}

static CK_RV faulty_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = enter(F_ATTRIBUTE, &session);

	return rv != CKR_OK ? rv : real.C_GetAttributeValue(session, object, template, count);
}

static CK_RV faulty_sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_RV rv = enter(F_SIGN_INIT, &session);

	if (rv == CKR_OK && !is_logged_in())
		rv = CKR_USER_NOT_LOGGED_IN;
	return rv != CKR_OK ? rv : real.C_SignInit(session, mechanism, key);
}

static void never_return(void)
{
	for (;;)
		pause();
}

static void crash(void)
{
	signal(SIGSEGV, SIG_DFL); /* a sanitizer would make an exit of it */
	raise(SIGSEGV);
}

static CK_RV spoil(CK_RV rv, CK_BYTE *signature, const CK_ULONG *len)
{
	if (rv == CKR_OK && take("once"))
		return CKR_DEVICE_ERROR;
	if (rv == CKR_OK && is_on("error"))
		return number_in("error", 16);
	if (rv == CKR_OK && signature != NULL && (is_on("wrong") || take("wrong-once")))
		signature[*len / 2] ^= 1;
	return rv;
}

static CK_RV faulty_sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv = enter(F_SIGN, &session);

	while (is_on("hang"))
		sleep_ms(10);
	if (rv == CKR_OK && take("stick"))
		never_return();
	if (is_on("crash") || take("crash-once"))
		crash();
	sleep_ms(number_in("slow", 10));
	if (rv == CKR_OK)
		rv = real.C_Sign(session, data, len, signature, signature_len);
	return spoil(rv, signature, signature_len);
}

/* ---- the module ---- */

/* What stands in the switches when a process starts is not news to it. */
static CK_RV faulty_initialize(void *arguments)
{
	CK_RV rv = pass(F_INITIALIZE);

	pthread_mutex_lock(&token.lock);
	(void)look();
	token.logged_in = false;
	pthread_mutex_unlock(&token.lock);
	return rv != CKR_OK ? rv : real.C_Initialize(arguments);
}

static CK_RV load_real(void)
{
	const char *path = getenv("INKAN_FAULTY_MODULE");
	char text[PATH_BYTES], configuration[PATH_BYTES];
	CK_C_GetFunctionList get_functions = NULL;
	CK_FUNCTION_LIST *functions;
	void *library;

	if (path == NULL && read_text("real", text, sizeof text))
		path = text;
	if (is_on("softhsm2.conf"))
		setenv("SOFTHSM2_CONF", switch_path("softhsm2.conf", configuration), 0);
	library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (library != NULL)
		*(void **)&get_functions = dlsym(library, "C_GetFunctionList");
	if (get_functions == NULL || get_functions(&functions) != CKR_OK)
		return CKR_GENERAL_ERROR;
	real = faulty = *functions;
	return CKR_OK;
}

static void stand_before(void)
{
	faulty.C_Initialize = faulty_initialize;
	faulty.C_GetSlotList = faulty_slot_list;
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
	calls = calls_map(FUNCTIONS);
	for (unsigned i = 0; calls != NULL && i < FUNCTIONS; i++)
		snprintf(calls[i].name, sizeof calls[i].name, "%s", names[i]);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (real.C_Initialize == NULL) {
		switches_open(&real);
		if (load_real() != CKR_OK)
			return CKR_GENERAL_ERROR;
		stand_before();
	}
	*list = &faulty;
	return CKR_OK;
}
