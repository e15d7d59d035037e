#include <string.h>

#include "hsm/protocol/sign.h"
#include "hsm/protocol/tls_text.h"
#include "tests/unit/test.h"

static size_t text_13(uint8_t *text, size_t hash)
{
	uint8_t zero[32] = {0};

	tls_text_example(text, zero);
	memset(text + TLS_TEXT_13_HASH_AT, 0xab, hash);
	return TLS_TEXT_13_HASH_AT + hash;
}

static size_t text_12(uint8_t *text, uint8_t curve, uint8_t point)
{
	memset(text, 0x5a, 256);
	text[64] = 3;
	text[65] = 0;
	text[66] = curve;
	text[67] = point;
	text[68] = curve == 29 ? 0x17 : 4;
	return 68u + point;
}

static void what_a_server_signs_is_known(void)
{
	uint8_t text[256];
	size_t len;

	CHECK(tls_text_is_server_signature(bytes_of(text, text_13(text, 32))));
	CHECK(tls_text_is_server_signature(bytes_of(text, text_13(text, 48))));
	CHECK(tls_text_is_server_signature(bytes_of(text, text_12(text, 29, 32))));
	CHECK(tls_text_is_server_signature(bytes_of(text, text_12(text, 23, 65))));
	len = text_12(text, 24, 97);
	CHECK_INT(len, SIGN_TLS_TEXT_MAX_BYTES);
	CHECK(tls_text_is_server_signature(bytes_of(text, len)));
}

static void every_other_length_is_refused(void)
{
	uint8_t text[256];

	text_13(text, 48);
	for (size_t len = 0; len < sizeof text; len++) {
		if (len != 130 && len != 146)
			CHECK(!tls_text_is_server_signature(bytes_of(text, len)));
	}
	text_12(text, 23, 65);
	for (size_t len = 0; len < sizeof text; len++) {
		if (len != 133)
			CHECK(!tls_text_is_server_signature(bytes_of(text, len)));
	}
}

/* Each octet of the label and of the head of ServerECDHParams counts. */
static void every_changed_octet_is_refused(void)
{
	uint8_t text[256];
	size_t len = text_13(text, 32);

	for (size_t i = 0; i < TLS_TEXT_13_HASH_AT; i++) {
		text[i] ^= 0x20;
		CHECK(!tls_text_is_server_signature(bytes_of(text, len)));
		text[i] ^= 0x20;
	}
	len = text_12(text, 23, 65);
	for (size_t i = 64; i < 69; i++) {
		text[i] ^= 0x40;
		CHECK(!tls_text_is_server_signature(bytes_of(text, len)));
		text[i] ^= 0x40;
	}
}

static void what_others_sign_is_refused(void)
{
	uint8_t text[256];
	size_t len = text_13(text, 32);

	memcpy(text + 64 + 9, "client", 6); /* a client's CertificateVerify */
	CHECK(!tls_text_is_server_signature(bytes_of(text, len)));
	CHECK(!tls_text_is_server_signature(bytes_text("Content-Type: text/plain\r\n\r\nPay 1000 to Mallory\r\n")));
	/* CMS signedAttrs (a SET), PKCS#10 and certificates (a SEQUENCE) */
	for (unsigned first = 0x30; first <= 0x31; first++) {
		memset(text, (int)first, sizeof text);
		for (len = 0; len < sizeof text; len++)
			CHECK(!tls_text_is_server_signature(bytes_of(text, len)));
	}
}

int main(void)
{
	TEST(what_a_server_signs_is_known);
	TEST(every_other_length_is_refused);
	TEST(every_changed_octet_is_refused);
	TEST(what_others_sign_is_refused);
	return test_finish();
}
