/*
 * A PKCS#11 module: load, find a token, open a session, log in. What a session can do is in object.h, proof.h,
 * cipher.h and, for those that speak Cryptoki themselves, cryptoki.h.
 * Load after fork only, once in a process. Errors: ERR_DENIED means that the token rejected the PIN, or that trying it
 * could lock the token: never try that PIN again. ERR_UNAVAILABLE: the module or token is away; trying later may help.
 */
#ifndef INKAN_HSM_TOKEN_MODULE_H
#define INKAN_HSM_TOKEN_MODULE_H

#include "appliance/base/bytes.h"

#define TOKEN_LABEL_MAX_BYTES 32 /* CK_TOKEN_INFO */

struct module;

struct session {
	struct module *module;
	unsigned long slot;
	unsigned long handle; /* 0: none */
};

struct token_info {
	char label[TOKEN_LABEL_MAX_BYTES + 1];
	char manufacturer[33], model[17], serial[17];
	char firmware[16]; /* "2.6" */
	bool initialized, user_pin_set;
	bool pin_count_low, pin_final_try, pin_locked;
	bool protected_path; /* the PIN is entered at the token itself */
	int64_t free_private_memory; /* bytes, -1 unknown */
	int64_t max_sessions; /* 0 unlimited, -1 unknown */
	unsigned long pin_min_bytes, pin_max_bytes;
};

/* dlopen, C_GetFunctionList, C_Initialize for threads. NULL: ERR_NOT_FOUND (no such file), ERR_INVALID, ERR_UNAVAILABLE. */
struct module *module_open(const char *path, struct err *err);
void module_close(struct module *module); /* C_Finalize and dlclose; no thread may be inside; NULL is fine */

#define MODULE_LIBRARY_BYTES 80
void module_library(const struct module *module, char out[static MODULE_LIBRARY_BYTES]); /* "SoftHSM 2.6" */

/* The slot of the initialised token of that label. ERR_NOT_FOUND lists the labels that are there. */
bool module_find_token(const struct module *module, const char *label, unsigned long *slot, struct token_info *info,
		       struct err *err) MUST_USE;

bool module_token_info(const struct module *module, unsigned long slot, struct token_info *info, struct err *err) MUST_USE;

/* A slot with a token that is not initialised. */
bool module_find_free_slot(const struct module *module, unsigned long *slot, struct token_info *info, struct err *err) MUST_USE;
bool module_init_token(const struct module *module, unsigned long slot, struct bytes so_pin, const char *label,
		       struct err *err) MUST_USE;

/* The mechanisms that the slot lists, by a bound buffer: *count is at most `most`. */
bool module_mechanisms(const struct module *module, unsigned long slot, unsigned long *mechanisms, size_t most, size_t *count,
		       struct err *err) MUST_USE;

/* A read-write session. */
bool session_open(struct module *module, unsigned long slot, struct session *session, struct err *err) MUST_USE;
void session_close(struct session *session); /* its session objects go with it */

/*
 * Logs the whole application in. A login that is already there is fine. An empty PIN is given to the token as none when
 * it has a protected authentication path. CKF_USER_PIN_FINAL_TRY and _LOCKED are ERR_DENIED before anything is tried.
 */
bool session_login(const struct session *session, struct bytes pin, struct err *err) MUST_USE;

/* The same without a look at the flags: whether the PIN may be tried has been decided. */
bool session_login_decided(const struct session *session, struct bytes pin, struct err *err) MUST_USE;

/* As the security officer: sets the user's first PIN and logs out again. */
bool session_init_pin(const struct session *session, struct bytes so_pin, struct bytes user_pin, struct err *err) MUST_USE;

#endif
