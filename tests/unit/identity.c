#include "tests/unit/identity.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALID_SECONDS (30L * 24 * 3600)

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/unit/identity.c: %s\n", what);
	ERR_print_errors_fp(stderr);
	abort();
}

EVP_PKEY *test_key(const char *type)
{
	EVP_PKEY *key;

	if (strncmp(type, "rsa", 3) == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)atoi(type + 3));
	else if (type[0] == 'p')
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC",
					strcmp(type, "p256") == 0   ? "P-256"
					: strcmp(type, "p384") == 0 ? "P-384"
								    : "P-521");
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	must(key != NULL, type);
	return key;
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
	X509_EXTENSION_free(extension);
}

static void set_serial(X509 *certificate)
{
	uint64_t serial = 0;

	must(RAND_bytes((unsigned char *)&serial, sizeof serial) == 1, "serial");
	ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial | 1);
}

static X509 *draft(const char *name, EVP_PKEY *key)
{
	X509 *certificate = X509_new();

	must(certificate != NULL, "X509_new");
	X509_set_version(certificate, X509_VERSION_3);
	set_serial(certificate);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_SECONDS);
	X509_set_pubkey(certificate, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1,
				   0);
	return certificate;
}

static void issue(X509 *certificate, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
	must(X509_sign(certificate, issuer_key, EVP_sha256()) > 0, "X509_sign");
}

static X509 *authority(const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *certificate = draft(name, key);

	add_extension(certificate, issuer != NULL ? issuer : certificate, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(certificate, issuer != NULL ? issuer : certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
	issue(certificate, issuer != NULL ? issuer : certificate, issuer_key);
	return certificate;
}

void test_ca_init(struct test_ca *ca)
{
	ca->key = test_key("p256");
	ca->root = authority("Inkan Test Root", ca->key, NULL, ca->key);
	ca->intermediate_key = test_key("p256");
	ca->intermediate = authority("Inkan Test Intermediate", ca->intermediate_key, ca->root, ca->key);
}

void test_ca_clear(struct test_ca *ca)
{
	EVP_PKEY_free(ca->key);
	X509_free(ca->root);
	EVP_PKEY_free(ca->intermediate_key);
	X509_free(ca->intermediate);
	*ca = (struct test_ca){0};
}

X509 *test_certificate(const struct test_ca *ca, EVP_PKEY *key, const char *address)
{
	X509 *certificate = draft(address, key);
	char *name = mem_format("email:%s", address);

	add_extension(certificate, ca->intermediate, NID_basic_constraints, "critical,CA:FALSE");
	add_extension(certificate, ca->intermediate, NID_key_usage, "critical,digitalSignature");
	add_extension(certificate, ca->intermediate, NID_ext_key_usage, "emailProtection");
	add_extension(certificate, ca->intermediate, NID_subject_alt_name, name);
	issue(certificate, ca->intermediate, ca->intermediate_key);
	free(name);
	return certificate;
}

void test_put_der(struct buf *out, X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);

	must(len > 0, "i2d_X509");
	buf_put(out, der, (size_t)len);
	OPENSSL_free(der);
}

bool test_write_pem(const char *path, X509 *certificate)
{
	FILE *file = fopen(path, "w");
	bool written = file != NULL && PEM_write_X509(file, certificate) == 1;

	return file != NULL && fclose(file) == 0 && written;
}

bool test_write_private_pem(const char *path, EVP_PKEY *key)
{
	FILE *file = fopen(path, "w");
	bool written = file != NULL && PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1;

	return file != NULL && fclose(file) == 0 && written;
}
