#include <pthread.h>
#include <string.h>

#include "hsm/cms/cms_private.h"

/* id-RSASSA-PSS (RFC 4055 §3.1) with hash and MGF1 of SHA-256 and a salt of 32; the others differ in three octets. */
static const uint8_t pss_sha256[] = {0x30, 0x41, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a, 0x30,
				     0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
				     0x02, 0x01, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
				     0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65,
				     0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20};
#define PSS_HASH_AT 29
#define PSS_MGF_HASH_AT 59
#define PSS_SALT_AT 66

/* rsaEncryption with NULL: RFC 3370 §3.2, and what every reader takes. */
static const uint8_t rsa_encryption[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
					 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};

/* ecdsa-with-SHA256, 384, 512 are the arcs 2, 3, 4; parameters absent (RFC 5754 §3.3). */
static const uint8_t ecdsa_with_sha256[] = {0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};

/* 2.16.840.1.101.3.4.2.{1,2,3} are SHA-256, 384, 512; parameters absent (RFC 5754 §2). */
static const uint8_t sha256[] = {0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01};

/* EVP_sha256() and the like are looked up by name in every operation. */
static pthread_once_t fetched = PTHREAD_ONCE_INIT;
static EVP_MD *digests[SIGN_SHA512 + 1];

static void fetch(void)
{
	digests[SIGN_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
	digests[SIGN_SHA384] = EVP_MD_fetch(NULL, "SHA384", NULL);
	digests[SIGN_SHA512] = EVP_MD_fetch(NULL, "SHA512", NULL);
}

const EVP_MD *cms_digest(enum sign_digest algorithm)
{
	pthread_once(&fetched, fetch);
	return digests[algorithm];
}

void cms_put_digest_algorithm(struct buf *out, enum sign_digest algorithm)
{
	buf_put(out, sha256, sizeof sha256 - 1);
	buf_put_byte(out, (uint8_t)algorithm);
}

static void put_pss(struct buf *out, enum sign_digest algorithm)
{
	uint8_t *at;

	buf_put(out, pss_sha256, sizeof pss_sha256);
	at = out->data + out->len - sizeof pss_sha256;
	at[PSS_HASH_AT] = at[PSS_MGF_HASH_AT] = (uint8_t)algorithm;
	at[PSS_SALT_AT] = (uint8_t)sign_digest_bytes(algorithm);
}

void cms_put_signature_algorithm(struct buf *out, const struct cms_identity *identity, const struct cms_content *content)
{
	if (identity->rsa && content->pss) {
		put_pss(out, content->algorithm);
	} else if (identity->rsa) {
		buf_put(out, rsa_encryption, sizeof rsa_encryption);
	} else {
		buf_put(out, ecdsa_with_sha256, sizeof ecdsa_with_sha256 - 1);
		buf_put_byte(out, (uint8_t)(content->algorithm + 1));
	}
}

#define HEADER_MAX_BYTES 6

static size_t encode_header(uint8_t out[static HEADER_MAX_BYTES], enum der_tag tag, size_t contents)
{
	size_t octets = 0, len = 0;

	out[len++] = (uint8_t)tag;
	if (contents < 0x80) {
		out[len++] = (uint8_t)contents;
		return len;
	}
	while (contents >> (8 * octets) != 0)
		octets++;
	out[len++] = (uint8_t)(0x80 | octets);
	while (octets-- > 0)
		out[len++] = (uint8_t)(contents >> (8 * octets));
	return len;
}

void cms_put_value(struct buf *out, enum der_tag tag, struct bytes contents)
{
	uint8_t header[HEADER_MAX_BYTES];

	buf_put(out, header, encode_header(header, tag, contents.len));
	buf_put_bytes(out, contents);
}

void cms_wrap(struct buf *out, enum der_tag tag, size_t start)
{
	uint8_t header[HEADER_MAX_BYTES];
	size_t contents = out->len - start, len = encode_header(header, tag, contents);

	buf_reserve(out, len);
	memmove(out->data + start + len, out->data + start, contents);
	memcpy(out->data + start, header, len);
	out->len += len;
}
