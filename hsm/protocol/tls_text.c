#include "hsm/protocol/tls_text.h"

#include <string.h>

#define BLANKS 64
#define RANDOMS_BYTES 64
#define NAMED_CURVE 3 /* ECCurveType */

static const char label[] = "TLS 1.3, server CertificateVerify"; /* and its zero octet */

static bool is_13(struct bytes text)
{
	if (text.len != TLS_TEXT_13_HASH_AT + 32 && text.len != TLS_TEXT_13_HASH_AT + 48)
		return false;
	for (size_t i = 0; i < BLANKS; i++) {
		if (text.data[i] != ' ')
			return false;
	}
	return memcmp(text.data + BLANKS, label, sizeof label) == 0;
}

static const struct {
	uint8_t number; /* NamedCurve below 256 */
	uint8_t point; /* octets */
	uint8_t form; /* first octet of an uncompressed point; 0: any */
} curves[] = {{29, 32, 0}, {23, 65, 4}, {24, 97, 4}};

static bool is_12(struct bytes text)
{
	const uint8_t *params = text.data + RANDOMS_BYTES;

	if (text.len < RANDOMS_BYTES + 5 || params[0] != NAMED_CURVE || params[1] != 0)
		return false;
	for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
		if (params[2] == curves[i].number && params[3] == curves[i].point &&
		    text.len == RANDOMS_BYTES + 4u + curves[i].point && (curves[i].form == 0 || params[4] == curves[i].form))
			return true;
	}
	return false;
}

bool tls_text_is_server_signature(struct bytes text)
{
	return is_13(text) || is_12(text);
}

void tls_text_example(uint8_t text[static TLS_TEXT_EXAMPLE_BYTES], const uint8_t hash[static 32])
{
	memset(text, ' ', BLANKS);
	memcpy(text + BLANKS, label, sizeof label);
	memcpy(text + TLS_TEXT_13_HASH_AT, hash, 32);
}
