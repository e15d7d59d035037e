#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/generate.h"
#include "hsm/token/proof.h"

#define CN_MAX_CHARACTERS 64 /* ub-common-name, RFC 5280 appendix A */

static bool add_subject(X509_REQ *request, const char *name)
{
	X509_NAME *subject = X509_REQ_get_subject_name(request);

	return strlen(name) > CN_MAX_CHARACTERS ||
	       X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, (const uint8_t *)name, -1, -1, 0) == 1;
}

static bool add_name(GENERAL_NAMES *names, int type, const char *name)
{
	GENERAL_NAME *one = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	if (names == NULL || one == NULL || text == NULL || ASN1_STRING_set(text, name, -1) != 1) {
		GENERAL_NAME_free(one);
		ASN1_IA5STRING_free(text);
		return false;
	}
	GENERAL_NAME_set0_value(one, type, text);
	if (sk_GENERAL_NAME_push(names, one) > 0)
		return true;
	GENERAL_NAME_free(one);
	return false;
}

static GENERAL_NAMES *alternative_names(const struct request_task *task)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	bool good = add_name(names, task->purpose == KEY_PURPOSE_TLS ? GEN_DNS : GEN_EMAIL, task->name);

	for (size_t i = 0; good && i < task->n_dns_names; i++)
		good = add_name(names, GEN_DNS, task->dns_names[i]);
	if (good)
		return names;
	GENERAL_NAMES_free(names);
	return NULL;
}

static bool add_extensions(X509_REQ *request, const struct request_task *task)
{
	GENERAL_NAMES *names = alternative_names(task);
	EXTENDED_KEY_USAGE *extended = sk_ASN1_OBJECT_new_null();
	ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
	STACK_OF(X509_EXTENSION) *extensions = NULL;
	bool good = names != NULL && extended != NULL && usage != NULL;

	good = good &&
	       sk_ASN1_OBJECT_push(extended,
				   OBJ_nid2obj(task->purpose == KEY_PURPOSE_TLS ? NID_server_auth : NID_email_protect)) > 0 &&
	       ASN1_BIT_STRING_set_bit(usage, 0, 1) == 1 && /* digitalSignature */
	       X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, 0) == 1 &&
	       X509V3_add1_i2d(&extensions, NID_key_usage, usage, 1, 0) == 1 &&
	       X509V3_add1_i2d(&extensions, NID_ext_key_usage, extended, 0, 0) == 1 &&
	       X509_REQ_add_extensions(request, extensions) == 1;
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	ASN1_BIT_STRING_free(usage);
	sk_ASN1_OBJECT_free(extended); /* the objects are static */
	GENERAL_NAMES_free(names);
	return good;
}

static bool set_signature(X509_REQ *request, EVP_PKEY *public_key, const uint8_t *octets, size_t len)
{
	bool ec = EVP_PKEY_is_a(public_key, "EC") == 1;
	ASN1_BIT_STRING *signature = ASN1_BIT_STRING_new();
	X509_ALGOR *algorithm = X509_ALGOR_new();
	bool good = signature != NULL && algorithm != NULL && ASN1_STRING_set(signature, octets, (int)len) == 1;

	if (good) {
		signature->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
		signature->flags |= ASN1_STRING_FLAG_BITS_LEFT; /* no unused bits */
		X509_ALGOR_set0(algorithm, OBJ_nid2obj(ec ? NID_ecdsa_with_SHA256 : NID_sha256WithRSAEncryption),
				ec ? V_ASN1_UNDEF : V_ASN1_NULL, NULL);
		good = X509_REQ_set1_signature_algo(request, algorithm) == 1;
	}
	if (good) {
		X509_REQ_set0_signature(request, signature);
		signature = NULL;
	}
	ASN1_BIT_STRING_free(signature);
	X509_ALGOR_free(algorithm);
	return good;
}

static bool sign(const struct session *session, const struct generated_key *key, X509_REQ *request, struct err *err)
{
	uint8_t signature[KEY_SIGNATURE_MAX_BYTES];
	unsigned char *text = NULL;
	int text_len = i2d_re_X509_REQ_tbs(request, &text);
	size_t len = 0;
	bool good = text_len > 0 || err_set(err, ERR_INTERNAL, "the certificate request cannot be encoded");

	good = good && key_sign(session, key->key, key->public_key, bytes_of(text, (size_t)text_len), signature, &len, err);
	OPENSSL_free(text);
	if (!good)
		return false;
	if (!set_signature(request, key->public_key, signature, len) || X509_REQ_verify(request, key->public_key) != 1)
		return err_set(err, ERR_INTEGRITY, "the token's signature of the certificate request does not verify");
	return true;
}

static void put_der(struct buf *der, X509_REQ *request)
{
	unsigned char *octets = NULL;
	int len = i2d_X509_REQ(request, &octets);

	if (len > 0)
		buf_put(der, octets, (size_t)len);
	OPENSSL_free(octets);
}

bool csr_make(const struct session *session, const struct generated_key *key, const struct request_task *task, struct buf *der,
	      struct err *err)
{
	X509_REQ *request = X509_REQ_new();
	bool good = request != NULL && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
		    add_subject(request, task->name) && X509_REQ_set_pubkey(request, key->public_key) == 1 &&
		    add_extensions(request, task);

	if (!good)
		err_set(err, ERR_INVALID, "no certificate request can be made for \"%s\"", task->name);
	good = good && sign(session, key, request, err);
	if (good)
		put_der(der, request);
	X509_REQ_free(request);
	ERR_clear_error();
	return good;
}
