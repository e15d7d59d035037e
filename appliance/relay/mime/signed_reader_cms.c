#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "appliance/relay/mime/signed_reader_private.h"

static bool fail(struct err *err, const char *why)
{
	ERR_clear_error();
	return err_set(err, ERR_INTEGRITY, "the signed message does not verify: %s", why);
}

static CMS_SignerInfo *only_signer(CMS_ContentInfo *cms)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);

	return sk_CMS_SignerInfo_num(signers) == 1 ? sk_CMS_SignerInfo_value(signers, 0) : NULL;
}

static bool is_digest_of(CMS_SignerInfo *signer, const EVP_MD *algorithm, struct bytes digest)
{
	ASN1_OCTET_STRING *attribute =
	    CMS_signed_get0_data_by_OBJ(signer, OBJ_nid2obj(NID_pkcs9_messageDigest), -3, V_ASN1_OCTET_STRING);
	X509_ALGOR *used = NULL;

	CMS_SignerInfo_get0_algs(signer, NULL, NULL, &used, NULL);
	return attribute != NULL && used != NULL && OBJ_obj2nid(used->algorithm) == EVP_MD_get_type(algorithm) &&
	       bytes_equal(bytes_of(ASN1_STRING_get0_data(attribute), (size_t)ASN1_STRING_length(attribute)), digest);
}

static bool verify_signer(CMS_SignerInfo *signer, X509 *certificate, const EVP_MD *algorithm, struct bytes digest,
			  struct err *err)
{
	if (signer == NULL)
		return fail(err, "not exactly one signer");
	if (!is_digest_of(signer, algorithm, digest))
		return fail(err, "the signature is over another digest");
	if (CMS_SignerInfo_cert_cmp(signer, certificate) != 0)
		return fail(err, "the signature names another certificate");
	CMS_SignerInfo_set1_signer_cert(signer, certificate);
	return CMS_SignerInfo_verify(signer) == 1 || fail(err, "the signature is not by the certificate's key");
}

static bool verify_parsed(CMS_ContentInfo *cms, X509 *certificate, const EVP_MD *algorithm, struct bytes digest, struct err *err)
{
	if (cms == NULL || OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed)
		return fail(err, "the second part is no SignedData");
	if (certificate == NULL)
		return fail(err, "the certificate cannot be read");
	if (CMS_is_detached(cms) != 1)
		return fail(err, "the signature is not detached");
	return verify_signer(only_signer(cms), certificate, algorithm, digest, err);
}

bool signed_reader_verify_cms(struct bytes der, const EVP_MD *algorithm, struct bytes digest, struct bytes certificate,
			      struct err *err)
{
	const unsigned char *at = der.data, *certificate_at = certificate.data;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);
	X509 *leaf = d2i_X509(NULL, &certificate_at, (long)certificate.len);
	bool whole = cms == NULL || at == der.data + der.len;
	bool fine = whole ? verify_parsed(cms, leaf, algorithm, digest, err) : fail(err, "octets behind the SignedData");

	X509_free(leaf);
	CMS_ContentInfo_free(cms);
	return fine;
}
