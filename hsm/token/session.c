#include "hsm/token/cryptoki.h"

bool session_open(struct module *module, unsigned long slot, struct session *session, struct err *err)
{
	CK_SESSION_HANDLE handle = 0;
	CK_RV rv = module_functions(module)->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &handle);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_OpenSession");
	*session = (struct session){.module = module, .slot = slot, .handle = handle};
	return true;
}

void session_close(struct session *session)
{
	if (session->handle != 0)
		session_functions(session)->C_CloseSession(session->handle);
	*session = (struct session){0};
}

/* The token's own counters say when a try could lock it. */
static bool may_try(const struct session *session, struct token_info *info, struct err *err)
{
	if (!module_token_info(session->module, session->slot, info, err))
		return false;
	if (info->pin_locked)
		return err_set(err, ERR_DENIED, "the PIN of token \"%s\" is locked: unlock it with the vendor's tool",
			       info->label);
	if (info->pin_final_try)
		return err_set(
		    err, ERR_DENIED,
		    "one more wrong PIN would lock token \"%s\", so it was not tried: if you are sure of it, hsm login final-try",
		    info->label);
	return true;
}

static CK_RV login(const struct session *session, CK_USER_TYPE user, struct bytes pin, bool protected_path)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);

	if (protected_path && pin.len == 0)
		return p11->C_Login(session->handle, user, NULL, 0);
	return p11->C_Login(session->handle, user, (CK_UTF8CHAR *)pin.data, pin.len);
}

static bool log_in(const struct session *session, struct bytes pin, const struct token_info *info, struct err *err)
{
	CK_RV rv = login(session, CKU_USER, pin, info->protected_path);

	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		return true;
	cryptoki_fail(err, rv, "C_Login");
	return cryptoki_class(rv) == CRYPTOKI_PIN ? err_prefix(err, "token \"%s\" rejected the PIN", info->label) : false;
}

bool session_login(const struct session *session, struct bytes pin, struct err *err)
{
	struct token_info info;

	return may_try(session, &info, err) && log_in(session, pin, &info, err);
}

bool session_login_decided(const struct session *session, struct bytes pin, struct err *err)
{
	struct token_info info;

	return module_token_info(session->module, session->slot, &info, err) && log_in(session, pin, &info, err);
}

bool session_init_pin(const struct session *session, struct bytes so_pin, struct bytes user_pin, struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	CK_RV rv = login(session, CKU_SO, so_pin, false);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_Login as security officer");
	rv = p11->C_InitPIN(session->handle, (CK_UTF8CHAR *)user_pin.data, user_pin.len);
	p11->C_Logout(session->handle);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_InitPIN");
}
