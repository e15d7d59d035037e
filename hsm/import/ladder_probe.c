#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "hsm/import/ladder.h"
#include "hsm/token/object.h"

#define PROBE_ITERATIONS 2048

static const char password[] = "probe"; /* of a key that lives a second */

static X509 *self_sign(EVP_PKEY *key)
{
	X509 *certificate = X509_new();
	bool good = certificate != NULL && X509_set_version(certificate, X509_VERSION_3) == 1 &&
		    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
		    X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL &&
		    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL && X509_set_pubkey(certificate, key) == 1 &&
		    X509_sign(certificate, key, EVP_sha256()) > 0;

	if (!good) {
		X509_free(certificate);
		return NULL;
	}
	return certificate;
}

/* The key as common tools write it: PBES2, PBKDF2 with HMAC-SHA256, AES-256-CBC. */
static struct pkcs12 *as_file(EVP_PKEY *key)
{
	X509 *certificate = self_sign(key);
	PKCS12 *encoded = certificate != NULL ? PKCS12_create(password, NULL, key, certificate, NULL, NID_aes_256_cbc, -1,
							      PROBE_ITERATIONS, PROBE_ITERATIONS, 0)
					      : NULL;
	unsigned char *der = NULL;
	int len = encoded != NULL ? i2d_PKCS12(encoded, &der) : -1;
	struct pkcs12 *file = len > 0 ? pkcs12_parse(bytes_of(der, (size_t)len), bytes_text(password), NULL) : NULL;

	OPENSSL_free(der);
	PKCS12_free(encoded);
	X509_free(certificate);
	return file;
}

static bool try_file(const struct session *session, const struct pkcs12 *file, EVP_PKEY *key, struct ladder_result *result)
{
	struct warnings warnings = {0};
	uint8_t key_id[KEY_ID_BYTES];
	struct ladder_request request = {
	    .file = file, .public_key = key, .label = "inkan probe", .minimum = LADDER_CREATE, .session_only = true};
	uint32_t destroyed;
	bool good;

	if (!session_random(session, key_id, sizeof key_id, NULL))
		return false;
	request.key_id = bytes_of(key_id, sizeof key_id);
	good = ladder_import(session, &request, result, &warnings, NULL);
	warnings_clear(&warnings);
	(void)!objects_destroy(session, request.key_id, &destroyed, NULL);
	return good;
}

const char *ladder_probe(const struct session *session)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	struct pkcs12 *file = key != NULL ? as_file(key) : NULL;
	struct ladder_result result = {0};

	if (file != NULL && !try_file(session, file, key, &result))
		result.rung = NULL;
	pkcs12_free(file);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return result.rung;
}
