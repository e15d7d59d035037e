/* Reading PKCS#12 files as tools make them, and refusing the others with a clear reason. */
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/leaf.h"
#include "hsm/import/pkcs12.h"
#include "tests/unit/identity.h"
#include "tests/unit/pkcs12_file.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"

static struct test_ca ca;
static EVP_PKEY *rsa, *ec, *other_key;
static X509 *rsa_certificate, *ec_certificate, *other_certificate;

static void set_up(void)
{
	test_ca_init(&ca);
	rsa = test_key("rsa2048");
	ec = test_key("p256");
	other_key = test_key("p256");
	rsa_certificate = test_certificate(&ca, rsa, ADDRESS);
	ec_certificate = test_certificate(&ca, ec, ADDRESS);
	other_certificate = test_certificate(&ca, other_key, "jiro@example.co.jp");
}

static void tear_down(void)
{
	X509_free(rsa_certificate);
	X509_free(ec_certificate);
	X509_free(other_certificate);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(other_key);
	test_ca_clear(&ca);
}

static bool is_key(const uint8_t *der, size_t len, EVP_PKEY *want)
{
	PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &der, (long)len);
	EVP_PKEY *key = info != NULL ? EVP_PKCS82PKEY(info) : NULL;
	bool same = key != NULL && EVP_PKEY_eq(key, want) == 1;

	PKCS8_PRIV_KEY_INFO_free(info);
	EVP_PKEY_free(key);
	return same;
}

/* What a token does with the bag: CBC with the derived key, padding off at the end. */
static bool decrypts_with_derived_key(const struct pkcs12 *file, EVP_PKEY *want)
{
	const struct pkcs12_key *bag = pkcs12_key(file);
	uint8_t kek[PKCS12_KEK_MAX_BYTES], iv[16], *plain = mem_new(bag->octets.len + 32);
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *cipher = bag->scheme.cipher == PKCS12_CIPHER_DES3_CBC ? EVP_des_ede3_cbc()
				   : bag->scheme.key_bytes == 16		? EVP_aes_128_cbc()
				   : bag->scheme.key_bytes == 24		? EVP_aes_192_cbc()
										: EVP_aes_256_cbc();
	int len = 0, tail = 0;
	struct err err;
	bool good = CHECK_OK(pkcs12_derive(file, kek, iv, &err), &err) && EVP_DecryptInit(context, cipher, kek, iv) == 1 &&
		    EVP_DecryptUpdate(context, plain, &len, bag->octets.data, (int)bag->octets.len) == 1 &&
		    EVP_DecryptFinal(context, plain + len, &tail) == 1 && is_key(plain, (size_t)(len + tail), want);

	EVP_CIPHER_CTX_free(context);
	free(plain);
	return good;
}

static void check_file(struct bytes octets, const char *password, EVP_PKEY *key, enum pkcs12_cipher cipher)
{
	struct err err = {0};
	struct pkcs12 *file = pkcs12_parse(octets, bytes_text(password), &err);
	uint8_t *der = NULL;
	size_t len = 0;

	if (!CHECK_OK(file != NULL, &err))
		return;
	CHECK_INT(pkcs12_key(file)->scheme.cipher, cipher);
	CHECK(EVP_PKEY_eq(X509_get0_pubkey(leaf_choose(file, ADDRESS)), key) == 1);
	if (CHECK_OK(pkcs12_decrypt_key(file, &der, &len, &err), &err))
		CHECK(is_key(der, len, key));
	OPENSSL_secure_clear_free(der, len);
	if (pkcs12_block_bytes(cipher) > 0)
		CHECK(decrypts_with_derived_key(file, key));
	CHECK_INT(ERR_peek_error(), 0);
	pkcs12_free(file);
}

/* ---- what tools make ---- */

static const struct {
	const char *name, *password, *options;
	enum pkcs12_cipher cipher;
} files[] = {
    {"OpenSSL's default: PBES2 AES-256, SHA-256", "secret", NULL, PKCS12_CIPHER_AES_CBC},
    {"AES-128, MAC SHA-1", "secret", "-keypbe AES-128-CBC -certpbe AES-128-CBC -macalg sha1", PKCS12_CIPHER_AES_CBC},
    {"AES-192, MAC SHA-512", "secret", "-keypbe AES-192-CBC -certpbe AES-192-CBC -macalg sha512", PKCS12_CIPHER_AES_CBC},
    {"PBES2 with 3DES", "secret", "-keypbe DES-EDE3-CBC -certpbe DES-EDE3-CBC", PKCS12_CIPHER_DES3_CBC},
    {"legacy: RC2-40 certificates, 3DES key", "secret", "-legacy", PKCS12_CIPHER_DES3_CBC},
    {"3DES throughout", "secret", "-keypbe PBE-SHA1-3DES -certpbe PBE-SHA1-3DES -macalg sha1", PKCS12_CIPHER_DES3_CBC},
    {"RC2-40 key", "secret", "-legacy -keypbe PBE-SHA1-RC2-40", PKCS12_CIPHER_OTHER},
    {"RC2-128 key", "secret", "-legacy -keypbe PBE-SHA1-RC2-128 -certpbe PBE-SHA1-RC2-128", PKCS12_CIPHER_OTHER},
    {"RC4-128 key", "secret", "-legacy -keypbe PBE-SHA1-RC4-128", PKCS12_CIPHER_OTHER},
    {"two-key 3DES", "secret", "-keypbe PBE-SHA1-2DES -certpbe PBE-SHA1-3DES", PKCS12_CIPHER_OTHER},
    {"key not encrypted", "secret", "-keypbe NONE", PKCS12_CIPHER_NONE},
    {"certificates not encrypted", "secret", "-certpbe NONE", PKCS12_CIPHER_AES_CBC},
    {"with a friendly name", "secret", "-name '太郎'", PKCS12_CIPHER_AES_CBC},
    {"one iteration", "secret", "-iter 1", PKCS12_CIPHER_AES_CBC},
    {"many iterations", "secret", "-iter 100000", PKCS12_CIPHER_AES_CBC},
    {"empty password", "", NULL, PKCS12_CIPHER_AES_CBC},
    {"empty password, legacy", "", "-legacy", PKCS12_CIPHER_DES3_CBC},
    {"Japanese password", "日本語の暗証", NULL, PKCS12_CIPHER_AES_CBC},
    {"Japanese password, legacy", "日本語の暗証", "-legacy", PKCS12_CIPHER_DES3_CBC},
    {"outside the BMP, legacy", "\xf0\xa0\xae\xb7", "-legacy", PKCS12_CIPHER_DES3_CBC},
    {"long password", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789", "-legacy",
     PKCS12_CIPHER_DES3_CBC},
};

static void what_tools_make_is_read(void)
{
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		for (int curve = 0; curve < 2; curve++) {
			EVP_PKEY *key = curve ? ec : rsa;
			struct pkcs12_recipe recipe = {key,
						       curve ? ec_certificate : rsa_certificate,
						       {ca.intermediate, ca.root},
						       files[i].password,
						       files[i].options};
			struct buf der = {0}, ber = {0};

			pkcs12_make(&der, &recipe);
			pkcs12_make_ber(&ber, buf_bytes(&der));
			test_case("%s, %s", files[i].name, curve ? "P-256" : "RSA-2048");
			check_file(buf_bytes(&der), files[i].password, key, files[i].cipher);
			test_case("%s, %s, BER", files[i].name, curve ? "P-256" : "RSA-2048");
			CHECK(ber.len > der.len);
			check_file(buf_bytes(&ber), files[i].password, key, files[i].cipher);
			buf_clear(&der);
			buf_clear(&ber);
		}
}

static void all_certificates_are_there_once(void)
{
	struct pkcs12_recipe recipe = {rsa, rsa_certificate, {ca.intermediate, ca.root, ca.intermediate}, "secret", NULL};
	struct pkcs12 *file;
	struct buf der = {0};
	struct err err;

	pkcs12_make(&der, &recipe);
	file = pkcs12_parse(buf_bytes(&der), bytes_text("secret"), &err);
	if (!CHECK_OK(file != NULL, &err))
		return;
	CHECK_INT(sk_X509_num(pkcs12_certificates(file)), 3);
	for (int i = 0; i < 3; i++)
		CHECK_INT(pkcs12_is_linked(file, i), X509_cmp(sk_X509_value(pkcs12_certificates(file), i), rsa_certificate) == 0);
	pkcs12_free(file);
	buf_clear(&der);
}

/* ---- made by hand ---- */

struct made {
	STACK_OF(PKCS12_SAFEBAG) * bags;
};

static void add_certificate(struct made *made, X509 *certificate)
{
	PKCS12_add_cert(&made->bags, certificate);
}

static void add_key(struct made *made, EVP_PKEY *key)
{
	PKCS12_add_key(&made->bags, key, 0, 100, NID_aes_256_cbc, "secret");
}

static void add_key_with_prf(struct made *made, EVP_PKEY *key, int prf, int iterations)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	X509_ALGOR *algorithm = PKCS5_pbe2_set_iv(EVP_aes_256_cbc(), iterations, NULL, 0, NULL, prf);
	X509_SIG *encrypted = PKCS8_set0_pbe("secret", 6, info, algorithm);

	if (made->bags == NULL)
		made->bags = sk_PKCS12_SAFEBAG_new_null();
	sk_PKCS12_SAFEBAG_push(made->bags, PKCS12_SAFEBAG_create0_pkcs8(encrypted));
	PKCS8_PRIV_KEY_INFO_free(info);
}

static void put_tagged(struct buf *out, uint8_t tag, const struct buf *content)
{
	uint8_t header[8], *at = header;

	ASN1_put_object(&at, 0, (int)content->len, tag & 0x1f, tag & 0xc0);
	header[0] = tag;
	buf_put(out, header, (size_t)(at - header));
	buf_put_bytes(out, buf_bytes(content));
}

/* RFC 7292 §4.2.6: SafeContents of one bag that holds the SafeContents given. */
static void nest(struct buf *contents)
{
	struct buf tagged = {0}, bag = {0}, outer = {0};

	buf_put(&bag, "\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x06", 13);
	put_tagged(&tagged, 0xa0, contents);
	buf_put_bytes(&bag, buf_bytes(&tagged));
	put_tagged(&outer, 0x30, &bag);
	buf_reset(contents);
	put_tagged(contents, 0x30, &outer);
	buf_clear(&tagged);
	buf_clear(&bag);
	buf_clear(&outer);
}

static PKCS7 *safe_of(struct made *made, int depth)
{
	struct buf contents = {0};
	unsigned char *der = NULL;
	int len = ASN1_item_i2d((ASN1_VALUE *)made->bags, &der, ASN1_ITEM_rptr(PKCS12_SAFEBAGS));
	PKCS7 *safe = PKCS7_new();

	buf_put(&contents, der, len > 0 ? (size_t)len : 0);
	for (int i = 0; i < depth; i++)
		nest(&contents);
	PKCS7_set_type(safe, NID_pkcs7_data);
	ASN1_OCTET_STRING_set(safe->d.data, contents.data, (int)contents.len);
	OPENSSL_free(der);
	buf_clear(&contents);
	return safe;
}

/* One unencrypted SafeContents of the bags, in `depth` others, with a MAC of `iterations` unless 0. */
static void finish_nested(struct made *made, int depth, int iterations, struct buf *out)
{
	STACK_OF(PKCS7) *safes = sk_PKCS7_new_null();
	unsigned char *der = NULL;
	PKCS12 *file;
	int len;

	sk_PKCS7_push(safes, safe_of(made, depth));
	file = PKCS12_add_safes(safes, 0);
	if (iterations > 0)
		PKCS12_set_mac(file, "secret", 6, NULL, 0, iterations, EVP_sha256());
	len = i2d_PKCS12(file, &der);
	buf_put(out, der, len > 0 ? (size_t)len : 0);
	OPENSSL_free(der);
	PKCS12_free(file);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	sk_PKCS12_SAFEBAG_pop_free(made->bags, PKCS12_SAFEBAG_free);
	made->bags = NULL;
}

static void finish(struct made *made, int iterations, struct buf *out)
{
	finish_nested(made, 0, iterations, out);
}

static void nested_contents_are_read_to_a_limit(void)
{
	for (int depth = 1; depth <= PKCS12_MAX_NESTING + 1; depth++) {
		struct made made = {0};
		struct buf octets = {0};
		struct err err = {0};

		test_case("depth %d", depth);
		add_key(&made, ec);
		add_certificate(&made, ec_certificate);
		finish_nested(&made, depth, 1, &octets);
		if (depth <= PKCS12_MAX_NESTING) {
			check_file(buf_bytes(&octets), "secret", ec, PKCS12_CIPHER_AES_CBC);
		} else {
			CHECK(pkcs12_parse(buf_bytes(&octets), bytes_text("secret"), &err) == NULL);
			CHECK_TEXT(err.text, "the PKCS#12 file nests its contents too deeply");
		}
		buf_clear(&octets);
	}
}

static void too_many_certificates_are_refused(void)
{
	struct made made = {0};
	struct buf octets = {0};
	struct err err = {0};

	for (int i = 0; i <= PKCS12_MAX_CERTIFICATES; i++) {
		X509 *certificate = test_certificate(&ca, ec, ADDRESS);

		add_certificate(&made, certificate);
		X509_free(certificate);
	}
	finish(&made, 1, &octets);
	CHECK(pkcs12_parse(buf_bytes(&octets), bytes_text("secret"), &err) == NULL);
	CHECK_TEXT(err.text, "the PKCS#12 file holds more than 64 certificates");
	buf_clear(&octets);
}

static void every_prf_is_read(void)
{
	static const struct {
		const char *name;
		int nid;
		enum pkcs12_cipher cipher;
	} prfs[] = {
	    {"SHA-1", NID_hmacWithSHA1, PKCS12_CIPHER_AES_CBC},	    {"SHA-224", NID_hmacWithSHA224, PKCS12_CIPHER_AES_CBC},
	    {"SHA-256", NID_hmacWithSHA256, PKCS12_CIPHER_AES_CBC}, {"SHA-384", NID_hmacWithSHA384, PKCS12_CIPHER_AES_CBC},
	    {"SHA-512", NID_hmacWithSHA512, PKCS12_CIPHER_AES_CBC}, {"SHA-512/256", NID_hmacWithSHA512_256, PKCS12_CIPHER_OTHER},
	};

	for (size_t i = 0; i < sizeof prfs / sizeof *prfs; i++) {
		struct made made = {0};
		struct buf file = {0};

		test_case("HMAC-%s", prfs[i].name);
		add_key_with_prf(&made, rsa, prfs[i].nid, 1000);
		add_certificate(&made, rsa_certificate);
		finish(&made, 1000, &file);
		check_file(buf_bytes(&file), "secret", rsa, prfs[i].cipher);
		buf_clear(&file);
	}
}

/* Two certificates without a link to the key: a CA's, and of the others the one that names the address. */
static void the_leaf_is_found_without_a_link(void)
{
	struct made made = {0};
	struct pkcs12 *file;
	struct buf octets = {0};
	struct err err;

	add_certificate(&made, ca.intermediate);
	add_certificate(&made, other_certificate);
	add_certificate(&made, ec_certificate);
	add_key(&made, ec);
	finish(&made, 1000, &octets);
	file = pkcs12_parse(buf_bytes(&octets), bytes_text("secret"), &err);
	if (!CHECK_OK(file != NULL, &err))
		return;
	CHECK(X509_cmp(leaf_choose(file, ADDRESS), ec_certificate) == 0);
	CHECK(X509_cmp(leaf_choose(file, "jiro@example.co.jp"), other_certificate) == 0);
	pkcs12_free(file);
	buf_clear(&octets);
}

/* ---- refusals ---- */

static void build_good(struct buf *out)
{
	struct made made = {0};

	add_key(&made, ec);
	add_certificate(&made, ec_certificate);
	finish(&made, 1, out);
}

static void build_text(struct buf *out)
{
	buf_put_text(out, "This is a letter.");
}

static void build_pem(struct buf *out)
{
	buf_put_text(out, "\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
}

static void build_certificate(struct buf *out)
{
	test_put_der(out, ec_certificate);
}

static void build_cut(struct buf *out)
{
	buf_put(out, "\x30\x82\x03\xe4\x02\x01\x03\x30", 8);
	while (out->len < 100)
		buf_put_byte(out, 0x30);
}

static void build_nothing(struct buf *out)
{
	buf_reset(out);
}

static void build_large(struct buf *out)
{
	buf_reserve(out, PKCS12_MAX_BYTES + 1);
	while (out->len <= PKCS12_MAX_BYTES)
		buf_put_byte(out, 0x30);
}

static void build_without_key(struct buf *out)
{
	struct made made = {0};

	add_certificate(&made, ec_certificate);
	finish(&made, 100, out);
}

static void build_without_certificate(struct buf *out)
{
	struct made made = {0};

	add_key(&made, ec);
	finish(&made, 100, out);
}

static void build_two_keys(struct buf *out)
{
	struct made made = {0};

	add_key(&made, ec);
	add_key(&made, other_key);
	add_certificate(&made, ec_certificate);
	finish(&made, 100, out);
}

static void build_without_mac(struct buf *out)
{
	struct made made = {0};

	add_key(&made, ec);
	add_certificate(&made, ec_certificate);
	finish(&made, 0, out);
}

static const struct {
	const char *name;
	void (*build)(struct buf *out);
	const char *password;
	enum err_code code;
	const char *text;
} refusals[] = {
    {"a text", build_text, "secret", ERR_INVALID,
     "this is not a PKCS#12 file (.p12, .pfx), or a damaged one: copy or export it again"},
    {"nothing", build_nothing, "secret", ERR_INVALID,
     "this is not a PKCS#12 file (.p12, .pfx), or a damaged one: copy or export it again"},
    {"a certificate", build_certificate, "secret", ERR_INVALID,
     "this is not a PKCS#12 file (.p12, .pfx), or a damaged one: copy or export it again"},
    {"PEM", build_pem, "secret", ERR_INVALID,
     "this is a PEM file, not a PKCS#12 file (.p12, .pfx): export certificate and key as PKCS#12"},
    {"too large", build_large, "secret", ERR_LIMIT, "the PKCS#12 file has more than 1048576 bytes"},
    {"wrong password", build_good, "Secret", ERR_DENIED, "wrong password of the PKCS#12 file"},
    {"empty password", build_good, "", ERR_DENIED, "wrong password of the PKCS#12 file"},
    {"password that is not UTF-8", build_good, "\xff\xfe", ERR_DENIED, "wrong password of the PKCS#12 file"},
    {"no key", build_without_key, "secret", ERR_INVALID,
     "no private key in the PKCS#12 file: export the certificate together with its key"},
    {"no certificate", build_without_certificate, "secret", ERR_INVALID,
     "no certificate in the PKCS#12 file: export the key together with its certificate"},
    {"two keys", build_two_keys, "secret", ERR_INVALID,
     "the PKCS#12 file holds 2 private keys: export one certificate with its key alone"},
    {"no MAC", build_without_mac, "secret", ERR_INVALID,
     "the PKCS#12 file has no MAC, so that its password cannot be checked: export it with a password"},
    {"cut short", build_cut, "secret", ERR_INVALID,
     "the PKCS#12 file is cut short (100 of 1000 octets): copy it again, in binary mode"},
};

static void others_are_refused_with_the_reason(void)
{
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		struct buf octets = {0};
		struct err err = {0};

		test_case("%s", refusals[i].name);
		refusals[i].build(&octets);
		CHECK(pkcs12_parse(buf_bytes(&octets), bytes_text(refusals[i].password), &err) == NULL);
		CHECK_TEXT(err.text, refusals[i].text);
		CHECK_INT(err.code, refusals[i].code);
		buf_clear(&octets);
	}
}

static void too_many_iterations_are_refused(void)
{
	static const int most = PKCS12_MAX_ITERATIONS;
	struct made made = {0};
	struct buf octets = {0};
	PKCS12 *file = PKCS12_create("secret", NULL, ec, ec_certificate, NULL, 0, 0, 1, -1, 0);
	unsigned char *der = NULL;
	struct err err = {0};
	int len;

	test_case("MAC");
	PKCS12_setup_mac(file, most + 1, NULL, 0, EVP_sha256());
	len = i2d_PKCS12(file, &der);
	CHECK(pkcs12_parse(bytes_of(der, (size_t)len), bytes_text("secret"), &err) == NULL);
	CHECK_TEXT(err.text, "the file asks for more than 10000000 iterations of its MAC");
	CHECK_INT(err.code, ERR_LIMIT);
	OPENSSL_free(der);
	PKCS12_free(file);

	test_case("key");
	add_key_with_prf(&made, ec, NID_hmacWithSHA1, most + 1);
	add_certificate(&made, ec_certificate);
	finish(&made, 1, &octets);
	CHECK(pkcs12_parse(buf_bytes(&octets), bytes_text("secret"), &err) == NULL);
	CHECK_TEXT(err.text, "the file asks for more than 10000000 iterations of its key derivation");
	CHECK_INT(err.code, ERR_LIMIT);
	buf_clear(&octets);
}

/* ---- PBMAC1, which OpenSSL 3.0 does not make ---- */

static void put_tlv(struct buf *out, uint8_t tag, struct bytes content)
{
	struct buf copy = {0};

	buf_put_bytes(&copy, content);
	put_tagged(out, tag, &copy);
	buf_clear(&copy);
}

static void put_number(struct buf *out, unsigned number)
{
	ASN1_INTEGER *integer = ASN1_INTEGER_new();
	uint8_t octets[16], *at = octets;

	ASN1_INTEGER_set(integer, (long)number);
	buf_put(out, octets, (size_t)i2d_ASN1_INTEGER(integer, &at));
	ASN1_INTEGER_free(integer);
}

static void put_algorithm(struct buf *out, int nid, const struct buf *parameters)
{
	uint8_t oid[32], *at = oid;
	struct buf both = {0};

	buf_put(&both, oid, (size_t)i2d_ASN1_OBJECT(OBJ_nid2obj(nid), &at));
	if (parameters != NULL)
		buf_put_bytes(&both, buf_bytes(parameters));
	put_tagged(out, 0x30, &both);
	buf_clear(&both);
}

/* AlgorithmIdentifier of PBMAC1: RFC 9579 §4. */
static void put_pbmac1(struct buf *out, int prf, int hmac, unsigned iterations, unsigned key_bytes)
{
	struct buf kdf = {0}, kdf_sequence = {0}, both = {0}, sequence = {0};

	put_tlv(&kdf, V_ASN1_OCTET_STRING, bytes_text("salty"));
	put_number(&kdf, iterations);
	if (key_bytes > 0)
		put_number(&kdf, key_bytes);
	put_algorithm(&kdf, prf, NULL);
	put_tagged(&kdf_sequence, 0x30, &kdf);
	put_algorithm(&both, NID_id_pbkdf2, &kdf_sequence);
	put_algorithm(&both, hmac, NULL);
	put_tagged(&sequence, 0x30, &both);
	put_algorithm(out, NID_pbmac1, &sequence);
	buf_clear(&kdf);
	buf_clear(&kdf_sequence);
	buf_clear(&both);
	buf_clear(&sequence);
}

static void mac_of(struct buf *out, struct bytes contents, const char *password, const EVP_MD *prf, const EVP_MD *digest,
		   unsigned iterations, unsigned key_bytes)
{
	uint8_t key[64], mac[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const uint8_t *)"salty", 5, (int)iterations, prf, (int)key_bytes,
			  key);
	HMAC(digest, key, (int)key_bytes, contents.data, contents.len, mac, &len);
	put_tlv(out, V_ASN1_OCTET_STRING, bytes_of(mac, len));
}

/* The header of SEQUENCE { INTEGER 3, SEQUENCE { OID data, [0] { OCTET STRING contents } } } before `contents` ends the file. */
static struct bytes contents_of(struct bytes file)
{
	const uint8_t *at = file.data;
	long len = 0;
	int tag, class;

	for (int step = 0; step < 6; step++) { /* into, over, into, over, into, into */
		ASN1_get_object(&at, &len, &tag, &class, file.data + file.len - at);
		at += step == 1 || step == 3 ? len : 0;
	}
	return bytes_of(at, (size_t)len);
}

static void build_pbmac1(struct buf *out, const char *password, int sha, int hmac, unsigned iterations, unsigned key_bytes)
{
	const EVP_MD *digest = sha == 256 ? EVP_sha256() : EVP_sha512();
	struct made made = {0};
	struct buf plain = {0}, info = {0}, data = {0}, all = {0}, info_sequence = {0};
	struct bytes rest;
	const uint8_t *at;
	long len = 0;
	int tag, class;

	add_key(&made, ec);
	add_certificate(&made, ec_certificate);
	finish(&made, 0, &plain);
	put_pbmac1(&info, hmac, hmac, iterations, key_bytes);
	mac_of(&info, contents_of(buf_bytes(&plain)), password, digest, digest, iterations, key_bytes);
	put_tagged(&info_sequence, 0x30, &info);
	buf_put_bytes(&data, buf_bytes(&info_sequence));
	put_tlv(&data, V_ASN1_OCTET_STRING, bytes_text("not used"));
	put_number(&data, 1);
	at = plain.data;
	ASN1_get_object(&at, &len, &tag, &class, (long)plain.len);
	rest = bytes_of(at, (size_t)len);
	buf_put_bytes(&all, rest);
	put_tagged(&all, 0x30, &data);
	put_tagged(out, 0x30, &all);
	buf_clear(&plain);
	buf_clear(&info);
	buf_clear(&info_sequence);
	buf_clear(&data);
	buf_clear(&all);
}

static void refuse_pbmac1(const struct buf *file, const char *password, enum err_code code, const char *text)
{
	struct err err = {0};

	CHECK(pkcs12_parse(buf_bytes(file), bytes_text(password), &err) == NULL);
	CHECK_INT(err.code, code);
	CHECK_TEXT(err.text, text);
}

static void pbmac1_is_checked(void)
{
	static const int hmacs[] = {NID_hmacWithSHA256, NID_hmacWithSHA512};
	struct buf file = {0}, ber = {0};

	for (size_t i = 0; i < 2; i++) {
		test_case("HMAC %zu", i);
		build_pbmac1(&file, "secret", i == 0 ? 256 : 512, hmacs[i], 2048, 32);
		check_file(buf_bytes(&file), "secret", ec, PKCS12_CIPHER_AES_CBC);
		CHECK_INT(pkcs12_mac_iterations(buf_bytes(&file)), 2048);
		pkcs12_make_ber(&ber, buf_bytes(&file));
		check_file(buf_bytes(&ber), "secret", ec, PKCS12_CIPHER_AES_CBC);
		refuse_pbmac1(&file, "Secret", ERR_DENIED, "wrong password of the PKCS#12 file");
		file.data[file.len / 2] ^= 1;
		refuse_pbmac1(&file, "secret", ERR_DENIED, "wrong password of the PKCS#12 file");
		buf_clear(&file);
		buf_clear(&ber);
	}
	test_case("no length of the key");
	build_pbmac1(&file, "secret", 256, NID_hmacWithSHA256, 1, 0);
	refuse_pbmac1(&file, "secret", ERR_INVALID, "malformed PBMAC1 parameters in the PKCS#12 file");
	buf_clear(&file);
	test_case("a short key");
	build_pbmac1(&file, "secret", 256, NID_hmacWithSHA256, 1, 16);
	refuse_pbmac1(&file, "secret", ERR_INVALID, "malformed PBMAC1 parameters in the PKCS#12 file");
	buf_clear(&file);
	test_case("another hash");
	build_pbmac1(&file, "secret", 256, NID_hmacWithMD5, 1, 32);
	refuse_pbmac1(&file, "secret", ERR_INVALID, "the file's PBMAC1 uses a hash that is not known here");
	buf_clear(&file);
	test_case("too many iterations");
	build_pbmac1(&file, "secret", 256, NID_hmacWithSHA256, PKCS12_MAX_ITERATIONS + 1, 0);
	refuse_pbmac1(&file, "secret", ERR_LIMIT, "the file asks for more than 10000000 iterations of its MAC");
	buf_clear(&file);
}

static void a_long_password_is_refused(void)
{
	struct bytes password = bytes_of(mem_new(5000), 5000);
	struct buf octets = {0};
	struct err err = {0};

	build_good(&octets);
	CHECK(pkcs12_parse(buf_bytes(&octets), password, &err) == NULL);
	CHECK_INT(err.code, ERR_LIMIT);
	free((void *)password.data);
	buf_clear(&octets);
}

static void every_cut_is_refused(void)
{
	struct buf octets = {0};
	struct err err = {0};

	build_good(&octets);
	for (size_t len = 0; len < octets.len; len++) {
		struct bytes cut = bytes_of(mem_copy(octets.data, len), len); /* so that a sanitizer sees an over-read */

		test_case("first %zu octets", len);
		CHECK(pkcs12_parse(cut, bytes_text("secret"), &err) == NULL);
		free((void *)cut.data);
	}
	buf_clear(&octets);
}

/* The MAC covers the contents; what is outside it may change without harm, but never into another key. */
static void every_changed_octet_is_refused_or_harmless(void)
{
	struct buf octets = {0};
	unsigned refused = 0;

	build_good(&octets);
	for (size_t i = 0; i < octets.len; i++) {
		struct err err = {0};
		struct pkcs12 *file;
		uint8_t *der = NULL;
		size_t len = 0;

		octets.data[i] ^= 0x41;
		test_case("octet %zu", i);
		file = pkcs12_parse(buf_bytes(&octets), bytes_text("secret"), &err);
		refused += file == NULL;
		CHECK(file != NULL || err.text[0] != '\0');
		if (file != NULL && CHECK_OK(pkcs12_decrypt_key(file, &der, &len, &err), &err))
			CHECK(is_key(der, len, ec));
		OPENSSL_secure_clear_free(der, len);
		pkcs12_free(file);
		octets.data[i] ^= 0x41;
	}
	CHECK(refused > octets.len * 9 / 10);
	buf_clear(&octets);
}

int main(void)
{
	set_up();
	TEST(what_tools_make_is_read);
	TEST(all_certificates_are_there_once);
	TEST(every_prf_is_read);
	TEST(nested_contents_are_read_to_a_limit);
	TEST(too_many_certificates_are_refused);
	TEST(the_leaf_is_found_without_a_link);
	TEST(others_are_refused_with_the_reason);
	TEST(too_many_iterations_are_refused);
	TEST(pbmac1_is_checked);
	TEST(a_long_password_is_refused);
	TEST(every_cut_is_refused);
	TEST(every_changed_octet_is_refused_or_harmless);
	tear_down();
	return test_finish();
}
