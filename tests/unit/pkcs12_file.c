#include "tests/unit/pkcs12_file.h"

#include <openssl/asn1.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/identity.h"
#include "tests/unit/test.h"

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/unit/pkcs12_file.c: %s\n", what);
	exit(1);
}

static void write_issuers(const char *path, X509 *const *issuers)
{
	struct buf all = {0};

	for (size_t i = 0; i < 3 && issuers[i] != NULL; i++) {
		must(test_write_pem(path, issuers[i]), path);
		must(test_read_file(path, &all), path);
	}
	must(test_write_file(path, buf_bytes(&all)), path);
	buf_clear(&all);
}

void pkcs12_make(struct buf *out, const struct pkcs12_recipe *recipe)
{
	static const char *directory;
	char *key, *certificate, *issuers, *file, *command;

	if (directory == NULL)
		directory = test_directory();
	key = mem_format("%s/key.pem", directory);
	certificate = mem_format("%s/certificate.pem", directory);
	issuers = mem_format("%s/issuers.pem", directory);
	file = mem_format("%s/file.p12", directory);
	command =
	    mem_format("openssl pkcs12 -export -inkey %s -in %s -certfile %s -out %s -passout env:TEST_PASSWORD %s 2>%s.err || "
		       "{ cat %s.err >&2; false; }",
		       key, certificate, issuers, file, recipe->options != NULL ? recipe->options : "", file, file);
	must(test_write_private_pem(key, recipe->key), key);
	must(test_write_pem(certificate, recipe->certificate), certificate);
	write_issuers(issuers, recipe->issuers);
	must(setenv("TEST_PASSWORD", recipe->password, 1) == 0, "setenv");
	must(system(command) == 0, command);
	must(test_read_file(file, out), file);
	unsetenv("TEST_PASSWORD");
	unlink(key);
	free(key);
	free(certificate);
	free(issuers);
	free(file);
	free(command);
}

static void put_definite(struct buf *out, uint8_t tag, struct bytes content)
{
	uint8_t header[8], *at = header;

	ASN1_put_object(&at, 0, (int)content.len, tag & 0x1f, tag & 0xc0);
	header[0] = tag;
	buf_put(out, header, (size_t)(at - header));
	buf_put_bytes(out, content);
}

static void put_octets_in_pieces(struct buf *out, struct bytes content)
{
	size_t middle = content.len / 2;

	buf_put_byte(out, 0x24);
	buf_put_byte(out, 0x80);
	put_definite(out, 0x04, bytes_slice(content, 0, middle));
	put_definite(out, 0x04, bytes_slice(content, middle, content.len));
	buf_put(out, "\0\0", 2);
}

void pkcs12_make_ber(struct buf *out, struct bytes der)
{
	const uint8_t *at = der.data, *end = der.data + der.len;

	while (at < end) {
		uint8_t tag = *at;
		long len = 0;
		int number = 0, class = 0;
		int form = ASN1_get_object(&at, &len, &number, &class, end - at);

		must((form & 0x80) == 0, "the input is not DER");
		if ((form & V_ASN1_CONSTRUCTED) != 0) {
			buf_put_byte(out, tag);
			buf_put_byte(out, 0x80);
			pkcs12_make_ber(out, bytes_of(at, (size_t)len));
			buf_put(out, "\0\0", 2);
		} else if (tag == V_ASN1_OCTET_STRING && len > 1) {
			put_octets_in_pieces(out, bytes_of(at, (size_t)len));
		} else {
			put_definite(out, tag, bytes_of(at, (size_t)len));
		}
		at += len;
	}
}
