/*
 * The back end "engine": OpenSSL's ENGINE "pkcs11", which is libp11. Written for 0.4.12 (Debian 12): it logs in when the
 * first key is loaded, shares at most 16 sessions, would enumerate every key for each that it loads (engine_view.h) and may
 * not load two at once (token.c sees to that), and never recovers from a lost session: every such error ends the process.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* ENGINE is, and has no other form in OpenSSL 3 */
#include <openssl/opensslconf.h>

#ifndef OPENSSL_NO_ENGINE

#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/ui.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/token/backend.h"
#include "hsm/token/cryptoki.h"
#include "hsm/token/engine_view.h"

#define ENGINE_SESSIONS_MAX 16 /* max_sessions of libp11's slot */

struct engine {
	ENGINE *engine;
	struct buf token_uri; /* "pkcs11:token=…;serial=…" */
	struct engine_view *view;
	unsigned long slot;
};

static void put_percent(struct buf *out, struct bytes octets)
{
	for (size_t i = 0; i < octets.len; i++)
		buf_printf(out, "%%%02x", octets.data[i]);
}

/* What libp11 has put into this thread's error queue: the first code of the module, else whatever is first. */
static bool engine_fail(enum token_fault *fault, struct err *err, const char *call)
{
	unsigned long code, first = 0;

	while ((code = ERR_get_error()) != 0) {
		const char *library = ERR_lib_error_string(code);

		if (library != NULL && strcmp(library, "PKCS#11 module") == 0)
			return token_fail(fault, err, (unsigned long)ERR_GET_REASON(code), call);
		if (first == 0)
			first = code;
	}
	return token_fault_set(fault, TOKEN_FAULT_RETRY, err, ERR_UNAVAILABLE, "%s: %s", call,
			       first != 0 && ERR_reason_error_string(first) != NULL ? ERR_reason_error_string(first) : "failed");
}

/* libp11 says "object not found" itself when the login went well; a refusal of the token is a code of the module. */
static bool object_was_not_found(void)
{
	unsigned long code = ERR_peek_error();
	const char *library = ERR_lib_error_string(code), *reason = ERR_reason_error_string(code);

	return library != NULL && strcmp(library, "pkcs11 engine") == 0 && reason != NULL &&
	       strcmp(reason, "object not found") == 0;
}

static EVP_PKEY *load_private(struct engine *engine, struct bytes key_id)
{
	struct buf uri = {0};
	UI_METHOD *silent = UI_create_method("no prompt"); /* libp11 asks at the terminal otherwise */
	EVP_PKEY *key;

	engine_view_want(engine->view, key_id);
	buf_put_bytes(&uri, buf_bytes(&engine->token_uri));
	buf_put_text(&uri, ";id=");
	put_percent(&uri, key_id);
	buf_put_text(&uri, ";type=private");
	key = silent != NULL ? ENGINE_load_private_key(engine->engine, buf_text(&uri), silent, NULL) : NULL;
	UI_destroy_method(silent);
	buf_clear(&uri);
	engine_view_want(engine->view, (struct bytes){0});
	return key;
}

/* Where OpenSSL was built to keep its engines; the environment has no say in what the holder of the PIN loads. */
static ENGINE *load_shared_object(void)
{
	ENGINE *engine;
	char *path;
	bool loaded;

	ENGINE_load_dynamic();
	engine = ENGINE_by_id("dynamic");
	if (engine == NULL)
		return NULL;
	path = mem_format("%s/pkcs11.so", OPENSSL_info(OPENSSL_INFO_ENGINES_DIR));
	loaded = ENGINE_ctrl_cmd_string(engine, "SO_PATH", path, 0) == 1 && ENGINE_ctrl_cmd_string(engine, "LOAD", NULL, 0) == 1;
	free(path);
	if (loaded)
		return engine;
	ENGINE_free(engine);
	return NULL;
}

static ENGINE *load_engine(const char *module, const struct secret *pin)
{
	ENGINE *engine = load_shared_object();

	if (engine == NULL)
		return NULL;
	if (ENGINE_ctrl_cmd_string(engine, "QUIET", NULL, 0) == 1 &&
	    ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", module, 0) == 1 &&
	    ENGINE_ctrl_cmd_string(engine, "FORCE_LOGIN", NULL, 0) == 1 && ENGINE_init(engine) == 1) {
		if (pin == NULL || ENGINE_ctrl_cmd_string(engine, "PIN", secret_text(pin), 0) == 1)
			return engine;
		ENGINE_finish(engine);
	}
	ENGINE_free(engine);
	return NULL;
}

static void engine_close(void *state)
{
	struct engine *engine = state;

	ENGINE_finish(engine->engine);
	ENGINE_free(engine->engine);
	buf_clear(&engine->token_uri);
	engine_view_close(engine->view);
	free(engine);
}

/* Any load logs in first; this one finds nothing and does no more. */
static bool log_in(struct engine *engine, enum token_fault *fault, struct err *err)
{
	EVP_PKEY *key = load_private(engine, (struct bytes){0});

	EVP_PKEY_free(key);
	if (key != NULL || object_was_not_found())
		return true;
	engine_fail(fault, err, "login");
	/* Only the token's own word is a refused PIN; anything else at this point is a start that failed. */
	if (*fault == TOKEN_FAULT_PIN)
		return err_prefix(err, "the token rejected the PIN");
	*fault = TOKEN_FAULT_MODULE;
	return false;
}

static void *engine_open(const struct token_place *place, unsigned long slot, const struct token_info *info,
			 const struct secret *pin, enum token_fault *fault, struct err *err)
{
	struct engine_view *view = engine_view_open(place->module, err);
	struct engine *engine;
	ENGINE *loaded;

	*fault = TOKEN_FAULT_MODULE;
	if (view == NULL)
		return NULL;
	loaded = load_engine(engine_view_path(view), pin);
	if (loaded == NULL) {
		engine_fail(fault, err, "OpenSSL engine pkcs11");
		*fault = TOKEN_FAULT_MODULE;
		engine_view_close(view);
		return NULL;
	}
	engine = mem_new(sizeof *engine);
	engine->engine = loaded;
	engine->view = view;
	engine->slot = slot;
	buf_put_text(&engine->token_uri, "pkcs11:token=");
	put_percent(&engine->token_uri, bytes_text(info->label));
	if (info->serial[0] != '\0') {
		buf_put_text(&engine->token_uri, ";serial=");
		put_percent(&engine->token_uri, bytes_text(info->serial));
	}
	if (log_in(engine, fault, err)) {
		engine_view_stock(view, slot, place->threads - 1); /* libp11 has one */
		return engine;
	}
	engine_close(engine);
	return NULL;
}

/* Of another key or another type; -2 would be a comparison that OpenSSL cannot make. */
static bool is_another(const EVP_PKEY *key, const EVP_PKEY *public_key)
{
	int same = EVP_PKEY_eq(key, public_key);

	return same == 0 || same == -1;
}

static void *engine_load(void *state, struct bytes key_id, EVP_PKEY *public_key, enum token_fault *fault, struct err *err)
{
	struct engine *engine = state;
	EVP_PKEY *key = load_private(engine, key_id);

	if (key == NULL && object_was_not_found()) {
		token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key is not on the token");
		return NULL;
	}
	if (key == NULL) {
		engine_fail(fault, err, "loading the key");
		return NULL;
	}
	if (is_another(key, public_key)) {
		EVP_PKEY_free(key);
		token_fault_set(fault, TOKEN_FAULT_KEY, err, ERR_NOT_FOUND, "the key on the token is not the certificate's");
		return NULL;
	}
	return key;
}

static void engine_free(void *state, void *key)
{
	(void)state;
	EVP_PKEY_free(key);
}

static bool set_up(EVP_PKEY_CTX *context, EVP_PKEY *key, const struct sign_text *text)
{
	if (EVP_PKEY_sign_init(context) != 1)
		return false;
	if (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA) {
		if (EVP_PKEY_CTX_set_rsa_padding(context, text->pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) != 1)
			return false;
		if (text->pss && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) != 1)
			return false;
	}
	return EVP_PKEY_CTX_set_signature_md(context, token_digest(text->algorithm)) == 1;
}

static bool engine_sign(void *state, void *key, const struct sign_text *text, struct buf *signature, enum token_fault *fault,
			struct err *err)
{
	struct engine *engine = state;
	size_t len = (size_t)EVP_PKEY_get_size(key);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, engine->engine);
	bool done;

	buf_reserve(signature, len);
	done = context != NULL && set_up(context, key, text) &&
	       EVP_PKEY_sign(context, signature->data + signature->len, &len, text->digest.data, text->digest.len) == 1;
	EVP_PKEY_CTX_free(context);
	if (!done)
		return engine_fail(fault, err, "signing");
	signature->len += len;
	return true;
}

/* A look past the engine, at the module that it has initialised. */
static bool engine_check(void *state, enum token_fault *fault, struct err *err)
{
	struct engine *engine = state;
	unsigned long rv = engine_view_ask(engine->view, engine->slot);

	return rv == CKR_OK || token_fail(fault, err, rv, "C_GetTokenInfo");
}

const struct token_backend token_backend_engine = {
    .name = "engine",
    .max_threads = ENGINE_SESSIONS_MAX,
    .open = engine_open,
    .close = engine_close,
    .load = engine_load,
    .free = engine_free,
    .sign = engine_sign,
    .check = engine_check,
};

#endif
