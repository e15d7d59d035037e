#include "hsm/import/certificate_chain.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <time.h>

int64_t certificate_seconds(const ASN1_TIME *time)
{
	struct tm parts = {0};

	return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : INT64_MIN;
}

char *certificate_name_text(const X509_NAME *name)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *shown = NULL, *text;
	long len;

	X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
	len = BIO_get_mem_data(memory, &shown);
	text = mem_string_n(shown, len > 0 ? (size_t)len : 0);
	BIO_free(memory);
	return text;
}

static bool is_self_signed(X509 *certificate)
{
	return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

static bool is_valid(X509 *certificate, int64_t now)
{
	return certificate_seconds(X509_get0_notBefore(certificate)) <= now &&
	       now <= certificate_seconds(X509_get0_notAfter(certificate));
}

static bool issued(X509 *issuer, X509 *certificate)
{
	EVP_PKEY *key = X509_get0_pubkey(issuer);
	int fit = X509_check_issued(issuer, certificate);

	/* One that may not sign certificates is found here too, so that it is named and not reported as missing. */
	return (fit == X509_V_OK || fit == X509_V_ERR_KEYUSAGE_NO_CERTSIGN) && key != NULL && X509_verify(certificate, key) == 1;
}

/* Cross-signed CAs have several certificates: one that is valid now goes first. */
static X509 *find_issuer(X509 *certificate, STACK_OF(X509) * others, int64_t now)
{
	X509 *found = NULL;

	for (int i = 0; i < sk_X509_num(others); i++) {
		X509 *candidate = sk_X509_value(others, i);

		if (X509_cmp(candidate, certificate) == 0 || !issued(candidate, certificate))
			continue;
		if (found == NULL || (!is_valid(found, now) && is_valid(candidate, now)))
			found = candidate;
	}
	ERR_clear_error();
	return found;
}

static const char *issuer_fault(X509 *issuer, int64_t now, size_t cas_below)
{
	long path_length = X509_get_pathlen(issuer);

	if ((X509_get_key_usage(issuer) & KU_KEY_CERT_SIGN) == 0)
		return "may not sign certificates (key usage)";
	if (X509_check_ca(issuer) != 1)
		return "is not a CA certificate";
	if (path_length >= 0 && (size_t)path_length < cas_below)
		return "allows fewer CAs below it (path length)";
	if (certificate_seconds(X509_get0_notAfter(issuer)) < now)
		return "is expired";
	if (certificate_seconds(X509_get0_notBefore(issuer)) > now)
		return "is not valid yet";
	return NULL;
}

static bool check_issuer(X509 *issuer, int64_t now, size_t cas_below, struct err *err)
{
	const char *fault = issuer_fault(issuer, now, cas_below);
	char *name;

	if (fault == NULL)
		return true;
	name = certificate_name_text(X509_get_subject_name(issuer));
	err_set(err, ERR_INVALID, "the issuer's certificate %s %s", name, fault);
	free(name);
	return false;
}

bool chain_build(X509 *leaf, STACK_OF(X509) * others, int64_t now, struct chain *chain, struct err *err)
{
	struct chain built = {.certificates = {leaf}, .count = 1};

	for (X509 *at = leaf; !is_self_signed(at);) {
		X509 *issuer = find_issuer(at, others, now);

		if (issuer == NULL)
			break;
		if (is_self_signed(issuer)) {
			built.reached_root = true;
			break;
		}
		if (!check_issuer(issuer, now, built.count - 1, err))
			return false;
		if (built.count == CHAIN_MAX_CERTIFICATES)
			return err_set(err, ERR_LIMIT, "the certificate's chain has more than %d certificates",
				       CHAIN_MAX_CERTIFICATES);
		built.certificates[built.count++] = issuer;
		at = issuer;
	}
	*chain = built;
	return true;
}
