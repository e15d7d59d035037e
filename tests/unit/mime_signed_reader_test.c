/* The reader of the self-check: takes what is sound at every cut, and nothing that was changed afterwards. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/relay/mime/signed_reader.h"
#include "hsm/cms/cms.h"
#include "tests/unit/identity.h"
#include "tests/unit/test.h"

#define PART "Content-Type: text/plain\r\n\r\nline one\r\n--not the boundary\r\n--b\r\n-\r\n\r\nlast"
#define HEAD                                                                                                                     \
	"Received: by us\r\nFrom: alice@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed;\r\n"                 \
	" protocol=\"application/pkcs7-signature\"; micalg=sha-256;\r\n boundary=\"bound\"\r\n\r\n"
#define SIGNATURE "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"

static EVP_PKEY *key;
static struct buf leaf, other_leaf, base64;

static bool make_signature(void *arg, enum sign_digest algorithm, bool pss, struct bytes text, struct buf *signature,
			   struct err *err)
{
	EVP_MD_CTX *sign = EVP_MD_CTX_new();
	uint8_t room[512];
	size_t len = sizeof room;
	bool made = EVP_DigestSignInit(sign, NULL, algorithm == SIGN_SHA384 ? EVP_sha384() : EVP_sha256(), NULL, key) == 1 &&
		    EVP_DigestSign(sign, room, &len, text.data, text.len) == 1;

	(void)arg;
	(void)pss;
	EVP_MD_CTX_free(sign);
	buf_put(signature, room, made ? len : 0);
	return made || err_set(err, ERR_INTERNAL, "no signature");
}

static void set_up(void)
{
	struct cms_content content = {.algorithm = SIGN_SHA256};
	uint8_t digest[EVP_MAX_MD_SIZE];
	struct buf der = {0};
	struct bytes chain;
	struct test_ca ca;
	struct err err;

	test_ca_init(&ca);
	key = test_key("p256");
	test_put_der(&leaf, test_certificate(&ca, key, "alice@example.com"));
	test_put_der(&other_leaf, test_certificate(&ca, test_key("p256"), "bob@example.com"));
	chain = buf_bytes(&leaf);
	EVP_Digest(PART, strlen(PART), digest, NULL, EVP_sha256(), NULL);
	content.digest = bytes_of(digest, 32);
	CHECK_OK(cms_sign(cms_identity_new(&chain, 1, &err), &content, make_signature, NULL, &der, &err), &err);
	base64_encode(&base64, buf_bytes(&der));
	buf_clear(&der);
	test_ca_clear(&ca);
}

static void put_message(struct buf *out, const char *head, const char *part, const char *signature, const char *tail)
{
	buf_printf(out, "%s--bound\r\n%s\r\n--bound\r\n%s%s\r\n%s", head, part, signature, buf_text(&base64), tail);
}

static bool verifies(struct bytes message, size_t chunk, struct bytes certificate, struct err *err)
{
	struct cms_identity *identity = cms_identity_new(&certificate, 1, err);
	struct signed_reader *reader = signed_reader_new();
	bool fine;

	for (size_t at = 0; at < message.len; at += chunk)
		signed_reader_feed(reader, bytes_slice(message, at, at + chunk));
	fine = identity != NULL && signed_reader_verify(reader, identity, false, err);
	signed_reader_free(reader);
	cms_identity_free(identity);
	return fine;
}

static void takes_what_is_sound_in_any_chunks(void)
{
	struct buf message = {0};
	struct err err;

	put_message(&message, HEAD, PART, SIGNATURE, "--bound--\r\n");
	for (size_t chunk = 1; chunk <= message.len; chunk += chunk < 40 ? 1 : 97) {
		test_case("chunks of %zu", chunk);
		CHECK_OK(verifies(buf_bytes(&message), chunk, buf_bytes(&leaf), &err), &err);
	}
	CHECK(!verifies(buf_bytes(&message), 1000, buf_bytes(&other_leaf), &err));
	CHECK_CONTAINS(err.text, "over this content");
	CHECK(!verifies(buf_bytes(&message), 1000, (struct bytes){0}, &err));
	for (size_t len = 0; len < message.len; len++) {
		test_case("cut at %zu", len);
		CHECK(!verifies(bytes_slice(buf_bytes(&message), 0, len), 1000, buf_bytes(&leaf), &err));
	}
	buf_clear(&message);
}

/* Each octet of the signed part and of the CMS counts. */
static void finds_every_changed_octet(void)
{
	struct buf message = {0};
	size_t from, to;
	struct err err;

	put_message(&message, HEAD, PART, SIGNATURE, "--bound--\r\n");
	from = strlen(HEAD "--bound\r\n");
	to = from + strlen(PART);
	for (size_t i = from; i < to; i++) {
		test_case("octet %zu of the part", i - from);
		message.data[i] ^= 1;
		CHECK(!verifies(buf_bytes(&message), 1000, buf_bytes(&leaf), &err));
		message.data[i] ^= 1;
	}
	buf_clear(&message);
}

static void refuses_what_readers_disagree_about(void)
{
	static const struct {
		const char *name, *head, *part, *signature, *tail, *why;
	} cases[] = {
	    {"bare LF", HEAD, "a\nb", SIGNATURE, "--bound--\r\n", "bare LF"},
	    {"bare CR", HEAD, "a\rb", SIGNATURE, "--bound--\r\n", "bare CR"},
	    {"another part", HEAD, "another text", SIGNATURE, "--bound--\r\n", "over this content"},
	    {"the boundary within", HEAD, "a\r\n--boundary\r\nb", SIGNATURE, "--bound--\r\n", "within the signed part"},
	    {"a preamble", HEAD "preamble\r\n", PART, SIGNATURE, "--bound--\r\n", "begin with the boundary"},
	    {"an epilogue", HEAD, PART, SIGNATURE, "--bound--\r\nmore\r\n", "behind the closing boundary"},
	    {"no closing", HEAD, PART, SIGNATURE, "", "no end"},
	    {"two outer types", "Content-Type: text/plain\r\n" HEAD, PART, SIGNATURE, "--bound--\r\n", "multipart/signed"},
	    {"no outer type", "From: x\r\n\r\n", PART, SIGNATURE, "--bound--\r\n", "missing"},
	    {"no type inside", HEAD, PART, "Content-Transfer-Encoding: base64\r\n\r\n", "--bound--\r\n", "missing"},
	    {"a wrong type inside", HEAD, PART, "Content-Type: text/plain\r\n\r\n", "--bound--\r\n", "header of the signature"},
	    {"no base64", HEAD, PART, SIGNATURE "!!!", "--bound--\r\n", "base64"},
	    {"another algorithm",
	     "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-512; boundary=bound\r\n\r\n",
	     PART, SIGNATURE, "--bound--\r\n", "over this content"},
	    {"an unknown algorithm",
	     "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=md5; boundary=bound\r\n\r\n", PART,
	     SIGNATURE, "--bound--\r\n", "multipart/signed"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf message = {0};
		struct err err;

		test_case("%s", cases[i].name);
		put_message(&message, cases[i].head, cases[i].part, cases[i].signature, cases[i].tail);
		if (CHECK(!verifies(buf_bytes(&message), 7, buf_bytes(&leaf), &err)))
			CHECK_CONTAINS(err.text, cases[i].why);
		buf_clear(&message);
	}
}

static void refuses_long_lines(void)
{
	struct buf part = {0}, message = {0};
	struct err err;

	for (unsigned i = 0; i < 999; i++)
		buf_put_byte(&part, 'x');
	put_message(&message, HEAD, buf_text(&part), SIGNATURE, "--bound--\r\n");
	CHECK(!verifies(buf_bytes(&message), 500, buf_bytes(&leaf), &err));
	CHECK_CONTAINS(err.text, "998");
	buf_clear(&message);
	buf_clear(&part);
}

int main(void)
{
	set_up();
	TEST(takes_what_is_sound_in_any_chunks);
	TEST(finds_every_changed_octet);
	TEST(refuses_what_readers_disagree_about);
	TEST(refuses_long_lines);
	return test_finish();
}
