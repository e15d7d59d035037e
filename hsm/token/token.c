#include "hsm/token/token.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/token/backend.h"
#include "hsm/token/cryptoki.h"

struct token {
	const struct token_backend *backend;
	struct token_info info;
	unsigned threads;
	void *state;
	pthread_mutex_t load; /* libp11 0.4.12 may not load two keys at once */
};

struct token_key {
	struct token *token;
	void *state;
};

static const struct token_backend *const backends[] = {
#ifndef OPENSSL_NO_ENGINE
    &token_backend_engine,
#endif
    &token_backend_cryptoki,
};

/* Codes of the module class that one bad operation may give on a token that is still good. */
static const CK_RV passing[] = {
    CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR,	   CKR_DEVICE_MEMORY,
    CKR_HOST_MEMORY,   CKR_CANCEL,	    CKR_FUNCTION_CANCELED, CKR_FUNCTION_REJECTED,
};

static bool passes(CK_RV rv)
{
	if (rv >= CKR_VENDOR_DEFINED)
		return true;
	for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
		if (passing[i] == rv)
			return true;
	}
	return false;
}

static enum token_fault fault_of(CK_RV rv)
{
	switch (cryptoki_class(rv)) {
	case CRYPTOKI_PIN:
		return TOKEN_FAULT_PIN;
	case CRYPTOKI_REFUSED:
		return TOKEN_FAULT_MECHANISM;
	case CRYPTOKI_MODULE:
		return passes(rv) ? TOKEN_FAULT_RETRY : TOKEN_FAULT_MODULE;
	case CRYPTOKI_SESSION:
		return rv == CKR_SESSION_COUNT ? TOKEN_FAULT_RETRY : TOKEN_FAULT_MODULE;
	case CRYPTOKI_OK:
		break;
	}
	return TOKEN_FAULT_NONE;
}

bool token_fail(enum token_fault *fault, struct err *err, unsigned long rv, const char *call)
{
	*fault = fault_of(rv);
	return cryptoki_fail(err, rv, call);
}

bool token_fault_set(enum token_fault *fault, enum token_fault value, struct err *err, enum err_code code, const char *format,
		     ...)
{
	char text[ERR_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	*fault = value;
	return err_set(err, code, "%s", text);
}

static const struct token_backend *find_backend(const char *name)
{
	for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
		if (strcmp(backends[i]->name, name) == 0)
			return backends[i];
	}
	return NULL;
}

unsigned token_backend_threads(const char *name)
{
	const struct token_backend *backend = find_backend(name);

	return backend != NULL ? backend->max_threads : 0;
}

static bool pin_may_be_tried(const struct token_info *info, const struct secret *pin, bool final_try, enum token_fault *fault,
			     struct err *err)
{
	const char *why = NULL;

	if (!info->user_pin_set)
		why = "has no user PIN yet";
	else if (info->pin_locked)
		why = "has its PIN locked: unlock it with the vendor's tool";
	else if (info->pin_final_try && !final_try)
		why = "would be locked by one more wrong PIN, so it was not tried: if you are sure of it, hsm login final-try";
	else if (pin == NULL && !info->protected_path)
		why = "needs a PIN: it has no keypad of its own";
	return why == NULL || token_fault_set(fault, TOKEN_FAULT_PIN, err, ERR_DENIED, "token \"%s\" %s", info->label, why);
}

/*
 * The token's label, serial number and PIN flags, read before the back end starts. The module is finalised again, so
 * that the back end is the only one that uses it.
 */
static bool look(const struct token_place *place, const struct secret *pin, unsigned long *slot, struct token_info *info,
		 enum token_fault *fault, struct err *err)
{
	struct module *module = module_open(place->module, err);
	bool found;

	*fault = TOKEN_FAULT_MODULE;
	if (module == NULL)
		return false;
	*fault = TOKEN_FAULT_ABSENT;
	found = module_find_token(module, place->label, slot, info, err);
	module_close(module);
	return found && pin_may_be_tried(info, pin, place->final_try, fault, err);
}

static unsigned threads_of(const struct token_place *place, const struct token_info *info)
{
	int64_t processes = place->processes > 0 ? place->processes : 1, share = (info->max_sessions - 1) / processes;

	if (info->max_sessions <= 0 || share >= (int64_t)place->threads)
		return place->threads;
	return share > 0 ? (unsigned)share : 1;
}

unsigned token_threads(const struct token *token)
{
	return token->threads;
}

struct token *token_open(const struct token_place *place, const struct secret *pin, enum token_fault *fault, struct err *err)
{
	const struct token_backend *backend = find_backend(place->backend);
	struct token_place bounded = *place;
	struct token_info info;
	struct token *token;
	unsigned long slot;
	void *state;

	if (backend == NULL) {
		token_fault_set(fault, TOKEN_FAULT_MODULE, err, ERR_INVALID, "no back end \"%s\" in this build", place->backend);
		return NULL;
	}
	if (!look(place, pin, &slot, &info, fault, err))
		return NULL;
	bounded.threads = threads_of(place, &info);
	state = backend->open(&bounded, slot, &info, pin, fault, err);
	ERR_clear_error();
	if (state == NULL)
		return NULL;
	token = mem_new(sizeof *token);
	token->backend = backend;
	token->info = info;
	token->threads = bounded.threads;
	token->state = state;
	pthread_mutex_init(&token->load, NULL);
	*fault = TOKEN_FAULT_NONE;
	return token;
}

void token_close(struct token *token)
{
	if (token == NULL)
		return;
	token->backend->close(token->state);
	pthread_mutex_destroy(&token->load);
	free(token);
}

const struct token_info *token_describe(const struct token *token)
{
	return &token->info;
}

struct token_key *token_load_key(struct token *token, struct bytes key_id, EVP_PKEY *public_key, enum token_fault *fault,
				 struct err *err)
{
	struct token_key *key;
	void *state;

	ERR_clear_error();
	pthread_mutex_lock(&token->load);
	state = token->backend->load(token->state, key_id, public_key, fault, err);
	pthread_mutex_unlock(&token->load);
	ERR_clear_error();
	if (state == NULL)
		return NULL;
	key = mem_new(sizeof *key);
	key->token = token;
	key->state = state;
	*fault = TOKEN_FAULT_NONE;
	return key;
}

void token_key_free(struct token_key *key)
{
	struct token *token;

	if (key == NULL)
		return;
	token = key->token;
	pthread_mutex_lock(&token->load);
	token->backend->free(token->state, key->state);
	pthread_mutex_unlock(&token->load);
	free(key);
}

const EVP_MD *token_digest(enum sign_digest algorithm)
{
	static const EVP_MD *(*const digests[])(void) = {
	    [SIGN_SHA256] = EVP_sha256, [SIGN_SHA384] = EVP_sha384, [SIGN_SHA512] = EVP_sha512};

	return digests[algorithm]();
}

static bool sign(const struct token_key *key, const struct sign_text *text, struct buf *signature, enum token_fault *fault,
		 struct err *err)
{
	struct token *token = key->token;
	bool done;

	/* A module that uses OpenSSL itself leaves its errors in this thread's queue. */
	ERR_clear_error();
	done = token->backend->sign(token->state, key->state, text, signature, fault, err);
	ERR_clear_error();
	if (done)
		*fault = TOKEN_FAULT_NONE;
	return done;
}

bool token_sign(struct token_key *key, enum sign_digest algorithm, bool pss, struct bytes digest, struct buf *signature,
		enum token_fault *fault, struct err *err)
{
	struct sign_text text = {.algorithm = algorithm, .pss = pss, .digest = digest};

	if (digest.len == 0 || digest.len != sign_digest_bytes(algorithm))
		return token_fault_set(fault, TOKEN_FAULT_MECHANISM, err, ERR_INVALID, "digest of %zu bytes", digest.len);
	return sign(key, &text, signature, fault, err);
}

bool token_sign_text(struct token_key *key, enum sign_digest algorithm, bool pss, struct bytes octets, struct buf *signature,
		     enum token_fault *fault, struct err *err)
{
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	struct sign_text text = {.algorithm = algorithm, .pss = pss, .octets = octets};

	if (EVP_Digest(octets.data, octets.len, digest, NULL, token_digest(algorithm), NULL) != 1)
		return token_fault_set(fault, TOKEN_FAULT_MECHANISM, err, ERR_INTERNAL, "the digest cannot be made");
	text.digest = bytes_of(digest, sign_digest_bytes(algorithm));
	return sign(key, &text, signature, fault, err);
}

bool token_check(struct token *token, enum token_fault *fault, struct err *err)
{
	bool good = token->backend->check(token->state, fault, err);

	if (good)
		*fault = TOKEN_FAULT_NONE;
	return good;
}
