#include "hsm/import/certificate_file.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <string.h>

static bool add(STACK_OF(X509) * certificates, X509 *certificate, struct err *err)
{
	if (certificate == NULL)
		return err_set(err, ERR_INVALID, "malformed certificate in the file");
	if (sk_X509_num(certificates) == CERTIFICATE_FILE_MAX_CERTIFICATES) {
		X509_free(certificate);
		return err_set(err, ERR_LIMIT, "the file holds more than %d certificates", CERTIFICATE_FILE_MAX_CERTIFICATES);
	}
	sk_X509_push(certificates, certificate);
	return true;
}

static bool add_pkcs7(STACK_OF(X509) * certificates, PKCS7 *message, struct err *err)
{
	STACK_OF(X509) *held = NULL;
	bool good = message != NULL || err_set(err, ERR_INVALID, "malformed PKCS#7 in the file");

	if (good && PKCS7_type_is_signed(message) && message->d.sign != NULL)
		held = message->d.sign->cert;
	for (int i = 0; good && i < sk_X509_num(held); i++) {
		X509 *certificate = sk_X509_value(held, i);

		X509_up_ref(certificate);
		good = add(certificates, certificate, err);
	}
	PKCS7_free(message);
	return good;
}

/* ---- PEM ---- */

static bool add_block(STACK_OF(X509) * certificates, const char *name, const uint8_t *der, long len, struct err *err)
{
	if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
		return add(certificates, d2i_X509(NULL, &der, len), err);
	if (strcmp(name, PEM_STRING_PKCS7) == 0 || strcmp(name, PEM_STRING_PKCS7_SIGNED) == 0)
		return add_pkcs7(certificates, d2i_PKCS7(NULL, &der, len), err);
	if (strstr(name, "PRIVATE KEY") != NULL)
		return err_set(err, ERR_INVALID,
			       "the file holds a private key: this key was born on the token, give the "
			       "certificates alone");
	return true;
}

static bool read_pem(STACK_OF(X509) * certificates, struct bytes file, struct err *err)
{
	BIO *memory = BIO_new_mem_buf(file.data, (int)file.len);
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	bool good = memory != NULL;
	long len;

	while (good && PEM_read_bio(memory, &name, &header, &der, &len) == 1) {
		good = add_block(certificates, name, der, len, err);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	/* What ends the loop is the end of the file, or a block that is cut or not base64. */
	if (good && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		good = err_set(err, ERR_INVALID, "a PEM block in the file is cut short or is not base64");
	BIO_free(memory);
	return good;
}

/* ---- DER ---- */

static bool read_der(STACK_OF(X509) * certificates, struct bytes file, struct err *err)
{
	const uint8_t *at = file.data;
	X509 *certificate = d2i_X509(NULL, &at, (long)file.len);
	PKCS7 *message;

	if (certificate != NULL)
		return add(certificates, certificate, err);
	at = file.data;
	message = d2i_PKCS7(NULL, &at, (long)file.len);
	if (message != NULL)
		return add_pkcs7(certificates, message, err);
	return err_set(err, ERR_INVALID, "this is not a certificate (PEM, DER or PKCS#7)");
}

static bool is_pem(struct bytes file)
{
	return memmem(file.data, file.len, "-----BEGIN ", 11) != NULL;
}

STACK_OF(X509) * certificate_file_read(struct bytes file, struct err *err)
{
	STACK_OF(X509) *certificates = sk_X509_new_null();
	bool good;

	ERR_clear_error();
	good = (is_pem(file) ? read_pem : read_der)(certificates, file, err);
	if (good && sk_X509_num(certificates) == 0)
		good = err_set(err, ERR_INVALID, "no certificate in the file");
	ERR_clear_error();
	if (good)
		return certificates;
	sk_X509_pop_free(certificates, X509_free);
	return NULL;
}

X509 *certificate_file_find(STACK_OF(X509) * certificates, EVP_PKEY *public_key)
{
	X509 *found = NULL;

	for (int i = 0; i < sk_X509_num(certificates) && found == NULL; i++) {
		X509 *certificate = sk_X509_value(certificates, i);
		EVP_PKEY *key = X509_get0_pubkey(certificate);

		if (key != NULL && EVP_PKEY_eq(key, public_key) == 1)
			found = certificate;
	}
	ERR_clear_error();
	return found;
}
