/*
 * The PKCS#12 reader, with the password "secret". The first octet of the input chooses: the rest is a whole file, or what a
 * file's MAC covers, with a MAC that fits, so that the parts behind the MAC are reached; or a file of certificates.
 * hsm_pkcs12_replay_test.c runs it on what tools make and on changes of that.
 */
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pkcs12.h>
#include <stdlib.h>
#include <string.h>

#include "hsm/import/certificate_file.h"
#include "hsm/import/leaf.h"
#include "hsm/import/pkcs12.h"

#define MAC_SALT "12345678"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void put_element(struct buf *out, uint8_t tag, struct bytes content)
{
	uint8_t header[16], *at = header;

	ASN1_put_object(&at, 0, (int)content.len, tag & 0x1f, tag & 0xc0);
	header[0] = tag;
	buf_put(out, header, (size_t)(at - header));
	buf_put_bytes(out, content);
}

static void put_wrapped(struct buf *out, uint8_t tag, struct buf *content)
{
	put_element(out, tag, buf_bytes(content));
	buf_clear(content);
}

/* MacData with SHA-256 and one iteration (RFC 7292 §4). */
static void put_mac(struct buf *out, struct bytes contents)
{
	static const uint8_t sha256[] = {0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00};
	uint8_t key[32], mac[32];
	struct buf digest = {0}, data = {0};

	PKCS12_key_gen_utf8("secret", 6, (uint8_t *)MAC_SALT, 8, PKCS12_MAC_ID, 1, sizeof key, key, EVP_sha256());
	HMAC(EVP_sha256(), key, sizeof key, contents.data, contents.len, mac, NULL);
	buf_put(&digest, sha256, sizeof sha256);
	put_element(&digest, 0x04, bytes_of(mac, sizeof mac));
	put_wrapped(&data, 0x30, &digest);
	put_element(&data, 0x04, bytes_text(MAC_SALT));
	put_wrapped(out, 0x30, &data);
}

/* PFX ::= SEQUENCE { 3, { data, [0] contents }, MacData } */
static void build_file(struct buf *out, struct bytes contents)
{
	static const uint8_t id_data[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};
	struct buf octets = {0}, info = {0}, all = {0};

	put_element(&octets, 0x04, contents);
	buf_put(&info, id_data, sizeof id_data);
	put_wrapped(&info, 0xa0, &octets);
	buf_put(&all, "\x02\x01\x03", 3);
	put_wrapped(&all, 0x30, &info);
	put_mac(&all, contents);
	put_wrapped(out, 0x30, &all);
}

/* All that an import asks a file that was read. */
static void use(const struct pkcs12 *file)
{
	const struct pkcs12_key *key = pkcs12_key(file);
	uint8_t kek[PKCS12_KEK_MAX_BYTES], iv[16], *der = NULL;
	size_t len = 0;
	struct err err;

	require(sk_X509_num(pkcs12_certificates(file)) > 0 && leaf_choose(file, "taro@example.co.jp") != NULL);
	require(key->octets.len > 0 && key->scheme.iterations <= PKCS12_MAX_ITERATIONS);
	if (pkcs12_block_bytes(key->scheme.cipher) > 0)
		(void)!pkcs12_derive(file, kek, iv, &err);
	if (pkcs12_decrypt_key(file, &der, &len, &err))
		require(len <= key->octets.len + 32);
	OPENSSL_secure_clear_free(der, len);
}

static void read_file(struct bytes octets)
{
	struct err err = {0};
	struct pkcs12 *file = pkcs12_parse(octets, bytes_text("secret"), &err);

	if (file != NULL)
		use(file);
	else
		require(err.code != ERR_NONE && err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
	require(ERR_peek_error() == 0);
	pkcs12_free(file);
}

static void read_certificates(struct bytes octets)
{
	struct err err = {0};
	STACK_OF(X509) *certificates = certificate_file_read(octets, &err);

	require(certificates != NULL ? sk_X509_num(certificates) > 0 : err.text[0] != '\0');
	require(ERR_peek_error() == 0);
	sk_X509_pop_free(certificates, X509_free);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf file = {0};
	struct bytes rest;

	if (size < 1)
		return 0;
	rest = bytes_of(mem_copy(data + 1, size - 1), size - 1); /* so that a read behind its end is seen */
	if (data[0] % 3 == 0) {
		read_file(rest);
	} else if (data[0] % 3 == 1) {
		build_file(&file, rest);
		read_file(buf_bytes(&file));
	} else {
		read_certificates(rest);
	}
	buf_clear(&file);
	free((void *)rest.data);
	return 0;
}
