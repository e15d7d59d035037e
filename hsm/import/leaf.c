#include "hsm/import/leaf.h"

#include <openssl/x509v3.h>

#include "hsm/import/certificate_chain.h"
#include "hsm/import/certificate_check.h"

static int rank(const struct pkcs12 *file, int index, const char *address)
{
	X509 *certificate = sk_X509_value(pkcs12_certificates(file), index);
	int rank = 0;

	rank += pkcs12_is_linked(file, index) ? 4 : 0;
	rank += (X509_get_extension_flags(certificate) & EXFLAG_CA) == 0 ? 2 : 0;
	rank += certificate_names_address(certificate, address) ? 1 : 0;
	return rank;
}

static int64_t end_of(const X509 *certificate)
{
	return certificate_seconds(X509_get0_notAfter(certificate));
}

X509 *leaf_choose(const struct pkcs12 *file, const char *address)
{
	STACK_OF(X509) *certificates = pkcs12_certificates(file);
	X509 *chosen = NULL;
	int best = -1;

	for (int i = 0; i < sk_X509_num(certificates); i++) {
		X509 *candidate = sk_X509_value(certificates, i);
		int here = rank(file, i, address);

		if (here > best || (here == best && end_of(candidate) > end_of(chosen))) {
			chosen = candidate;
			best = here;
		}
	}
	return chosen;
}
