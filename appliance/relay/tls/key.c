#include "appliance/relay/tls/key.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/tls/request.h"

#define PROVIDER "inkan"
#define PARAM_KEY "inkan-key" /* a pointer to struct key, for fromdata */

struct tls_keys {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *provider;
	struct tls_requests *requests;
};

/* The key as the provider has it. Of one that was imported for comparison there is only the public half. */
struct key {
	EVP_PKEY *public_key;
	struct tls_requests *requests; /* NULL: no private half */
	uint64_t certificate;
};

/* ---- KEYMGMT ---- */

static void *key_new(void *provider)
{
	(void)provider;
	return mem_new(sizeof(struct key));
}

static void key_free(void *data)
{
	struct key *key = data;

	if (key == NULL)
		return;
	EVP_PKEY_free(key->public_key);
	free(key);
}

static int key_has(const void *data, int selection)
{
	const struct key *key = data;

	if (key == NULL || key->public_key == NULL)
		return 0;
	return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key->requests != NULL;
}

static int key_match(const void *a, const void *b, int selection)
{
	(void)selection;
	return EVP_PKEY_eq(((const struct key *)a)->public_key, ((const struct key *)b)->public_key) == 1;
}

static int import_public(struct key *key, const char *type, const OSSL_PARAM params[])
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	int done = context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
		   EVP_PKEY_fromdata(context, &key->public_key, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)params) == 1;

	EVP_PKEY_CTX_free(context);
	return done;
}

static int import(void *data, const char *type, const OSSL_PARAM params[])
{
	const OSSL_PARAM *ours = OSSL_PARAM_locate_const(params, PARAM_KEY);
	struct key *key = data;
	const struct key *source;
	const void *octets;
	size_t len;

	if (ours == NULL)
		return import_public(key, type, params);
	if (OSSL_PARAM_get_octet_string_ptr(ours, &octets, &len) != 1 || len != sizeof source)
		return 0;
	memcpy(&source, octets, sizeof source);
	if (EVP_PKEY_up_ref(source->public_key) != 1)
		return 0;
	*key = *source;
	return 1;
}

static int import_rsa(void *key, int selection, const OSSL_PARAM params[])
{
	(void)selection;
	return import(key, "RSA", params);
}

static int import_ec(void *key, int selection, const OSSL_PARAM params[])
{
	(void)selection;
	return import(key, "EC", params);
}

/* Whoever wants the private half must come to our SIGNATURE. */
static int key_export(void *data, int selection, OSSL_CALLBACK *give, void *arg)
{
	const struct key *key = data;
	OSSL_PARAM *params = NULL;
	int done;

	if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0 ||
	    EVP_PKEY_todata(key->public_key, EVP_PKEY_PUBLIC_KEY, &params) != 1)
		return 0;
	done = give(params, arg);
	OSSL_PARAM_free(params);
	return done;
}

static const OSSL_PARAM *rsa_types(int selection)
{
	static const OSSL_PARAM types[] = {OSSL_PARAM_octet_string(PARAM_KEY, NULL, 0),
					   OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
					   OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};

	(void)selection;
	return types;
}

static const OSSL_PARAM *ec_types(int selection)
{
	static const OSSL_PARAM types[] = {OSSL_PARAM_octet_string(PARAM_KEY, NULL, 0),
					   OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
					   OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};

	(void)selection;
	return types;
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
	return EVP_PKEY_get_params(((const struct key *)data)->public_key, params);
}

static const OSSL_PARAM *key_gettable(void *provider)
{
	static const OSSL_PARAM types[] = {OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
					   OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
					   OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
					   OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
					   OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
					   OSSL_PARAM_END};

	(void)provider;
	return types;
}

static const char *ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : "EC";
}

#define FUNCTION(number, function)                                                                                               \
	{                                                                                                                        \
		number, (void (*)(void))(function)                                                                               \
	}

#define KEY_FUNCTIONS                                                                                                            \
	FUNCTION(OSSL_FUNC_KEYMGMT_NEW, key_new), FUNCTION(OSSL_FUNC_KEYMGMT_FREE, key_free),                                    \
	    FUNCTION(OSSL_FUNC_KEYMGMT_HAS, key_has), FUNCTION(OSSL_FUNC_KEYMGMT_MATCH, key_match),                              \
	    FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT, key_export), FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),              \
	    FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable)

static const OSSL_DISPATCH rsa_keymgmt[] = {KEY_FUNCTIONS,
					    FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, import_rsa),
					    FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, rsa_types),
					    FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, rsa_types),
					    {0, NULL}};
static const OSSL_DISPATCH ec_keymgmt[] = {KEY_FUNCTIONS,
					   FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, import_ec),
					   FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, ec_types),
					   FUNCTION(OSSL_FUNC_KEYMGMT_EXPORT_TYPES, ec_types),
					   FUNCTION(OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, ec_operation),
					   {0, NULL}};

/* ---- SIGNATURE ---- */

struct signing {
	const struct key *key;
	enum sign_digest algorithm; /* 0: one that we do not do */
	bool pss, bad;
	size_t len; /* gathered by update */
	uint8_t text[SIGN_TLS_TEXT_MAX_BYTES];
};

static void *signing_new(void *provider, const char *properties)
{
	(void)provider;
	(void)properties;
	return mem_new(sizeof(struct signing));
}

static void signing_free(void *data)
{
	free(data);
}

static void *signing_dup(void *data)
{
	return mem_copy(data, sizeof(struct signing));
}

static enum sign_digest digest_named(const char *name)
{
	static const struct {
		const char *name;
		enum sign_digest digest;
	} names[] = {{"SHA256", SIGN_SHA256},	{"SHA2-256", SIGN_SHA256}, {"SHA384", SIGN_SHA384},
		     {"SHA2-384", SIGN_SHA384}, {"SHA512", SIGN_SHA512},   {"SHA2-512", SIGN_SHA512}};

	for (size_t i = 0; name != NULL && i < sizeof names / sizeof *names; i++) {
		if (strcasecmp(names[i].name, name) == 0)
			return names[i].digest;
	}
	return 0;
}

/* Versions of OpenSSL send a number or a word. */
static bool param_is(const OSSL_PARAM *param, int number, const char *word)
{
	int value;

	if (param->data_type == OSSL_PARAM_UTF8_STRING)
		return param->data != NULL && strncmp(param->data, word, param->data_size) == 0;
	return OSSL_PARAM_get_int(param, &value) == 1 && value == number;
}

static int signing_set_params(void *data, const OSSL_PARAM params[])
{
	const OSSL_PARAM *mode = params != NULL ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
	const OSSL_PARAM *salt = params != NULL ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN) : NULL;
	struct signing *signing = data;

	if (mode != NULL) {
		signing->pss = param_is(mode, RSA_PKCS1_PSS_PADDING, OSSL_PKEY_RSA_PAD_MODE_PSS);
		signing->bad |= !signing->pss && !param_is(mode, RSA_PKCS1_PADDING, OSSL_PKEY_RSA_PAD_MODE_PKCSV15);
	}
	if (salt != NULL)
		signing->bad |= !param_is(salt, RSA_PSS_SALTLEN_DIGEST, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST);
	return !signing->bad;
}

static const OSSL_PARAM *signing_settable(void *data, void *provider)
{
	static const OSSL_PARAM types[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
					   OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0), OSSL_PARAM_END};

	(void)data;
	(void)provider;
	return types;
}

static int signing_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signing *signing = data;

	*signing = (struct signing){.key = key, .algorithm = digest_named(digest)};
	return signing->key != NULL && signing->key->requests != NULL && signing->algorithm != 0 &&
	       signing_set_params(signing, params);
}

/* Without a place for it the longest length is asked for; that never waits. */
static int signing_sign(void *data, unsigned char *signature, size_t *len, size_t room, const unsigned char *text,
			size_t text_len)
{
	struct signing *signing = data;
	struct sign_request request = {
	    .certificate = signing->key->certificate, .algorithm = signing->algorithm, .pss = signing->pss, .tls_len = text_len};

	if (signature == NULL) {
		*len = (size_t)EVP_PKEY_get_size(signing->key->public_key);
		return 1;
	}
	if (signing->bad || text_len == 0 || text_len > sizeof request.tls_text)
		return 0;
	memcpy(request.tls_text, text, text_len);
	return tls_request_sign(signing->key->requests, &request, signature, len, room);
}

static int signing_update(void *data, const unsigned char *text, size_t len)
{
	struct signing *signing = data;

	if (len > sizeof signing->text - signing->len)
		return 0;
	memcpy(signing->text + signing->len, text, len);
	signing->len += len;
	return 1;
}

static int signing_final(void *data, unsigned char *signature, size_t *len, size_t room)
{
	struct signing *signing = data;

	return signing_sign(signing, signature, len, room, signing->text, signing->len);
}

static const OSSL_DISPATCH signature[] = {FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, signing_new),
					  FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, signing_free),
					  FUNCTION(OSSL_FUNC_SIGNATURE_DUPCTX, signing_dup),
					  FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, signing_init),
					  FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, signing_sign),
					  FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, signing_update),
					  FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, signing_final),
					  FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, signing_set_params),
					  FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, signing_settable),
					  {0, NULL}};

/* ---- the provider ---- */

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keymgmt[] = {{"RSA", "provider=" PROVIDER, rsa_keymgmt, NULL},
						 {"EC", "provider=" PROVIDER, ec_keymgmt, NULL},
						 {NULL, NULL, NULL, NULL}};
	static const OSSL_ALGORITHM signatures[] = {{"RSA", "provider=" PROVIDER, signature, NULL},
						    {"ECDSA", "provider=" PROVIDER, signature, NULL},
						    {NULL, NULL, NULL, NULL}};

	(void)provider;
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keymgmt : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int provider_init(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH functions[] = {FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), {0, NULL}};

	(void)in;
	*context = (void *)core;
	*out = functions;
	return 1;
}

struct tls_keys *tls_keys_new(struct tls_requests *requests, struct err *err)
{
	struct tls_keys *keys = mem_new(sizeof *keys);

	keys->requests = requests;
	keys->library = OSSL_LIB_CTX_new();
	if (keys->library != NULL && OSSL_PROVIDER_add_builtin(keys->library, PROVIDER, provider_init) == 1)
		keys->provider = OSSL_PROVIDER_load(keys->library, PROVIDER);
	if (keys->provider != NULL)
		return keys;
	tls_keys_free(keys);
	ERR_clear_error();
	err_set(err, ERR_INTERNAL, "OpenSSL does not take the provider of the TLS keys");
	return NULL;
}

void tls_keys_free(struct tls_keys *keys)
{
	if (keys == NULL)
		return;
	if (keys->provider != NULL)
		OSSL_PROVIDER_unload(keys->provider);
	OSSL_LIB_CTX_free(keys->library);
	free(keys);
}

EVP_PKEY *tls_key_new(struct tls_keys *keys, EVP_PKEY *public_key, uint64_t certificate, struct err *err)
{
	const struct key source = {.public_key = public_key, .requests = keys->requests, .certificate = certificate};
	const struct key *pointer = &source;
	OSSL_PARAM params[] = {OSSL_PARAM_octet_string(PARAM_KEY, &pointer, sizeof pointer), OSSL_PARAM_END};
	const char *type = EVP_PKEY_is_a(public_key, "EC") == 1 ? "EC" : "RSA";
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(keys->library, type, "provider=" PROVIDER);
	EVP_PKEY *key = NULL;

	if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
	    EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) != 1) {
		err_set(err, ERR_INTERNAL, "OpenSSL does not take the key: %s", ERR_reason_error_string(ERR_peek_last_error()));
		key = NULL;
	}
	EVP_PKEY_CTX_free(context);
	ERR_clear_error();
	return key;
}
