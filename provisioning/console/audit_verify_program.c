/* `inkan audit verify`: needs no state directory, no token and no login. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/audit_file.h"
#include "provisioning/console/console.h"

static bool read_fingerprint(const char *hex, struct audit_link *link)
{
	struct buf octets = {0};
	bool good;

	if (strncmp(hex, "sha256:", 7) == 0)
		hex += 7;
	good = hex_decode(&octets, hex, NULL) && octets.len == sizeof link->hash;
	if (good)
		memcpy(link->hash, octets.data, sizeof link->hash);
	buf_clear(&octets);
	return good;
}

/* A public key in PEM, or a certificate of it. */
static bool read_key_file(const char *path, struct audit_link *link)
{
	FILE *file = fopen(path, "re");
	EVP_PKEY *key = file != NULL ? PEM_read_PUBKEY(file, NULL, NULL, NULL) : NULL;
	uint8_t *der = NULL;
	int len = key != NULL ? i2d_PUBKEY(key, &der) : -1;

	if (len > 0)
		*link = audit_fingerprint(bytes_of(der, (size_t)len));
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	ERR_clear_error();
	if (file != NULL)
		fclose(file);
	return len > 0;
}

static bool add_key(struct audit_pins *pins, const char *text)
{
	struct audit_link link;

	if (!read_fingerprint(text, &link) && !read_key_file(text, &link)) {
		fprintf(stderr, "inkan: %s is neither a file with a public key (PEM) nor the fingerprint of one\n", text);
		return false;
	}
	pins->keys = mem_resize(pins->keys, pins->n_keys + 1, sizeof *pins->keys);
	pins->keys[pins->n_keys++] = link;
	return true;
}

static bool read_row(struct audit_pins *pins, const char *text)
{
	char *end;

	pins->row = strtoull(text, &end, 10);
	if (pins->row > 0 && *end == ':' && read_fingerprint(end + 1, &pins->head))
		return true;
	fprintf(stderr, "inkan: --row takes NUMBER:HASH, as `audit export` says them, not \"%s\"\n", text);
	return false;
}

static bool read_arguments(int argc, char **argv, struct audit_pins *pins, const char **path)
{
	for (int i = 0; i < argc; i++) {
		bool has_value = i + 1 < argc;

		if (strcmp(argv[i], "--key") == 0 && has_value) {
			if (!add_key(pins, argv[++i]))
				return false;
		} else if (strcmp(argv[i], "--row") == 0 && has_value) {
			if (!read_row(pins, argv[++i]))
				return false;
		} else if (argv[i][0] != '-' && *path == NULL) {
			*path = argv[i];
		} else {
			*path = NULL;
			break;
		}
	}
	if (*path == NULL)
		fputs("usage: inkan audit verify FILE [--key FILE|FINGERPRINT]... [--row NUMBER:HASH]\n", stderr);
	return *path != NULL;
}

static void tell(const struct audit_verifier *verifier, const char *path)
{
	char head[2 * AUDIT_HASH_BYTES + 1], key[2 * AUDIT_HASH_BYTES + 1], time[CONSOLE_TIME_BYTES];

	hex_encode(head, bytes_of(verifier->link.hash, sizeof verifier->link.hash));
	hex_encode(key, bytes_of(verifier->signed_by.hash, sizeof verifier->signed_by.hash));
	printf("%s: whole: %llu rows, the last with hash %s\n", path, (unsigned long long)verifier->rows, head);
	if (verifier->checkpoints == 0) {
		printf("Not signed: no checkpoint is in the file\n");
		return;
	}
	console_time(time, verifier->signed_ms);
	printf("Signed: rows 1 to %llu, %llu checkpoints, the last of %s by the audit key\n%s%s\n",
	       (unsigned long long)verifier->signed_rows, (unsigned long long)verifier->checkpoints, time, key,
	       verifier->pins->n_keys > 0 ? "" : " (as the file says: compare it, or give it with --key)");
	if (verifier->rows > verifier->signed_rows)
		printf("Not signed yet: rows %llu to %llu\n", (unsigned long long)verifier->signed_rows + 1,
		       (unsigned long long)verifier->rows);
}

int audit_verify_program(int argc, char **argv)
{
	struct audit_pins pins = {0};
	struct audit_verifier verifier;
	const char *path = NULL;
	struct err err;
	int code = EXIT_USAGE;

	if (read_arguments(argc, argv, &pins, &path)) {
		audit_verifier_init(&verifier, &pins);
		code = EXIT_OK;
		if (audit_file_verify(path, &verifier, &err)) {
			tell(&verifier, path);
		} else {
			fprintf(stderr, "inkan: %s: %s\n", path, err.text);
			code = err.code == ERR_INTEGRITY ? EXIT_ERROR : EXIT_USAGE;
		}
		audit_verifier_clear(&verifier);
	}
	free(pins.keys);
	return code;
}
