/*
 * Raw Cryptoki for hsm/token and hsm/import: no CK_ type leaves these two folders (module.h, object.h and proof.h are
 * what others see; a handle there is an unsigned long). Any thread, one session per thread.
 */
#ifndef INKAN_HSM_TOKEN_CRYPTOKI_H
#define INKAN_HSM_TOKEN_CRYPTOKI_H

#include <p11-kit/pkcs11.h>

#include "hsm/token/module.h"

/* What a return value means for whoever may try again. */
enum cryptoki_class {
	CRYPTOKI_OK,
	CRYPTOKI_SESSION, /* reopen the session, log in if its state says so, find the object again, repeat once */
	CRYPTOKI_MODULE, /* the token or module is away or broken: start the process afresh, with back-off */
	CRYPTOKI_PIN, /* the PIN was rejected: never try it again */
	CRYPTOKI_REFUSED /* this call will never work here */
};

enum cryptoki_class cryptoki_class(CK_RV rv);

/* "CKR_PIN_INCORRECT", or the number in hexadecimal, in the caller's buffer. Returns `out`. */
#define CRYPTOKI_NAME_BYTES 48
const char *cryptoki_name(CK_RV rv, char out[static CRYPTOKI_NAME_BYTES]);

/*
 * Sets *err to "CALL: CKR_NAME" and returns false. ERR_DENIED for CKR_PIN_* alone, ERR_UNAVAILABLE for the session and
 * module classes, ERR_INVALID for what the token refuses.
 */
bool cryptoki_fail(struct err *err, CK_RV rv, const char *call);

CK_FUNCTION_LIST *module_functions(const struct module *module);
static inline CK_FUNCTION_LIST *session_functions(const struct session *session)
{
	return module_functions(session->module);
}

/* A list of attributes that holds its own scalars: octets are views. Not to be copied. */
#define TEMPLATE_MAX_ATTRIBUTES 24
struct template
{
	CK_ATTRIBUTE items[TEMPLATE_MAX_ATTRIBUTES];
	CK_ULONG count;
	CK_ULONG numbers[TEMPLATE_MAX_ATTRIBUTES];
	CK_BBOOL flags[TEMPLATE_MAX_ATTRIBUTES];
};

void template_flag(struct template *template, CK_ATTRIBUTE_TYPE type, bool value);
void template_number(struct template *template, CK_ATTRIBUTE_TYPE type, CK_ULONG value);
void template_bytes(struct template *template, CK_ATTRIBUTE_TYPE type, struct bytes value);
void template_text(struct template *template, CK_ATTRIBUTE_TYPE type, const char *value);

/* Fills up to `most` handles; more matches are ignored. */
bool object_find(const struct session *session, struct template *template, CK_OBJECT_HANDLE *found, size_t most, size_t *count,
		 struct err *err) MUST_USE;
bool object_flag(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, bool *value,
		 struct err *err) MUST_USE;
bool object_number(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_ULONG *value,
		   struct err *err) MUST_USE;

#endif
