/*
 * The last look at a signature before it leaves: the octets are parsed afresh, since OpenSSL verifies the object that it
 * has just built over attributes in another order, and since these octets are what goes out.
 */
#include <openssl/cms.h>
#include <openssl/err.h>

#include "hsm/cms/cms_private.h"

static CMS_ContentInfo *parse(struct bytes der)
{
	const unsigned char *at = der.data;
	CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);

	if (cms != NULL && at != der.data + der.len) {
		CMS_ContentInfo_free(cms);
		return NULL;
	}
	return cms;
}

static CMS_SignerInfo *only_signer(CMS_ContentInfo *cms)
{
	STACK_OF(CMS_SignerInfo) * signers;

	if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed || CMS_is_detached(cms) != 1)
		return NULL;
	signers = CMS_get0_SignerInfos(cms);
	return sk_CMS_SignerInfo_num(signers) == 1 ? sk_CMS_SignerInfo_value(signers, 0) : NULL;
}

static bool says_this_digest(CMS_SignerInfo *signer, const struct cms_content *content)
{
	const ASN1_OCTET_STRING *digest =
	    CMS_signed_get0_data_by_OBJ(signer, OBJ_nid2obj(NID_pkcs9_messageDigest), -3, V_ASN1_OCTET_STRING);
	X509_ALGOR *algorithm = NULL;

	CMS_SignerInfo_get0_algs(signer, NULL, NULL, &algorithm, NULL);
	return digest != NULL && algorithm != NULL &&
	       OBJ_obj2nid(algorithm->algorithm) == EVP_MD_get_type(cms_digest(content->algorithm)) &&
	       bytes_equal(bytes_of(ASN1_STRING_get0_data(digest), (size_t)ASN1_STRING_length(digest)), content->digest);
}

static bool is_signed_by(CMS_SignerInfo *signer, X509 *leaf)
{
	if (CMS_SignerInfo_cert_cmp(signer, leaf) != 0)
		return false;
	CMS_SignerInfo_set1_signer_cert(signer, leaf);
	return CMS_SignerInfo_verify(signer) == 1;
}

bool cms_verify(const struct cms_identity *identity, const struct cms_content *content, struct bytes der, struct err *err)
{
	CMS_ContentInfo *cms = parse(der);
	CMS_SignerInfo *signer = cms != NULL ? only_signer(cms) : NULL;
	bool good = signer != NULL && says_this_digest(signer, content) && is_signed_by(signer, identity->leaf);

	CMS_ContentInfo_free(cms);
	ERR_clear_error();
	return good || err_set(err, ERR_INTEGRITY, "the token's signature does not verify with the certificate");
}
