/* The fuzzer of the PKCS#12 reader on what tools make, and on many changes of each: nothing crashes, every refusal is one line.
 */
#include "tests/fuzz/hsm_pkcs12_fuzz.c"
#include "tests/unit/identity.h"
#include "tests/unit/pkcs12_file.h"
#include "tests/unit/test.h"

#define CHANGES 300 /* of each seed */

static uint32_t state = 20261124; /* xorshift: the same changes on each run */

static uint32_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static void replay(uint8_t kind, struct bytes octets)
{
	struct buf input = {0};

	buf_put_byte(&input, kind);
	buf_put_bytes(&input, octets);
	LLVMFuzzerTestOneInput(input.data, input.len);
	buf_clear(&input);
}

static void change(struct buf *octets)
{
	for (unsigned times = 1 + next_random() % 4; times > 0 && octets->len > 2; times--) {
		size_t at = next_random() % octets->len;

		switch (next_random() % 4) {
		case 0:
			octets->data[at] ^= (uint8_t)(1u << next_random() % 8);
			break;
		case 1:
			octets->data[at] = (uint8_t)next_random();
			break;
		case 2:
			octets->len = at + 1;
			break;
		default:
			memmove(octets->data + at, octets->data + octets->len / 2,
				octets->len - at > octets->len / 2 ? octets->len / 2 - 1 : octets->len - at - 1);
		}
	}
}

static void replay_changed(uint8_t kind, struct bytes seed)
{
	struct buf octets = {0};

	replay(kind, seed);
	for (unsigned i = 0; i < CHANGES; i++) {
		buf_reset(&octets);
		buf_put_bytes(&octets, seed);
		change(&octets);
		replay(kind, buf_bytes(&octets));
	}
	buf_clear(&octets);
}

/* What the MAC covers, of a DER file: SEQUENCE { INTEGER, SEQUENCE { OID, [0] { OCTET STRING { … */
static struct bytes contents_of(struct bytes file)
{
	const uint8_t *at = file.data;
	int tag, class;
	long len = 0;

	for (int step = 0; step < 6; step++) {
		ASN1_get_object(&at, &len, &tag, &class, file.data + file.len - at);
		at += step == 1 || step == 3 ? len : 0;
	}
	return bytes_of(at, (size_t)len);
}

static void files_and_their_changes_are_read(void)
{
	static const char *const options[] = {
	    "-iter 1",
	    "-iter 1 -legacy",
	    "-iter 1 -legacy -keypbe PBE-SHA1-RC2-40",
	    "-iter 1 -keypbe NONE -certpbe NONE",
	    "-iter 1 -name x -macalg sha512",
	};
	EVP_PKEY *key = test_key("p256");
	struct test_ca ca;
	X509 *certificate;

	test_ca_init(&ca);
	certificate = test_certificate(&ca, key, "taro@example.co.jp");
	for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
		struct buf der = {0}, ber = {0}, pem = {0};

		test_case("%s", options[i]);
		pkcs12_make(&der, &(struct pkcs12_recipe){key, certificate, {ca.intermediate}, "secret", options[i]});
		pkcs12_make_ber(&ber, buf_bytes(&der));
		replay_changed(0, buf_bytes(&der));
		replay_changed(0, buf_bytes(&ber));
		replay_changed(1, contents_of(buf_bytes(&der)));
		buf_clear(&der);
		buf_clear(&ber);
		buf_clear(&pem);
	}
	X509_free(certificate);
	EVP_PKEY_free(key);
	test_ca_clear(&ca);
	CHECK(true);
}

static void put_pem(struct buf *out, const char *name, struct bytes der)
{
	struct buf text = {0};

	base64_encode(&text, der);
	buf_printf(out, "-----BEGIN %s-----\n", name);
	for (size_t at = 0; at < text.len; at += 64) {
		buf_put_bytes(out, bytes_slice(buf_bytes(&text), at, at + 64));
		buf_put_byte(out, '\n');
	}
	buf_printf(out, "-----END %s-----\n", name);
	buf_clear(&text);
}

static void certificates_and_their_changes_are_read(void)
{
	struct test_ca ca;
	struct buf der = {0}, pem = {0};

	test_ca_init(&ca);
	test_put_der(&der, ca.intermediate);
	put_pem(&pem, "CERTIFICATE", buf_bytes(&der));
	put_pem(&pem, "CERTIFICATE", buf_bytes(&der));
	replay_changed(2, buf_bytes(&der));
	replay_changed(2, buf_bytes(&pem));
	buf_clear(&der);
	buf_clear(&pem);
	test_ca_clear(&ca);
	CHECK(true);
}

int main(void)
{
	TEST(files_and_their_changes_are_read);
	TEST(certificates_and_their_changes_are_read);
	return test_finish();
}
