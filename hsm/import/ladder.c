#include "hsm/import/ladder.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <string.h>

#include "hsm/import/protection.h"
#include "hsm/import/rungs.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"

static const struct rung {
	const char *name;
	enum ladder_minimum minimum; /* allowed when the operator's is this or lower */
	bool (*make)(const struct attempt *attempt, CK_OBJECT_HANDLE *key, struct err *err);
} rungs[] = {
    {"unwrap-token-kek", LADDER_UNWRAP, rung_unwrap_token_kek},
    {"unwrap-host-kek", LADDER_UNWRAP, rung_unwrap_host_kek},
    {"rewrap", LADDER_REWRAP, rung_rewrap},
    {"create", LADDER_CREATE, rung_create},
};

static const char *const minimum_names[] = {[LADDER_UNWRAP] = "unwrap", [LADDER_REWRAP] = "rewrap", [LADDER_CREATE] = "create"};

bool ladder_minimum_parse(const char *text, enum ladder_minimum *minimum, struct err *err)
{
	for (size_t i = 0; i < sizeof minimum_names / sizeof *minimum_names; i++)
		if (strcmp(text, minimum_names[i]) == 0) {
			*minimum = (enum ladder_minimum)i;
			return true;
		}
	return err_set(err, ERR_INVALID, "import-minimum is unwrap, rewrap or create, not \"%s\"", text);
}

/* ---- one rung ---- */

static void remove_leftovers(const struct attempt *attempt, CK_OBJECT_HANDLE key)
{
	uint32_t destroyed;

	if (key != CK_INVALID_HANDLE)
		session_functions(attempt->session)->C_DestroyObject(attempt->session->handle, key);
	(void)!objects_destroy(attempt->session, attempt->request->key_id, &destroyed, NULL);
}

static bool climb(const struct attempt *attempt, const struct rung *rung, struct ladder_result *result, struct err *err)
{
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	struct key_attributes attributes = {0};

	if (!rung->make(attempt, &key, err) || !key_protect(attempt->session, key, &attributes, err) ||
	    !key_prove(attempt->session, key, attempt->request->public_key, err)) {
		remove_leftovers(attempt, key);
		return false;
	}
	*result = (struct ladder_result){rung->name, attributes, key};
	return true;
}

/* ---- the key on the host ---- */

static EVP_PKEY *parse_private_key(const struct host_key *host)
{
	const uint8_t *at = host->der;
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)host->der_len);
	EVP_PKEY *key = info != NULL ? EVP_PKCS82PKEY(info) : NULL;

	PKCS8_PRIV_KEY_INFO_free(info);
	return key;
}

static void forget_host_key(struct host_key *host)
{
	EVP_PKEY_free(host->pkey);
	OPENSSL_secure_clear_free(host->der, host->der_len);
	*host = (struct host_key){0};
}

static bool decrypt_on_host(const struct ladder_request *request, struct host_key *host, struct err *err)
{
	bool same;

	if (!pkcs12_decrypt_key(request->file, &host->der, &host->der_len, err))
		return false;
	host->pkey = parse_private_key(host);
	same = host->pkey != NULL && EVP_PKEY_eq(host->pkey, request->public_key) == 1;
	ERR_clear_error();
	if (host->pkey == NULL)
		return err_set(err, ERR_INVALID, "malformed private key in the PKCS#12 file");
	return same || err_set(err, ERR_INVALID, "the private key in the PKCS#12 file does not belong to its certificate");
}

/* ---- all of them ---- */

static bool token_can_decrypt(const struct ladder_request *request)
{
	return pkcs12_block_bytes(pkcs12_key(request->file)->scheme.cipher) > 0;
}

static void note(struct buf *said, const char *rung, const char *text)
{
	buf_printf(said, "%s%s: %s", said->len > 0 ? "; " : "", rung, text);
}

/* Why no rung was left, with what each of them said. */
static bool give_up(const struct ladder_request *request, struct buf *said, struct err *err)
{
	if (request->minimum == LADDER_CREATE)
		return err_set(err, ERR_UNAVAILABLE,
			       "the token takes the key in no way; let it make one of its own with 'certificate request': %s",
			       buf_text(said));
	return err_set(err, ERR_DENIED, "the token takes the key only by a way that 'hsm import-minimum %s' forbids: %s",
		       minimum_names[request->minimum], buf_text(said));
}

static bool try_rungs(struct attempt *attempt, struct host_key *host, struct ladder_result *result, struct buf *said,
		      struct err *err)
{
	const struct ladder_request *request = attempt->request;
	bool mismatch = false;

	if (!token_can_decrypt(request))
		note(said, "unwrap", "no token mechanism undoes the file's encryption");
	for (size_t i = 0; i < sizeof rungs / sizeof *rungs && rungs[i].minimum <= request->minimum; i++) {
		struct err why;

		if (rungs[i].minimum == LADDER_UNWRAP && !token_can_decrypt(request))
			continue;
		if (rungs[i].minimum > LADDER_UNWRAP && host->der == NULL && !decrypt_on_host(request, host, err))
			return false;
		if (climb(attempt, &rungs[i], result, &why))
			return true;
		mismatch |= why.code == ERR_INTEGRITY;
		note(said, rungs[i].name, why.text);
	}
	if (mismatch && host->der == NULL)
		return err_set(err, ERR_INVALID, "the private key in the PKCS#12 file does not belong to its certificate (%s)",
			       buf_text(said));
	return give_up(request, said, err);
}

bool ladder_import(const struct session *session, const struct ladder_request *request, struct ladder_result *result,
		   struct warnings *warnings, struct err *err)
{
	struct host_key host = {0};
	struct attempt attempt = {session, request, &host};
	struct buf said = {0};
	struct err why;
	bool good = try_rungs(&attempt, &host, result, &said, err);

	forget_host_key(&host);
	buf_clear(&said);
	if (good && !request->session_only && !create_public_key(session, request, &why))
		warnings_add(warnings,
			     "The token did not take the public key object (%s): other PKCS#11 tools may not show the key.",
			     why.text);
	return good;
}
