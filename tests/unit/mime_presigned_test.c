/* "Already signed" is believed only when the structure proves it (smime.md §10). */
#include "appliance/relay/mime/presigned.h"

#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/mime_support.h"

static const char *const names[] = {"no", "smime", "pgp", "cms"};

/* Base64 of real CMS objects, made at start. */
static char *detached, *attached, *enveloped;

static X509 *make_certificate(EVP_PKEY *key)
{
	X509 *certificate = X509_new();

	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1,
				   0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_set_pubkey(certificate, key);
	X509_sign(certificate, key, EVP_sha256());
	return certificate;
}

static char *lines_of(CMS_ContentInfo *cms)
{
	struct buf text = {0}, lines = {0};
	uint8_t *der = NULL;
	int len = i2d_CMS_ContentInfo(cms, &der);
	char *result;

	if (CHECK(len > 0))
		base64_encode(&text, bytes_of(der, (size_t)len));
	for (size_t i = 0; i < text.len; i += 64) {
		buf_put_bytes(&lines, bytes_slice(buf_bytes(&text), i, i + 64));
		buf_put_text(&lines, "\r\n");
	}
	result = bytes_string(buf_bytes(&lines));
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	buf_clear(&text);
	buf_clear(&lines);
	return result;
}

static void make_cms(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = make_certificate(key);
	BIO *content = BIO_new_mem_buf("Content-Type: text/plain\r\n\r\nx", -1);
	STACK_OF(X509) *readers = sk_X509_new_null();

	detached = lines_of(CMS_sign(certificate, key, NULL, content, CMS_DETACHED | CMS_BINARY));
	(void)BIO_reset(content);
	attached = lines_of(CMS_sign(certificate, key, NULL, content, CMS_BINARY));
	(void)BIO_reset(content);
	sk_X509_push(readers, certificate);
	enveloped = lines_of(CMS_encrypt(readers, content, EVP_aes_128_cbc(), CMS_BINARY));
	sk_X509_free(readers);
	BIO_free(content);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* ---- multipart/signed ---- */

#define SMIME_PARAMETERS "protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s"
#define PGP_PARAMETERS "protocol=\"application/pgp-signature\"; micalg=pgp-sha256; boundary=s"
#define P7S "Content-Type: application/pkcs7-signature; name=smime.p7s\r\n"
#define B64 "Content-Transfer-Encoding: base64\r\n"
#define PGP "Content-Type: application/pgp-signature\r\n"
#define ARMOUR "-----BEGIN PGP SIGNATURE-----\r\n\r\niQEz\r\n-----END PGP SIGNATURE-----\r\n"

/* NULL members are the usual ones; `body` %D and %A stand for a detached and an attached CMS. */
static const struct {
	const char *name, *parameters, *second, *body, *end;
	enum mime_presigned presigned;
} multiparts[] = {
    {"S/MIME", NULL, NULL, NULL, NULL, MIME_PRESIGNED_SMIME},
    {"x- in both", "protocol=\"application/x-pkcs7-signature\"; micalg=sha1; boundary=s",
     "Content-Type: application/x-pkcs7-signature\r\n" B64, NULL, NULL, MIME_PRESIGNED_SMIME},
    {"x- in one", "protocol=\"application/x-pkcs7-signature\"; micalg=sha1; boundary=s", NULL, NULL, NULL, MIME_PRESIGNED_SMIME},
    {"folded, other case", "PROTOCOL=Application/PKCS7-Signature;\r\n MicAlg=\"sha-256\";\r\n\tboundary=\"s\"",
     "content-transfer-encoding: BASE64\r\nCONTENT-TYPE:\r\n Application/PKCS7-Signature\r\n", NULL, NULL, MIME_PRESIGNED_SMIME},
    {"text behind the end", NULL, NULL, NULL, "--s--\r\nlist footer\r\n", MIME_PRESIGNED_SMIME},
    {"PGP", PGP_PARAMETERS, PGP, ARMOUR, NULL, MIME_PRESIGNED_PGP},
    {"PGP, blank lines first", PGP_PARAMETERS, PGP "Content-Description: x\r\n", "\r\n" ARMOUR, NULL, MIME_PRESIGNED_PGP},

    {"no protocol", "micalg=sha-256; boundary=s", NULL, NULL, NULL, MIME_PRESIGNED_NO},
    {"no micalg", "protocol=\"application/pkcs7-signature\"; boundary=s", NULL, NULL, NULL, MIME_PRESIGNED_NO},
    {"unknown protocol", "protocol=\"application/signature\"; micalg=sha-256; boundary=s", NULL, NULL, NULL, MIME_PRESIGNED_NO},
    {"protocol of another kind", PGP_PARAMETERS, NULL, NULL, NULL, MIME_PRESIGNED_NO},
    {"two boundaries", SMIME_PARAMETERS "; boundary=t", NULL, NULL, NULL, MIME_PRESIGNED_NO},
    {"second part of another type", NULL, "Content-Type: application/octet-stream; name=smime.p7s\r\n" B64, NULL, NULL,
     MIME_PRESIGNED_NO},
    {"second part without a type", NULL, B64, NULL, NULL, MIME_PRESIGNED_NO},
    {"second part with two types", NULL, P7S P7S B64, NULL, NULL, MIME_PRESIGNED_NO},
    {"second part not base64", NULL, P7S, NULL, NULL, MIME_PRESIGNED_NO},
    {"second part with a line that is no field", NULL, P7S B64 "no field\r\n", NULL, NULL, MIME_PRESIGNED_NO},
    {"empty signature", NULL, NULL, "", NULL, MIME_PRESIGNED_NO},
    {"signature that is text", NULL, NULL, "bm90IGEgc2lnbmF0dXJl\r\n", NULL, MIME_PRESIGNED_NO},
    {"signature that is no base64", NULL, NULL, "*****\r\n", NULL, MIME_PRESIGNED_NO},
    {"content inside the signature", NULL, NULL, "%A", NULL, MIME_PRESIGNED_NO},
    {"encrypted for a signature", NULL, NULL, "%E", NULL, MIME_PRESIGNED_NO},
    {"a third part", NULL, NULL, NULL, "--s\r\n\r\nthird\r\n--s--\r\n", MIME_PRESIGNED_NO},
    {"not closed", NULL, NULL, NULL, "", MIME_PRESIGNED_NO},
    {"PGP without its armour", PGP_PARAMETERS, PGP, "iQEz\r\n", NULL, MIME_PRESIGNED_NO},
    {"PGP armour of a message", PGP_PARAMETERS, PGP, "-----BEGIN PGP MESSAGE-----\r\n", NULL, MIME_PRESIGNED_NO},
    {"PGP armour in an S/MIME part", NULL, P7S, ARMOUR, NULL, MIME_PRESIGNED_NO},
};

static const char *filled(const char *body)
{
	if (body == NULL || strcmp(body, "%D") == 0)
		return detached;
	if (strcmp(body, "%A") == 0)
		return attached;
	return strcmp(body, "%E") == 0 ? enveloped : body;
}

static void check_presigned(const char *message, enum mime_presigned want)
{
	static const size_t sizes[] = {1, 100, FEED_WHOLE};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct mime_scan *scan = scan_in_pieces(bytes_text(message), sizes[i]);

		CHECK_TEXT(names[mime_scan_presigned(scan)], names[want]);
		mime_scan_free(scan);
	}
}

static void multiparts_must_prove_it(void)
{
	for (size_t i = 0; i < sizeof multiparts / sizeof *multiparts; i++) {
		const char *parameters = multiparts[i].parameters, *second = multiparts[i].second, *end = multiparts[i].end;
		char *message = mem_format("From: a@b\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; %s\r\n\r\n"
					   "--s\r\nContent-Type: text/plain\r\n\r\nx\r\n--s\r\n%s\r\n%s\r\n%s",
					   parameters != NULL ? parameters : SMIME_PARAMETERS, second != NULL ? second : P7S B64,
					   filled(multiparts[i].body), end != NULL ? end : "--s--\r\n");

		test_case("%s", multiparts[i].name);
		check_presigned(message, multiparts[i].presigned);
		free(message);
	}
}

static void place_matters(void)
{
	char *nested = mem_format(
		 "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/signed; " SMIME_PARAMETERS
		 "\r\n\r\n--s\r\n\r\nx\r\n--s\r\n" P7S B64 "\r\n%s\r\n--s--\r\n--m--\r\n",
		 detached),
	     *twice = mem_format("Content-Type: multipart/signed; " SMIME_PARAMETERS
				 "\r\nContent-Type: multipart/signed; " SMIME_PARAMETERS "\r\n\r\n--s\r\n\r\nx\r\n--s\r\n" P7S B64
				 "\r\n%s\r\n--s--\r\n",
				 detached),
	     *first = mem_format("Content-Type: multipart/signed; " SMIME_PARAMETERS "\r\n\r\n--s\r\n" P7S B64
				 "\r\n%s\r\n--s\r\n\r\nx\r\n--s--\r\n",
				 detached),
	     *mixed = mem_format("Content-Type: multipart/mixed; " SMIME_PARAMETERS "\r\n\r\n--s\r\n\r\nx\r\n--s\r\n" P7S B64
				 "\r\n%s\r\n--s--\r\n",
				 detached);

	test_case("nested");
	check_presigned(nested, MIME_PRESIGNED_NO);
	test_case("two Content-Type fields");
	check_presigned(twice, MIME_PRESIGNED_NO);
	test_case("signature first");
	check_presigned(first, MIME_PRESIGNED_NO);
	test_case("multipart/mixed");
	check_presigned(mixed, MIME_PRESIGNED_NO);
	free(nested);
	free(twice);
	free(first);
	free(mixed);
}

static void long_signatures_prove_nothing(void)
{
	struct buf message = {0};

	buf_put_text(&message,
		     "Content-Type: multipart/signed; " SMIME_PARAMETERS "\r\n\r\n--s\r\n\r\nx\r\n--s\r\n" P7S B64 "\r\n");
	buf_put_text(&message, detached);
	while (message.len < 80000)
		buf_put_text(&message, "    \r\n");
	buf_put_text(&message, "--s--\r\n");
	check_presigned(buf_text(&message), MIME_PRESIGNED_NO);
	buf_clear(&message);
}

/* ---- A root that is CMS ---- */

static const struct {
	const char *name, *header, *body;
	enum mime_presigned presigned;
} roots[] = {
    {"signed", "Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n" B64, "%A", MIME_PRESIGNED_CMS},
    {"encrypted", "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n" B64, "%E", MIME_PRESIGNED_CMS},
    {"x-", "Content-Type: application/x-pkcs7-mime\r\n" B64, "%E", MIME_PRESIGNED_CMS},
    {"wrong hint", "Content-Type: application/pkcs7-mime; smime-type=compressed-data\r\n" B64, "%E", MIME_PRESIGNED_CMS},
    {"octet-stream by name", "Content-Type: application/octet-stream; name=\"smime.P7M\"\r\n" B64, "%E", MIME_PRESIGNED_CMS},
    {"compressed", "Content-Type: application/pkcs7-mime\r\n" B64, "MIAGCyqGSIb3DQEJEAEJoIA=\r\n", MIME_PRESIGNED_CMS},
    {"authenticated and encrypted", "Content-Type: application/pkcs7-mime\r\n" B64, "MIIBAAYLKoZIhvcNAQkQARegggAA\r\n",
     MIME_PRESIGNED_CMS},
    {"octet-stream by another name", "Content-Type: application/octet-stream; name=x.bin\r\n" B64, "%E", MIME_PRESIGNED_NO},
    {"octet-stream by a name outside",
     "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=smime.p7m\r\n" B64, "%E",
     MIME_PRESIGNED_NO},
    {"no base64 label", "Content-Type: application/pkcs7-mime\r\n", "%E", MIME_PRESIGNED_NO},
    {"text", "Content-Type: application/pkcs7-mime\r\n" B64, "bm90IGEgc2lnbmF0dXJlIGJ1dCB0ZXh0\r\n", MIME_PRESIGNED_NO},
    {"data", "Content-Type: application/pkcs7-mime\r\n" B64, "MIAGCSqGSIb3DQEHAaCA\r\n", MIME_PRESIGNED_NO},
    {"cut off", "Content-Type: application/pkcs7-mime\r\n" B64, "MIAGCSqGSIb3\r\n", MIME_PRESIGNED_NO},
    {"nothing", "Content-Type: application/pkcs7-mime\r\n" B64, "", MIME_PRESIGNED_NO},
    {"text/plain", "Content-Type: text/plain; name=smime.p7m\r\n" B64, "%E", MIME_PRESIGNED_NO},
    {"a header that says so", "X-Signed: yes\r\nSubject: smime.p7m\r\n", "x\r\n", MIME_PRESIGNED_NO},
};

static void roots_must_prove_it(void)
{
	for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
		char *message = mem_format("From: a@b\r\n%s\r\n%s", roots[i].header, filled(roots[i].body));

		test_case("%s", roots[i].name);
		check_presigned(message, roots[i].presigned);
		free(message);
	}
}

/* ---- The corpus: nine multipart/signed at the root by its manifest, two of them whole ---- */

static void count_presigned(const char *name, struct bytes message, void *arg)
{
	unsigned *counts = arg;
	struct mime_scan *scan = scan_in_pieces(message, FEED_WHOLE);

	(void)name;
	counts[mime_scan_presigned(scan)]++;
	mime_scan_free(scan);
}

static void corpus_counts_stay(void)
{
	unsigned counts[4] = {0};

	CHECK_INT(each_corpus_message(count_presigned, counts), 353);
	CHECK_INT(counts[MIME_PRESIGNED_SMIME], 0);
	CHECK_INT(counts[MIME_PRESIGNED_PGP], 2);
	CHECK_INT(counts[MIME_PRESIGNED_CMS], 0);
}

int main(void)
{
	TEST(make_cms);
	TEST(multiparts_must_prove_it);
	TEST(place_matters);
	TEST(long_signatures_prove_nothing);
	TEST(roots_must_prove_it);
	TEST(corpus_counts_stay);
	free(detached);
	free(attached);
	free(enveloped);
	return test_finish();
}
