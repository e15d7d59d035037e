/*
 * The upper rungs of the import ladder on a token that has them: NSS softokn derives keys and unwraps AES-CBC and 3DES, so
 * that the plaintext key never exists here. And its public point attribute for EC keys.
 */
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "hsm/import/ladder.h"
#include "hsm/provision/seal.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"
#define PASSWORD "暗証番号1234"

static struct test_ca ca;

static struct {
	const char *type;
	EVP_PKEY *key;
	X509 *certificate;
} keys[] = {{"rsa2048", NULL, NULL}, {"p256", NULL, NULL}, {"p384", NULL, NULL}};

#define N_KEYS (sizeof keys / sizeof *keys)

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/token/nss_test.c: %s\n", what);
	exit(1);
}

/* A new database with the PIN. Few iterations, or each attribute read takes long (they are NSS's own switch). */
static void new_database(void)
{
	const char *directory = test_directory();
	char *pin = mem_format("%s/pin", directory);
	char *command = mem_format("certutil -N -d sql:%s -f %s >/dev/null", directory, pin);

	setenv("NSS_MAX_MP_PBE_ITERATION_COUNT", "1", 1);
	setenv("INKAN_NSS_DIRECTORY", directory, 1);
	must(test_write_file(pin, bytes_text(PROVISIONING_PIN "\n")), pin);
	must(system(command) == 0, command);
	free(pin);
	free(command);
}

static void open_nss(struct desk *desk, const char *weakness, const char *minimum)
{
	char *nss = provisioning_module("nss_module");

	new_database();
	provisioning_fresh();
	provisioning_settings(&desk->settings);
	free(desk->settings.module);
	desk->settings.module = provisioning_module("weak_module");
	setenv("INKAN_WEAK_MODULE", nss, 1);
	setenv("INKAN_WEAK", weakness, 1);
	free(nss);
	provisioning_set(&desk->settings.import_minimum, minimum);
	desk_open(desk);
}

static void set_up(void)
{
	test_ca_init(&ca);
	for (size_t i = 0; i < N_KEYS; i++) {
		keys[i].key = test_key(keys[i].type);
		keys[i].certificate = test_certificate(&ca, keys[i].key, ADDRESS);
	}
}

static void tear_down(void)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		EVP_PKEY_free(keys[i].key);
		X509_free(keys[i].certificate);
	}
	test_ca_clear(&ca);
}

static const struct {
	const char *name, *options, *weakness, *minimum, *rung;
} cases[] = {
    {"PBES2 AES-256", NULL, "", "unwrap", "unwrap-token-kek"},
    {"PBES2 AES-128", "-keypbe AES-128-CBC", "", "unwrap", "unwrap-token-kek"},
    {"PBES2 3DES", "-keypbe DES-EDE3-CBC", "", "unwrap", "unwrap-token-kek"},
    {"legacy 3DES", "-legacy", "", "unwrap", "unwrap-token-kek"},
    {"PBES2 AES-256, derived here", NULL, "no-derive", "unwrap", "unwrap-host-kek"},
    {"PBES2 AES-192, derived here", "-keypbe AES-192-CBC", "no-derive", "unwrap", "unwrap-host-kek"},
    {"legacy 3DES, derived here", "-legacy", "no-derive", "unwrap", "unwrap-host-kek"},
    {"RC2-40", "-legacy -keypbe PBE-SHA1-RC2-40", "", "rewrap", "rewrap"},
    {"AES, no unwrapping", NULL, "no-unwrap", "create", "create"},
};

static void import_case(size_t i, size_t k)
{
	struct import_result result = {0};
	struct import_task task = {
	    .address = ADDRESS, .password = bytes_text(PASSWORD), .now = clock_wall_seconds(), .key_id = provisioning_key_id()};
	struct buf file = {0};
	struct desk desk;
	unsigned long key;
	struct err err;

	test_case("%s, %s", cases[i].name, keys[k].type);
	pkcs12_make(&file,
		    &(struct pkcs12_recipe){keys[k].key, keys[k].certificate, {ca.intermediate}, PASSWORD, cases[i].options});
	task.pkcs12 = buf_bytes(&file);
	open_nss(&desk, cases[i].weakness, cases[i].minimum);
	if (CHECK_OK(desk_import(&desk, &task, &result, &err), &err)) {
		CHECK_TEXT(result.rung, cases[i].rung);
		CHECK(result.attributes.sensitive && !result.attributes.extractable);
		if (CHECK_OK(object_find_private_key(&desk.provision.connection.session, result.key_id, &key, &err), &err))
			CHECK_OK(key_prove(&desk.provision.connection.session, key, keys[k].key, &err), &err);
	}
	import_result_clear(&result);
	desk_close(&desk);
	buf_clear(&file);
}

static void the_token_unwraps_the_file_itself(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t k = 0; k < N_KEYS; k++)
			import_case(i, k);
}

static void the_probe_tells_the_rung(void)
{
	struct desk desk;
	char *before, *after;

	open_nss(&desk, "", "unwrap");
	before = desk_objects(&desk);
	CHECK_TEXT(ladder_probe(&desk.provision.connection.session), "unwrap-token-kek");
	after = desk_objects(&desk);
	CHECK_TEXT(after, before);
	free(before);
	free(after);
	desk_close(&desk);
}

/* Unwrapping tells nothing of whose key it was: the proof does. */
static void another_key_is_found_out_by_the_proof(void)
{
	struct import_task task = {
	    .address = ADDRESS, .password = bytes_text(PASSWORD), .now = clock_wall_seconds(), .key_id = provisioning_key_id()};
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
	STACK_OF(PKCS7) *safes = NULL;
	struct import_result result;
	unsigned char *der = NULL;
	char *before, *after;
	struct err err = {0};
	struct desk desk;
	PKCS12 *file;

	PKCS12_add_key(&bags, keys[2].key, 0, 2048, NID_aes_256_cbc, PASSWORD);
	PKCS12_add_cert(&bags, keys[1].certificate);
	PKCS12_add_safe(&safes, bags, -1, 0, NULL);
	file = PKCS12_add_safes(safes, 0);
	PKCS12_set_mac(file, PASSWORD, -1, NULL, 0, 2048, EVP_sha256());
	task.pkcs12.len = (size_t)i2d_PKCS12(file, &der);
	task.pkcs12.data = der;
	open_nss(&desk, "", "unwrap");
	before = desk_objects(&desk);
	CHECK(!desk_import(&desk, &task, &result, &err));
	CHECK_CONTAINS(err.text, "the private key in the PKCS#12 file does not belong to its certificate");
	CHECK_INT(err.code, ERR_INVALID);
	after = desk_objects(&desk);
	CHECK_TEXT(after, before);
	free(before);
	free(after);
	desk_close(&desk);
	OPENSSL_free(der);
	PKCS12_free(file);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

int main(void)
{
	set_up();
	TEST(the_token_unwraps_the_file_itself);
	TEST(the_probe_tells_the_rung);
	TEST(another_key_is_found_out_by_the_proof);
	tear_down();
	return test_finish();
}
