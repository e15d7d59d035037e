#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hsm/cms/cms_private.h"
#include "hsm/cms/der.h"
#include "tests/unit/identity.h"
#include "tests/unit/test.h"

static const char content_text[] = "Content-Type: text/plain; charset=us-ascii\r\n\r\nHello, \r\nworld\r\n";

static struct test_ca ca;
static const char *directory;

struct signer {
	EVP_PKEY *key;
	unsigned calls;
	bool corrupt; /* one bit of the signature is wrong */
	bool refuse;
	EVP_PKEY *other; /* signs with this key instead */
};

static bool set_up_signing(EVP_PKEY_CTX *context, const struct signer *signer, enum sign_digest algorithm, bool pss)
{
	const EVP_MD *digest = algorithm == SIGN_SHA256 ? EVP_sha256() : algorithm == SIGN_SHA384 ? EVP_sha384() : EVP_sha512();

	if (EVP_PKEY_sign_init(context) != 1 || EVP_PKEY_CTX_set_signature_md(context, digest) != 1)
		return false;
	if (!EVP_PKEY_is_a(signer->key, "RSA"))
		return true;
	return EVP_PKEY_CTX_set_rsa_padding(context, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1 &&
	       (!pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
}

static bool sign_in_software(void *arg, enum sign_digest algorithm, bool pss, struct bytes text, struct buf *signature,
			     struct err *err)
{
	struct signer *signer = arg;
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(signer->other != NULL ? signer->other : signer->key, NULL);
	const EVP_MD *md = algorithm == SIGN_SHA256 ? EVP_sha256() : algorithm == SIGN_SHA384 ? EVP_sha384() : EVP_sha512();
	uint8_t out[1024], digest[SIGN_DIGEST_MAX_BYTES];
	size_t len = sizeof out;
	bool done;

	signer->calls++;
	done = !signer->refuse && set_up_signing(context, signer, algorithm, pss) &&
	       EVP_Digest(text.data, text.len, digest, NULL, md, NULL) == 1 &&
	       EVP_PKEY_sign(context, out, &len, digest, sign_digest_bytes(algorithm)) == 1;
	EVP_PKEY_CTX_free(context);
	if (!done)
		return err_set(err, ERR_UNAVAILABLE, "the token is away");
	out[len / 2] ^= signer->corrupt ? 1 : 0;
	buf_put(signature, out, len);
	return true;
}

static struct cms_identity *identity_of(EVP_PKEY *key, struct err *err)
{
	X509 *certificate = test_certificate(&ca, key, "taro@example.co.jp");
	struct buf leaf = {0}, intermediate = {0}, root = {0};
	struct cms_identity *identity;

	test_put_der(&leaf, certificate);
	test_put_der(&intermediate, ca.intermediate);
	test_put_der(&root, ca.root);
	/* As a careless PKCS#12 might have it: the leaf repeated, the root at the end. */
	identity = cms_identity_new(
	    (struct bytes[]){buf_bytes(&leaf), buf_bytes(&leaf), buf_bytes(&intermediate), buf_bytes(&root)}, 4, err);
	buf_clear(&leaf);
	buf_clear(&intermediate);
	buf_clear(&root);
	X509_free(certificate);
	return identity;
}

static struct cms_content content_of(enum sign_digest algorithm, bool pss, uint8_t digest[static SIGN_DIGEST_MAX_BYTES])
{
	static const char *const names[] = {[SIGN_SHA256] = "SHA256", [SIGN_SHA384] = "SHA384", [SIGN_SHA512] = "SHA512"};

	EVP_Q_digest(NULL, names[algorithm], NULL, content_text, sizeof content_text - 1, digest, NULL);
	return (struct cms_content){.algorithm = algorithm,
				    .digest = bytes_of(digest, sign_digest_bytes(algorithm)),
				    .signing_time = 1795525569,
				    .pss = pss};
}

/* `openssl cms -verify` is another program with its own reading of the standard. */
static bool openssl_verifies(struct bytes der, const char *text)
{
	char *cms = mem_format("%s/signature.der", directory);
	char *content = mem_format("%s/content", directory);
	char *root = mem_format("%s/root.pem", directory);
	char *command = mem_format("OPENSSL_CONF=/dev/null openssl cms -verify -binary -inform DER -in %s -content %s -CAfile %s "
				   "-purpose smimesign -out %s.out >/dev/null 2>%s.err",
				   cms, content, root, content, content);
	bool good = test_write_file(cms, der) && test_write_file(content, bytes_text(text)) && test_write_pem(root, ca.root) &&
		    system(command) == 0;

	free(cms);
	free(content);
	free(root);
	free(command);
	return good;
}

struct key_case {
	const char *type;
	enum sign_digest algorithm;
	bool pss;
};

static const struct key_case key_cases[] = {
    {"rsa2048", SIGN_SHA256, false}, {"rsa2048", SIGN_SHA384, false}, {"rsa2048", SIGN_SHA512, false},
    {"rsa2048", SIGN_SHA256, true},  {"rsa2048", SIGN_SHA384, true},  {"rsa2048", SIGN_SHA512, true},
    {"rsa3072", SIGN_SHA256, false}, {"rsa4096", SIGN_SHA256, false}, {"rsa4096", SIGN_SHA512, true},
    {"p256", SIGN_SHA256, false},    {"p384", SIGN_SHA384, false},    {"p384", SIGN_SHA256, false},
};

static void every_key_type_gives_a_signature_that_openssl_verifies(void)
{
	for (size_t i = 0; i < sizeof key_cases / sizeof key_cases[0]; i++) {
		const struct key_case *row = &key_cases[i];
		struct signer signer = {.key = test_key(row->type)};
		uint8_t digest[SIGN_DIGEST_MAX_BYTES];
		struct cms_content content = content_of(row->algorithm, row->pss, digest);
		struct buf der = {0};
		struct err err = {0};
		struct cms_identity *identity;

		test_case("%s %s%s", row->type, sign_digest_micalg(row->algorithm), row->pss ? " pss" : "");
		identity = identity_of(signer.key, &err);
		if (CHECK_OK(identity != NULL, &err) &&
		    CHECK_OK(cms_sign(identity, &content, sign_in_software, &signer, &der, &err), &err)) {
			CHECK_INT(signer.calls, 1);
			CHECK(openssl_verifies(buf_bytes(&der), content_text));
			CHECK(!openssl_verifies(buf_bytes(&der), "another text\r\n"));
			CHECK_INT(ERR_peek_error(), 0);
		}
		buf_clear(&der);
		cms_identity_free(identity);
		EVP_PKEY_free(signer.key);
	}
}

/* Signs with a fresh P-256 key unless given; the caller frees the result. */
static CMS_ContentInfo *signed_and_parsed(const char *type, bool pss, int64_t signing_time, struct buf *der)
{
	struct signer signer = {.key = test_key(type)};
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	struct cms_content content = content_of(SIGN_SHA256, pss, digest);
	struct cms_identity *identity = identity_of(signer.key, NULL);
	const unsigned char *at;
	struct err err = {0};

	content.signing_time = signing_time;
	CHECK_OK(cms_sign(identity, &content, sign_in_software, &signer, der, &err), &err);
	cms_identity_free(identity);
	EVP_PKEY_free(signer.key);
	at = der->data;
	return d2i_CMS_ContentInfo(NULL, &at, (long)der->len);
}

static void attributes_are_the_ones_of_the_profile_in_der_order(void)
{
	static const int wanted[] = {NID_pkcs9_contentType, NID_pkcs9_signingTime, NID_pkcs9_messageDigest,
				     NID_id_smime_aa_signingCertificateV2};
	struct buf der = {0};
	CMS_ContentInfo *cms = signed_and_parsed("p256", false, 1795525569, &der);
	CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
	const ASN1_UTCTIME *time = CMS_signed_get0_data_by_OBJ(signer, OBJ_nid2obj(NID_pkcs9_signingTime), -3, V_ASN1_UTCTIME);

	CHECK_INT(CMS_signed_get_attr_count(signer), 4);
	for (int i = 0; i < CMS_signed_get_attr_count(signer) && i < 4; i++) {
		test_case("attribute %d", i);
		CHECK_INT(OBJ_obj2nid(X509_ATTRIBUTE_get0_object(CMS_signed_get_attr(signer, i))), wanted[i]);
	}
	if (CHECK(time != NULL))
		CHECK_BYTES(bytes_of(ASN1_STRING_get0_data(time), (size_t)ASN1_STRING_length(time)), bytes_text("261124130609Z"));
	CMS_ContentInfo_free(cms);
	buf_clear(&der);
}

static void signing_time_may_be_left_out(void)
{
	struct buf der = {0};
	CMS_ContentInfo *cms = signed_and_parsed("p256", false, 0, &der);
	CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);

	CHECK_INT(CMS_signed_get_attr_count(signer), 3);
	CHECK_INT(CMS_signed_get_attr_by_NID(signer, NID_pkcs9_signingTime, -1), -1);
	CHECK(openssl_verifies(buf_bytes(&der), content_text));
	CMS_ContentInfo_free(cms);
	buf_clear(&der);
}

static void holds_leaf_and_intermediate_but_no_root(void)
{
	struct buf der = {0}, root = {0}, intermediate = {0};
	CMS_ContentInfo *cms = signed_and_parsed("rsa2048", false, 0, &der);
	STACK_OF(X509) *certificates = CMS_get1_certs(cms);

	test_put_der(&root, ca.root);
	test_put_der(&intermediate, ca.intermediate);
	CHECK_INT(sk_X509_num(certificates), 2);
	CHECK(memmem(der.data, der.len, root.data, root.len) == NULL);
	CHECK(memmem(der.data, der.len, intermediate.data, intermediate.len) != NULL);
	CHECK(CMS_get1_crls(cms) == NULL);
	sk_X509_pop_free(certificates, X509_free);
	CMS_ContentInfo_free(cms);
	buf_clear(&der);
	buf_clear(&root);
	buf_clear(&intermediate);
}

static struct buf algorithm_of(CMS_ContentInfo *cms, bool digest)
{
	CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
	X509_ALGOR *digest_algorithm, *signature_algorithm;
	unsigned char *der = NULL;
	struct buf out = {0};
	int len;

	CMS_SignerInfo_get0_algs(signer, NULL, NULL, &digest_algorithm, &signature_algorithm);
	len = i2d_X509_ALGOR(digest ? digest_algorithm : signature_algorithm, &der);
	buf_put(&out, der, (size_t)len);
	OPENSSL_free(der);
	return out;
}

static void algorithm_identifiers_are_exact(void)
{
	static const struct {
		const char *name, *type;
		bool pss, digest;
		const char *der;
	} cases[] = {
	    {"digest: SHA-256 without parameters", "p256", false, true, "300b0609608648016503040201"},
	    {"RSA: rsaEncryption with NULL", "rsa2048", false, false, "300d06092a864886f70d0101010500"},
	    {"ECDSA: ecdsa-with-SHA256 without parameters", "p256", false, false, "300a06082a8648ce3d040302"},
	    {"PSS: hash, MGF1 hash and salt spelt out", "rsa2048", true, false,
	     "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d0609608648016503"
	     "0402010500a203020120"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf der = {0}, want = {0}, got;
		CMS_ContentInfo *cms = signed_and_parsed(cases[i].type, cases[i].pss, 0, &der);

		test_case("%s", cases[i].name);
		got = algorithm_of(cms, cases[i].digest);
		CHECK(hex_decode(&want, cases[i].der, NULL));
		CHECK_BYTES(buf_bytes(&got), buf_bytes(&want));
		CMS_ContentInfo_free(cms);
		buf_clear(&der);
		buf_clear(&want);
		buf_clear(&got);
	}
}

/* DER has one encoding: what is parsed and written again must be the same octets. */
static void the_result_is_der(void)
{
	struct buf der = {0};
	CMS_ContentInfo *cms = signed_and_parsed("rsa2048", false, 1795525569, &der);
	unsigned char *again = NULL;
	int len = i2d_CMS_ContentInfo(cms, &again);

	CHECK_BYTES(bytes_of(again, len > 0 ? (size_t)len : 0), buf_bytes(&der));
	CHECK(der.len > 4 && der.data[0] == 0x30 && der.data[1] == 0x82); /* definite length */
	OPENSSL_free(again);
	CMS_ContentInfo_free(cms);
	buf_clear(&der);
}

static void a_wrong_signature_never_leaves(void)
{
	static const char *const types[] = {"rsa2048", "p256"};

	for (size_t i = 0; i < 2; i++) {
		struct signer signer = {.key = test_key(types[i]), .corrupt = true};
		uint8_t digest[SIGN_DIGEST_MAX_BYTES];
		struct cms_content content = content_of(SIGN_SHA256, false, digest);
		struct cms_identity *identity = identity_of(signer.key, NULL);
		struct buf der = {0};
		struct err err = {0};

		test_case("%s, one bit wrong", types[i]);
		CHECK(!cms_sign(identity, &content, sign_in_software, &signer, &der, &err));
		CHECK_INT(err.code, ERR_INTEGRITY);
		CHECK_INT(der.len, 0);
		test_case("%s, another key", types[i]);
		signer.corrupt = false;
		signer.other = test_key(types[i]);
		CHECK(!cms_sign(identity, &content, sign_in_software, &signer, &der, &err));
		CHECK_INT(err.code, ERR_INTEGRITY);
		CHECK_INT(der.len, 0);
		EVP_PKEY_free(signer.other);
		cms_identity_free(identity);
		EVP_PKEY_free(signer.key);
	}
}

/* Nothing in a SignedData is free to be otherwise: not one bit. */
static void every_altered_octet_is_found(void)
{
	static const char *const types[] = {"rsa2048", "p256"};

	for (size_t i = 0; i < 2; i++) {
		struct signer signer = {.key = test_key(types[i])};
		uint8_t digest[SIGN_DIGEST_MAX_BYTES];
		struct cms_content content = content_of(SIGN_SHA256, false, digest);
		struct cms_identity *identity = identity_of(signer.key, NULL);
		struct buf der = {0};
		struct err err = {0};

		CHECK_OK(cms_sign(identity, &content, sign_in_software, &signer, &der, &err), &err);
		for (size_t at = 0; at < der.len; at++) {
			for (unsigned bit = 1; bit < 256; bit <<= 3) {
				test_case("%s: octet %zu, bit %u", types[i], at, bit);
				der.data[at] ^= (uint8_t)bit;
				CHECK(!cms_verify(identity, &content, buf_bytes(&der), NULL));
				der.data[at] ^= (uint8_t)bit;
			}
			test_case("%s: first %zu octets", types[i], at);
			CHECK(!cms_verify(identity, &content, bytes_of(der.data, at), NULL));
		}
		test_case("%s: unaltered", types[i]);
		CHECK(cms_verify(identity, &content, buf_bytes(&der), NULL));
		content.algorithm = SIGN_SHA384;
		CHECK(!cms_verify(identity, &content, buf_bytes(&der), NULL));
		content.algorithm = SIGN_SHA256;
		digest[3] ^= 1;
		CHECK(!cms_verify(identity, &content, buf_bytes(&der), NULL));
		buf_put_byte(&der, 0);
		CHECK(!cms_verify(identity, &content, buf_bytes(&der), NULL));
		buf_clear(&der);
		cms_identity_free(identity);
		EVP_PKEY_free(signer.key);
	}
}

static void the_reader_takes_der_alone(void)
{
	static const struct {
		const char *name, *hex;
		bool good;
	} cases[] = {
	    {"empty value", "0400", true},
	    {"one octet", "0401ff", true},
	    {"nothing", "", false},
	    {"tag alone", "04", false},
	    {"another tag", "0501ff", false},
	    {"cut contents", "0402ff", false},
	    {"something behind it", "0401ff00", false},
	    {"indefinite length", "0480ff0000", false},
	    {"long form of a short length", "048101ff", false},
	    {"length with a leading zero", "04820001ff", false},
	    {"length cut", "0482ff", false},
	    {"length of four octets", "048400000001ff", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf octets = {0};
		struct der der;

		test_case("%s", cases[i].name);
		CHECK(hex_decode(&octets, cases[i].hex, NULL));
		der = der_of(buf_bytes(&octets));
		(void)der_octets(&der, DER_OCTET_STRING);
		CHECK_INT(der_end(&der), cases[i].good);
		buf_clear(&octets);
	}
}

static void the_signers_own_error_is_handed_through(void)
{
	struct signer signer = {.key = test_key("p256"), .refuse = true};
	uint8_t digest[SIGN_DIGEST_MAX_BYTES];
	struct cms_content content = content_of(SIGN_SHA256, false, digest);
	struct cms_identity *identity = identity_of(signer.key, NULL);
	struct buf der = {0};
	struct err err = {0};

	CHECK(!cms_sign(identity, &content, sign_in_software, &signer, &der, &err));
	CHECK_INT(err.code, ERR_UNAVAILABLE);
	CHECK_TEXT(err.text, "the token is away");
	cms_identity_free(identity);
	EVP_PKEY_free(signer.key);
}

static void bad_content_is_refused_before_the_key_is_used(void)
{
	struct signer signer = {.key = test_key("p256")};
	uint8_t digest[SIGN_DIGEST_MAX_BYTES] = {0};
	const struct cms_content cases[] = {
	    {SIGN_SHA256, bytes_of(digest, 31), 0, false},	  {SIGN_SHA256, bytes_of(digest, 48), 0, false},
	    {(enum sign_digest)0, bytes_of(digest, 0), 0, false}, {(enum sign_digest)9, bytes_of(digest, 32), 0, false},
	    {SIGN_SHA256, bytes_of(digest, 32), 0, true}, /* PSS with an EC key */
	};
	struct cms_identity *identity = identity_of(signer.key, NULL);

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct buf der = {0};
		struct err err = {0};

		test_case("content %zu", i);
		CHECK(!cms_sign(identity, &cases[i], sign_in_software, &signer, &der, &err));
		CHECK_INT(err.code, ERR_INVALID);
	}
	CHECK_INT(signer.calls, 0);
	cms_identity_free(identity);
	EVP_PKEY_free(signer.key);
}

static void keys_that_readers_fail_on_are_refused(void)
{
	static const char *const types[] = {"p521", "ed25519", "rsa1024"};

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		EVP_PKEY *key = test_key(types[i]);
		struct err err = {0};
		struct cms_identity *identity;

		test_case("%s", types[i]);
		identity = identity_of(key, &err);
		CHECK(identity == NULL);
		CHECK_INT(err.code, ERR_INVALID);
		CHECK_CONTAINS(err.text, "do not sign mail");
		cms_identity_free(identity);
		EVP_PKEY_free(key);
	}
}

static void malformed_certificates_are_refused(void)
{
	EVP_PKEY *key = test_key("p256");
	X509 *certificate = test_certificate(&ca, key, "taro@example.co.jp");
	struct buf leaf = {0};
	struct bytes chain[2];
	struct err err;

	test_put_der(&leaf, certificate);
	CHECK(cms_identity_new(chain, 0, &err) == NULL);
	CHECK_INT(err.code, ERR_INVALID);
	for (size_t len = 0; len < leaf.len; len += 7) {
		test_case("first %zu octets", len);
		chain[0] = bytes_of(leaf.data, len);
		CHECK(cms_identity_new(chain, 1, &err) == NULL);
		CHECK_INT(err.code, ERR_INVALID);
	}
	test_case("octets behind it");
	buf_put_byte(&leaf, 0);
	chain[0] = buf_bytes(&leaf);
	CHECK(cms_identity_new(chain, 1, &err) == NULL);
	test_case("garbage behind the leaf");
	leaf.len--;
	chain[0] = buf_bytes(&leaf);
	chain[1] = bytes_text("garbage");
	CHECK(cms_identity_new(chain, 2, &err) == NULL);
	buf_clear(&leaf);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

int main(void)
{
	test_ca_init(&ca);
	directory = test_directory();
	TEST(every_key_type_gives_a_signature_that_openssl_verifies);
	TEST(attributes_are_the_ones_of_the_profile_in_der_order);
	TEST(signing_time_may_be_left_out);
	TEST(holds_leaf_and_intermediate_but_no_root);
	TEST(algorithm_identifiers_are_exact);
	TEST(the_result_is_der);
	TEST(a_wrong_signature_never_leaves);
	TEST(every_altered_octet_is_found);
	TEST(the_reader_takes_der_alone);
	TEST(the_signers_own_error_is_handed_through);
	TEST(bad_content_is_refused_before_the_key_is_used);
	TEST(keys_that_readers_fail_on_are_refused);
	TEST(malformed_certificates_are_refused);
	test_ca_clear(&ca);
	return test_finish();
}
