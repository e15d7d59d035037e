/* The rules that a certificate must follow to be imported (smime.md §8), one row each. */
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/certificate_check.h"
#include "tests/unit/identity.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"
#define NOW 1795525200 /* 2026-11-24 */
#define DAY 86400

/* A certificate to be; what is NULL or 0 is as a good one has it, "" leaves the extension out. */
struct draft {
	const char *key; /* of test_key(), or "rsapss" */
	const char *names;
	const char *usage, *extended_usage, *constraints;
	const char *unknown; /* value of an extension that nobody knows, critical */
	const char *digest;
	const char *subject;
	int64_t from, to; /* days from NOW */
	bool self_signed;
};

struct authority {
	X509 *certificate;
	EVP_PKEY *key;
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/unit/hsm_certificate_test.c: %s\n", what);
	exit(1);
}

static void extend(X509 *certificate, X509 *issuer, int nid, const char *given, const char *usual)
{
	const char *value = given != NULL ? given : usual;
	X509V3_CTX context;
	X509_EXTENSION *extension;

	if (value == NULL || value[0] == '\0')
		return;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
	X509_EXTENSION_free(extension);
}

/* An extension of an arc of its own: 2.999 is for examples. */
static void extend_unknown(X509 *certificate, const char *value)
{
	ASN1_OBJECT *oid = OBJ_txt2obj("2.999.1", 1);
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	ASN1_OCTET_STRING_set(octets, (const unsigned char *)value, (int)strlen(value));
	extension = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, octets);
	must(X509_add_ext(certificate, extension, -1) == 1, "unknown extension");
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(octets);
	ASN1_OBJECT_free(oid);
}

static EVP_PKEY *key_for(const char *type)
{
	EVP_PKEY_CTX *context;
	EVP_PKEY *key = NULL;

	if (strcmp(type, "rsapss") == 0 || strcmp(type, "secp256k1") == 0) {
		bool pss = strcmp(type, "rsapss") == 0;

		context = EVP_PKEY_CTX_new_from_name(NULL, pss ? "RSA-PSS" : "EC", NULL);
		must(EVP_PKEY_keygen_init(context) == 1 &&
			 (pss ? EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048) : EVP_PKEY_CTX_set_group_name(context, type)) ==
			     1 &&
			 EVP_PKEY_generate(context, &key) == 1,
		     type);
		EVP_PKEY_CTX_free(context);
		return key;
	}
	return test_key(type);
}

/* Keys are slow to make: one of each type a run. */
static EVP_PKEY *cached_key(const char *type)
{
	static struct {
		const char *type;
		EVP_PKEY *key;
	} made[16];
	size_t i = 0;

	while (made[i].type != NULL && strcmp(made[i].type, type) != 0)
		i++;
	must(i < 15, "too many key types");
	if (made[i].type == NULL) {
		made[i].type = type;
		made[i].key = key_for(type);
	}
	return made[i].key;
}

static X509 *make(const struct draft *d, const struct authority *issuer)
{
	EVP_PKEY *key = cached_key(d->key != NULL ? d->key : "p256");
	X509 *certificate = X509_new(), *issuer_certificate = d->self_signed ? certificate : issuer->certificate;
	const char *subject = d->subject != NULL ? d->subject : "山田太郎";

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 0x01ab);
	ASN1_TIME_set(X509_getm_notBefore(certificate), NOW + (d->from != 0 ? d->from : -30) * DAY);
	ASN1_TIME_set(X509_getm_notAfter(certificate), NOW + (d->to != 0 ? d->to : 365) * DAY);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8, (const unsigned char *)subject, -1,
				   -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer_certificate));
	must(X509_set_pubkey(certificate, key) == 1, "public key");
	extend(certificate, issuer_certificate, NID_basic_constraints, d->constraints, "critical,CA:FALSE");
	extend(certificate, issuer_certificate, NID_key_usage, d->usage, "critical,digitalSignature");
	extend(certificate, issuer_certificate, NID_ext_key_usage, d->extended_usage, "clientAuth,emailProtection");
	extend(certificate, issuer_certificate, NID_subject_alt_name, d->names, "email:" ADDRESS);
	if (d->unknown != NULL)
		extend_unknown(certificate, d->unknown);
	must(X509_sign(certificate, d->self_signed ? key : issuer->key,
		       EVP_get_digestbyname(d->digest != NULL ? d->digest : "SHA256")) > 0,
	     "X509_sign");
	return certificate;
}

/* A CA has keys of its own. */
static struct authority make_authority(struct draft d, const struct authority *issuer)
{
	struct authority made = {.key = cached_key(d.key)};

	d.names = d.extended_usage = "";
	d.constraints = d.constraints != NULL ? d.constraints : "critical,CA:TRUE";
	d.usage = d.usage != NULL ? d.usage : "critical,keyCertSign,cRLSign";
	made.certificate = make(&d, issuer);
	return made;
}

static struct authority root, intermediate;

static void set_up(void)
{
	root = make_authority((struct draft){.key = "p384", .subject = "Root", .self_signed = true, .to = 3650}, NULL);
	intermediate = make_authority((struct draft){.key = "rsa2048", .subject = "Intermediate", .to = 200}, &root);
}

static STACK_OF(X509) * stack_of(X509 *const *certificates, size_t count)
{
	STACK_OF(X509) *stack = sk_X509_new_null();

	for (size_t i = 0; i < count; i++)
		sk_X509_push(stack, certificates[i]);
	return stack;
}

static bool check(X509 *leaf, X509 *const *others, size_t count, const char *address, struct certificate_facts *facts,
		  struct warnings *warnings, struct err *err)
{
	STACK_OF(X509) *stack = stack_of(others, count);
	bool good = certificate_check(leaf, stack, address, KEY_PURPOSE_MAIL, NOW, facts, warnings, err);

	sk_X509_free(stack);
	return good;
}

/* ---- the leaf by itself, with its whole chain in the file ---- */

static const struct {
	const char *name;
	struct draft draft;
	const char *address; /* NULL: ADDRESS */
	const char *refusal; /* NULL: accepted */
	const char *warning; /* part of the one warning */
} rows[] = {
    {"as it should be", {0}, NULL, NULL, NULL},

    {"the domain in another case", {.names = "email:taro@EXAMPLE.co.jp"}, NULL, NULL, NULL},
    {"one of several names", {.names = "email:jiro@example.co.jp,DNS:mail.example.co.jp,email:" ADDRESS}, NULL, NULL, NULL},
    {"another address",
     {.names = "email:jiro@example.co.jp"},
     NULL,
     "the certificate is for jiro@example.co.jp, not for taro@example.co.jp",
     NULL},
    {"other addresses",
     {.names = "email:jiro@example.co.jp,email:saburo@example.co.jp"},
     NULL,
     "the certificate is for jiro@example.co.jp and others, not for taro@example.co.jp",
     NULL},
    {"the local part in another case",
     {.names = "email:Taro@example.co.jp"},
     NULL,
     "the certificate names Taro@example.co.jp, which differs from taro@example.co.jp in case: register that address",
     NULL},
    {"a longer domain",
     {.names = "email:" ADDRESS ".evil.example"},
     NULL,
     "the certificate is for taro@example.co.jp.evil.example, not for taro@example.co.jp",
     NULL},
    {"a longer local part",
     {.names = "email:xtaro@example.co.jp"},
     NULL,
     "the certificate is for xtaro@example.co.jp, not for taro@example.co.jp",
     NULL},
    {"a host name alone",
     {.names = "DNS:example.co.jp"},
     NULL,
     "the certificate names no mail address (rfc822Name in subjectAltName)",
     NULL},
    {"no alternative name", {.names = ""}, NULL, "the certificate names no mail address (rfc822Name in subjectAltName)", NULL},
    {"an A-label domain", {.names = "email:taro@xn--wgv71a.jp"}, "taro@XN--wgv71a.jp", NULL, NULL},
    {"a U-label address",
     {.names = "email:taro@xn--wgv71a.jp"},
     "taro@日本.jp",
     "the address must be ASCII: write its domain as the certificate does (xn--…)",
     NULL},

    {"expired", {.from = -400, .to = -1}, NULL, "the certificate expired on 2026-11-23", NULL},
    {"not valid yet", {.from = 2}, NULL, "the certificate is not valid before 2026-11-26", NULL},

    {"any extended usage", {.extended_usage = "anyExtendedKeyUsage"}, NULL, NULL, "anyExtendedKeyUsage alone"},
    {"any and mail", {.extended_usage = "anyExtendedKeyUsage,emailProtection"}, NULL, NULL, NULL},
    {"no extended usage",
     {.extended_usage = ""},
     NULL,
     "the certificate has no extended key usage: readers want emailProtection",
     NULL},
    {"for TLS",
     {.extended_usage = "serverAuth,clientAuth"},
     NULL,
     "the certificate is not for mail: its extended key usage lacks emailProtection",
     NULL},
    {"non-repudiation alone", {.usage = "critical,nonRepudiation"}, NULL, NULL, NULL},
    {"no key usage", {.usage = ""}, NULL, NULL, NULL},
    {"encryption alone",
     {.usage = "critical,keyEncipherment"},
     NULL,
     "the certificate may not sign: its key usage has neither digitalSignature nor nonRepudiation",
     NULL},
    {"a CA", {.constraints = "critical,CA:TRUE"}, NULL, "the certificate is a CA's, not a mail address's", NULL},
    {"no constraints", {.constraints = ""}, NULL, NULL, NULL},
    {"an unknown critical extension", {.unknown = "\x05\x00"}, NULL, NULL, "critical extension"},

    {"RSA-2048", {.key = "rsa2048"}, NULL, NULL, NULL},
    {"RSA-3072", {.key = "rsa3072"}, NULL, NULL, NULL},
    {"P-384", {.key = "p384"}, NULL, NULL, NULL},
    {"RSA-1024", {.key = "rsa1024"}, NULL, "the key is RSA of 1024 bits: at least 2048 are needed", NULL},
    {"RSA-5120", {.key = "rsa5120"}, NULL, "the key is RSA of 5120 bits: readers take at most 4096", NULL},
    {"P-521", {.key = "p521"}, NULL, "the key is EC P-521, whose signatures some readers show as bad: use P-256 or P-384", NULL},
    {"secp256k1",
     {.key = "secp256k1"},
     NULL,
     "the key's curve secp256k1 is not one that mail readers take: use P-256 or P-384",
     NULL},
    {"Ed25519", {.key = "ed25519"}, NULL, "the key is ED25519, which mail readers do not verify: use RSA, P-256 or P-384", NULL},
    {"RSASSA-PSS key",
     {.key = "rsapss"},
     NULL,
     "the key is bound to RSASSA-PSS, which mail readers do not verify: use a plain RSA key",
     NULL},
    {"signed with SHA-1",
     {.digest = "SHA1", .subject = "Old"},
     NULL,
     "the certificate CN=Old is signed with SHA1, which readers reject",
     NULL},
    {"signed with MD5",
     {.digest = "MD5", .subject = "Older"},
     NULL,
     "the certificate CN=Older is signed with MD5, which readers reject",
     NULL},
    {"signed with SHA-512", {.digest = "SHA512"}, NULL, NULL, NULL},
    {"self-signed", {.self_signed = true}, NULL, NULL, "self-signed"},
};

static void check_warnings(const struct warnings *warnings, const char *part)
{
	CHECK_INT(warnings->count, part != NULL ? 1 : 0);
	if (part != NULL && warnings->count > 0)
		CHECK_CONTAINS(warnings->items[0], part);
}

static void every_rule_has_its_refusal(void)
{
	X509 *const others[] = {root.certificate, intermediate.certificate};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		X509 *leaf = make(&rows[i].draft, &intermediate);
		struct certificate_facts facts = {0};
		struct warnings warnings = {0};
		struct err err = {0};
		bool good = check(leaf, others, 2, rows[i].address != NULL ? rows[i].address : ADDRESS, &facts, &warnings, &err);

		test_case("%s", rows[i].name);
		if (rows[i].refusal == NULL) {
			CHECK_OK(good, &err);
			check_warnings(&warnings, rows[i].warning);
		} else {
			CHECK(!good);
			CHECK_TEXT(err.text, rows[i].refusal);
			CHECK_INT(err.code, ERR_INVALID);
			CHECK(facts.chain == NULL);
		}
		certificate_facts_clear(&facts);
		warnings_clear(&warnings);
		X509_free(leaf);
	}
}

/* ---- chains ---- */

static struct bytes der_of(X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509(certificate, &der);

	return bytes_of(der, (size_t)len);
}

static void check_der(struct bytes got, X509 *want)
{
	struct bytes der = der_of(want);

	CHECK_BYTES(got, der);
	OPENSSL_free((void *)der.data);
}

static void facts_tell_all_of_it(void)
{
	X509 *leaf = make(&(struct draft){.key = "rsa2048", .names = "email:" ADDRESS ",email:t@example.co.jp"}, &intermediate);
	X509 *const others[] = {root.certificate, leaf, intermediate.certificate};
	struct certificate_facts facts = {0};
	struct warnings warnings = {0};
	struct err err;

	if (!CHECK_OK(check(leaf, others, 3, ADDRESS, &facts, &warnings, &err), &err))
		return;
	CHECK_INT(facts.n_chain, 2);
	check_der(facts.chain[0], leaf);
	check_der(facts.chain[1], intermediate.certificate);
	CHECK_INT(facts.n_names, 2);
	CHECK_TEXT(facts.names[0], ADDRESS);
	CHECK_TEXT(facts.names[1], "t@example.co.jp");
	CHECK_TEXT(facts.subject, "CN=山田太郎");
	CHECK_TEXT(facts.issuer, "CN=Intermediate");
	CHECK_TEXT(facts.serial, "01ab");
	CHECK_TEXT(facts.key_type, "RSA-2048");
	CHECK_INT(strlen(facts.fingerprint), 64);
	CHECK_INT(facts.not_before, NOW - 30 * DAY);
	CHECK_INT(facts.not_after, NOW + 200 * DAY); /* the intermediate's, which is the earlier one */
	CHECK_INT(warnings.count, 0);
	certificate_facts_clear(&facts);
	warnings_clear(&warnings);
	X509_free(leaf);
}

/* Intermediates that are wrong in one way each; the leaf is good. */
static const struct {
	const char *name;
	struct draft draft;
	const char *refusal;
} issuers[] = {
    {"no CA", {.constraints = "critical,CA:FALSE"}, "the issuer's certificate CN=Second is not a CA certificate"},
    {"may not sign certificates",
     {.usage = "critical,cRLSign"},
     "the issuer's certificate CN=Second may not sign certificates (key usage)"},
    {"expired", {.from = -400, .to = -1}, "the issuer's certificate CN=Second is expired"},
    {"not valid yet", {.from = 1}, "the issuer's certificate CN=Second is not valid yet"},
    {"signed with SHA-1", {.digest = "SHA1"}, "the certificate CN=Second is signed with SHA1, which readers reject"},
};

static void every_issuer_must_be_good(void)
{
	for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++) {
		struct draft draft = issuers[i].draft;
		struct authority second;
		struct certificate_facts facts = {0};
		struct warnings warnings = {0};
		struct err err = {0};
		X509 *leaf, *others[2];

		test_case("%s", issuers[i].name);
		draft.key = "rsa3072";
		draft.subject = "Second";
		second = make_authority(draft, &root);
		leaf = make(&(struct draft){0}, &second);
		others[0] = second.certificate;
		others[1] = root.certificate;
		CHECK(!check(leaf, others, 2, ADDRESS, &facts, &warnings, &err));
		CHECK_TEXT(err.text, issuers[i].refusal);
		warnings_clear(&warnings);
		X509_free(leaf);
		X509_free(second.certificate);
	}
}

static void the_path_length_counts(void)
{
	struct authority upper = make_authority(
	    (struct draft){.key = "rsa2048", .subject = "Upper", .constraints = "critical,CA:TRUE,pathlen:0"}, &root);
	struct authority lower = make_authority((struct draft){.key = "rsa3072", .subject = "Lower"}, &upper);
	X509 *leaf = make(&(struct draft){0}, &lower), *direct = make(&(struct draft){0}, &upper);
	X509 *const others[] = {lower.certificate, upper.certificate};
	struct certificate_facts facts = {0};
	struct warnings warnings = {0};
	struct err err = {0};

	CHECK(!check(leaf, others, 2, ADDRESS, &facts, &warnings, &err));
	CHECK_TEXT(err.text, "the issuer's certificate CN=Upper allows fewer CAs below it (path length)");
	CHECK_OK(check(direct, others, 2, ADDRESS, &facts, &warnings, &err), &err);
	CHECK_INT(facts.n_chain, 2);
	certificate_facts_clear(&facts);
	warnings_clear(&warnings);
	X509_free(leaf);
	X509_free(direct);
	X509_free(lower.certificate);
	X509_free(upper.certificate);
}

static void a_missing_intermediate_is_warned_of(void)
{
	X509 *leaf = make(&(struct draft){0}, &intermediate);
	X509 *const root_alone[] = {root.certificate};
	struct certificate_facts facts = {0};
	struct warnings warnings = {0};
	struct err err;

	if (CHECK_OK(check(leaf, root_alone, 1, ADDRESS, &facts, &warnings, &err), &err))
		CHECK_INT(facts.n_chain, 1);
	check_warnings(&warnings, "does not hold the issuer's certificate (CN=Intermediate)");
	certificate_facts_clear(&facts);
	warnings_clear(&warnings);
	X509_free(leaf);
}

static void a_leaf_of_the_root_needs_no_intermediate(void)
{
	X509 *leaf = make(&(struct draft){0}, &root);
	X509 *const others[] = {root.certificate};
	struct certificate_facts facts = {0};
	struct warnings warnings = {0};
	struct err err;

	if (CHECK_OK(check(leaf, others, 1, ADDRESS, &facts, &warnings, &err), &err))
		CHECK_INT(facts.n_chain, 1);
	CHECK_INT(warnings.count, 0);
	certificate_facts_clear(&facts);
	X509_free(leaf);
}

/* Two certificates of one CA key, as after a renewal or cross-signing: the one that is valid now is taken. */
static void of_two_issuers_the_valid_one_is_taken(void)
{
	struct authority old =
	    make_authority((struct draft){.key = "rsa3072", .subject = "Twice", .from = -800, .to = -10}, &root);
	struct authority new = make_authority((struct draft){.key = "rsa3072", .subject = "Twice", .to = 90}, &root);
	X509 *leaf = make(&(struct draft){0}, &new);
	X509 *const others[] = {old.certificate, new.certificate, root.certificate};
	struct certificate_facts facts = {0};
	struct warnings warnings = {0};
	struct err err;

	if (CHECK_OK(check(leaf, others, 3, ADDRESS, &facts, &warnings, &err), &err))
		check_der(facts.chain[1], new.certificate);
	CHECK_INT(facts.not_after, NOW + 90 * DAY);
	certificate_facts_clear(&facts);
	warnings_clear(&warnings);
	X509_free(leaf);
	X509_free(old.certificate);
	X509_free(new.certificate);
}

/* The name of the CA, but not its key. */
static void a_forged_issuer_is_not_taken(void)
{
	struct authority forged =
	    make_authority((struct draft){.key = "rsa3072", .subject = "Intermediate", .self_signed = true}, NULL);
	X509 *leaf = make(&(struct draft){0}, &intermediate);
	X509 *const others[] = {forged.certificate};
	struct certificate_facts facts = {0};
	struct warnings warnings = {0};
	struct err err;

	if (CHECK_OK(check(leaf, others, 1, ADDRESS, &facts, &warnings, &err), &err))
		CHECK_INT(facts.n_chain, 1);
	check_warnings(&warnings, "does not hold the issuer's certificate");
	certificate_facts_clear(&facts);
	warnings_clear(&warnings);
	X509_free(leaf);
	X509_free(forged.certificate);
}

static void long_chains_are_warned_of_and_limited(void)
{
	static const char *const keys[] = {"rsa2048", "rsa3072"};
	struct authority cas[CHAIN_MAX_CERTIFICATES + 1];
	X509 *others[CHAIN_MAX_CERTIFICATES + 1];
	char padding[1200];
	struct warnings warnings = {0};

	memset(padding, 'x', sizeof padding - 1);
	padding[sizeof padding - 1] = '\0';
	for (size_t i = 0; i < CHAIN_MAX_CERTIFICATES + 1; i++) {
		char *subject = mem_format("CA %zu", i);

		cas[i] = make_authority((struct draft){.key = keys[i % 2], .subject = subject}, i == 0 ? &root : &cas[i - 1]);
		extend(cas[i].certificate, cas[i].certificate, NID_netscape_comment, padding, NULL);
		must(X509_sign(cas[i].certificate, i == 0 ? root.key : cas[i - 1].key, EVP_sha256()) > 0, "X509_sign");
		others[i] = cas[i].certificate;
		free(subject);
	}
	for (size_t depth = CHAIN_MAX_CERTIFICATES - 1; depth <= CHAIN_MAX_CERTIFICATES; depth++) {
		X509 *leaf = make(&(struct draft){0}, &cas[depth - 1]);
		struct certificate_facts facts = {0};
		struct err err = {0};
		bool good = check(leaf, others, CHAIN_MAX_CERTIFICATES + 1, ADDRESS, &facts, &warnings, &err);

		test_case("%zu CAs", depth);
		if (depth < CHAIN_MAX_CERTIFICATES) {
			CHECK_OK(good, &err);
			check_warnings(&warnings, "which every signed mail carries");
		} else {
			CHECK(!good);
			CHECK_TEXT(err.text, "the certificate's chain has more than 10 certificates");
		}
		certificate_facts_clear(&facts);
		X509_free(leaf);
	}
	warnings_clear(&warnings);
	for (size_t i = 0; i < CHAIN_MAX_CERTIFICATES + 1; i++)
		X509_free(cas[i].certificate);
}

int main(void)
{
	set_up();
	TEST(every_rule_has_its_refusal);
	TEST(facts_tell_all_of_it);
	TEST(every_issuer_must_be_good);
	TEST(the_path_length_counts);
	TEST(a_missing_intermediate_is_warned_of);
	TEST(a_leaf_of_the_root_needs_no_intermediate);
	TEST(of_two_issuers_the_valid_one_is_taken);
	TEST(a_forged_issuer_is_not_taken);
	TEST(long_chains_are_warned_of_and_limited);
	X509_free(root.certificate);
	X509_free(intermediate.certificate);
	return test_finish();
}
