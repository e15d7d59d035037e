/* Importing PKCS#12 files into SoftHSM, and into tokens with the weaknesses of others: what arrives, and that nothing stays. */
#include <openssl/pkcs12.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "hsm/provision/seal.h"
#include "hsm/token/cryptoki.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"
#define PASSWORD "暗証番号1234"
#define CONTEXT "taro@example.co.jp 1"

static struct test_ca ca;

static struct {
	const char *type, *shown;
	EVP_PKEY *key;
	X509 *certificate;
} keys[] = {
    {"rsa2048", "RSA-2048", NULL, NULL}, {"rsa3072", "RSA-3072", NULL, NULL}, {"rsa4096", "RSA-4096", NULL, NULL},
    {"p256", "EC-P256", NULL, NULL},	 {"p384", "EC-P384", NULL, NULL},
};

#define N_KEYS (sizeof keys / sizeof *keys)

static const struct {
	const char *name, *options;
} formats[] = {
    {"PBES2-AES", NULL},
    {"legacy 3DES", "-legacy"},
    {"RC2-40", "-legacy -keypbe PBE-SHA1-RC2-40"},
    {"not encrypted", "-keypbe NONE"},
};

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

static void make_file(struct buf *out, size_t key, const char *options)
{
	pkcs12_make(out,
		    &(struct pkcs12_recipe){keys[key].key, keys[key].certificate, {ca.intermediate, ca.root}, PASSWORD, options});
}

static struct import_task task_of(const struct buf *file)
{
	return (struct import_task){
	    .address = ADDRESS,
	    .pkcs12 = buf_bytes(file),
	    .password = bytes_text(PASSWORD),
	    .now = clock_wall_seconds(),
	    .seal_context = bytes_text(CONTEXT),
	    .key_id = provisioning_key_id(),
	};
}

/* The token that the others are to look like: weak_module.c before SoftHSM. */
static void open_weak(struct desk *desk, const char *weakness, const char *minimum)
{
	provisioning_fresh();
	provisioning_settings(&desk->settings);
	free(desk->settings.module);
	desk->settings.module = provisioning_module("weak_module");
	provisioning_set(&desk->settings.import_minimum, minimum);
	setenv("INKAN_WEAK_MODULE", softhsm_module(), 1);
	setenv("INKAN_WEAK", weakness, 1);
	unsetenv("INKAN_WEAK_LOGINS");
	desk_open(desk);
}

static void close_weak(struct desk *desk)
{
	desk_close(desk);
	unsetenv("INKAN_WEAK");
}

/* ---- what arrives ---- */

static void check_flag(const struct session *session, unsigned long key, CK_ATTRIBUTE_TYPE type, const char *name, bool want)
{
	struct err err;
	bool got = !want;

	test_case("%s", name);
	if (CHECK_OK(object_flag(session, key, type, &got, &err), &err))
		CHECK_INT(got, want);
}

static void check_key(const struct desk *desk, const struct import_result *result, EVP_PKEY *public_key)
{
	const struct session *session = &desk->provision.connection.session;
	uint8_t value[1024];
	CK_ATTRIBUTE secret = {EVP_PKEY_is_a(public_key, "EC") ? CKA_VALUE : CKA_PRIVATE_EXPONENT, value, sizeof value};
	unsigned long key = 0;
	struct err err;

	if (!CHECK_OK(object_find_private_key(session, result->key_id, &key, &err), &err))
		return;
	CHECK_OK(key_prove(session, key, public_key, &err), &err);
	CHECK_INT(session_functions(session)->C_GetAttributeValue(session->handle, key, &secret, 1), CKR_ATTRIBUTE_SENSITIVE);
	check_flag(session, key, CKA_TOKEN, "CKA_TOKEN", true);
	check_flag(session, key, CKA_PRIVATE, "CKA_PRIVATE", true);
	check_flag(session, key, CKA_SENSITIVE, "CKA_SENSITIVE", true);
	check_flag(session, key, CKA_EXTRACTABLE, "CKA_EXTRACTABLE", false);
	check_flag(session, key, CKA_SIGN, "CKA_SIGN", true);
	if (EVP_PKEY_is_a(public_key, "RSA"))
		check_flag(session, key, CKA_DECRYPT, "CKA_DECRYPT", false);
	CHECK(result->attributes.sensitive && !result->attributes.extractable && !result->attributes.local);
	CHECK(!result->attributes.always_sensitive && !result->attributes.never_extractable);
}

static char *expected_objects(const struct import_result *result)
{
	char id[2 * KEY_ID_BYTES + 1];

	hex_encode(id, result->key_id);
	return mem_format("2 %s %s\n3 %s %s\n4 %s %s\n", ADDRESS, id, ADDRESS, id, SEAL_KEY_LABEL, "696e6b616e2d7365616c");
}

static void check_sealed(const struct desk *desk, const struct import_result *result)
{
	const struct session *session = &desk->provision.connection.session;
	struct secret *password;
	struct seal seal;
	struct err err;

	if (!CHECK_OK(seal_find(session, &seal, &err), &err))
		return;
	password = seal_open(session, &seal, bytes_text(CONTEXT), result->sealed_password, &err);
	if (CHECK_OK(password != NULL, &err))
		CHECK_TEXT(secret_text(password), PASSWORD);
	secret_free(password);
}

static void import_one(size_t key, const char *options, const char *minimum, const char *rung)
{
	struct import_result result = {0};
	struct buf file = {0};
	struct import_task task;
	char *objects, *expected;
	struct desk desk;
	struct err err;

	make_file(&file, key, options);
	task = task_of(&file);
	desk_open_plain(&desk);
	provisioning_set(&desk.settings.import_minimum, minimum);
	if (CHECK_OK(desk_import(&desk, &task, &result, &err), &err)) {
		CHECK_TEXT(result.rung, rung);
		CHECK_TEXT(result.facts.key_type, keys[key].shown);
		CHECK_INT(result.facts.n_chain, 2);
		CHECK_INT(result.n_warnings, 0);
		CHECK_INT(result.key_id.len, KEY_ID_BYTES);
		objects = desk_objects(&desk);
		expected = expected_objects(&result);
		CHECK_TEXT(objects, expected);
		free(objects);
		free(expected);
		check_sealed(&desk, &result);
		check_key(&desk, &result, keys[key].key);
	}
	import_result_clear(&result);
	desk_close(&desk);
	buf_clear(&file);
}

static void every_key_in_every_format_arrives(void)
{
	for (size_t i = 0; i < N_KEYS; i++)
		for (size_t j = 0; j < sizeof formats / sizeof *formats; j++) {
			test_case("%s, %s", keys[i].shown, formats[j].name);
			import_one(i, formats[j].options, "rewrap", "rewrap");
		}
}

/* ---- the minimum ---- */

static void refuse(struct desk *desk, const struct import_task *task, enum err_code code, const char *text)
{
	char *before = desk_objects(desk), *after;
	struct import_result result;
	struct err err = {0};

	CHECK(!desk_import(desk, task, &result, &err));
	CHECK_TEXT(err.text, text);
	CHECK_INT(err.code, code);
	after = desk_objects(desk);
	CHECK_TEXT(after, before);
	free(before);
	free(after);
}

static void minimum_unwrap_refuses_what_softhsm_cannot(void)
{
	static const struct {
		const char *name, *options, *text;
	} cases[] = {
	    {"AES", NULL,
	     "the token takes the key only by a way that 'hsm import-minimum unwrap' forbids: "
	     "unwrap-token-kek: C_GenerateKey: CKR_MECHANISM_INVALID; unwrap-host-kek: C_UnwrapKey: CKR_MECHANISM_INVALID"},
	    {"3DES", "-legacy",
	     "the token takes the key only by a way that 'hsm import-minimum unwrap' forbids: "
	     "unwrap-token-kek: C_GenerateKey: CKR_MECHANISM_INVALID; unwrap-host-kek: C_UnwrapKey: CKR_MECHANISM_INVALID"},
	    {"RC2-40", "-legacy -keypbe PBE-SHA1-RC2-40",
	     "the token takes the key only by a way that 'hsm import-minimum unwrap' forbids: "
	     "unwrap: no token mechanism undoes the file's encryption"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct buf file = {0};
		struct import_task task;
		struct desk desk;

		test_case("%s", cases[i].name);
		make_file(&file, 0, cases[i].options);
		task = task_of(&file);
		desk_open_plain(&desk);
		provisioning_set(&desk.settings.import_minimum, "unwrap");
		refuse(&desk, &task, ERR_DENIED, cases[i].text);
		desk_close(&desk);
		buf_clear(&file);
	}
}

static void create_is_for_those_who_allow_it(void)
{
	static const char rewrap_refuses[] = "the token takes the key only by a way that 'hsm import-minimum rewrap' forbids: "
					     "unwrap-token-kek: C_GenerateKey: CKR_MECHANISM_INVALID; "
					     "unwrap-host-kek: C_UnwrapKey: CKR_FUNCTION_NOT_SUPPORTED; "
					     "rewrap: C_UnwrapKey: CKR_FUNCTION_NOT_SUPPORTED";

	for (size_t i = 0; i < N_KEYS; i++) {
		struct import_result result = {0};
		struct buf file = {0};
		struct import_task task;
		struct desk desk;
		struct err err;

		test_case("%s", keys[i].shown);
		make_file(&file, i, NULL);
		task = task_of(&file);
		open_weak(&desk, "no-unwrap", "rewrap");
		refuse(&desk, &task, ERR_DENIED, rewrap_refuses);
		provisioning_set(&desk.settings.import_minimum, "create");
		if (CHECK_OK(desk_import(&desk, &task, &result, &err), &err)) {
			CHECK_TEXT(result.rung, "create");
			check_key(&desk, &result, keys[i].key);
		}
		import_result_clear(&result);
		close_weak(&desk);
		buf_clear(&file);
	}
}

static void an_allowed_lower_rung_is_not_taken_without_need(void)
{
	import_one(0, NULL, "create", "rewrap");
}

/* ---- tokens with weaknesses ---- */

static void a_readable_key_is_mended(void)
{
	struct import_result result = {0};
	struct buf file = {0};
	struct import_task task;
	struct desk desk;
	struct err err;

	make_file(&file, 3, NULL);
	task = task_of(&file);
	open_weak(&desk, "readable", "rewrap");
	if (CHECK_OK(desk_import(&desk, &task, &result, &err), &err))
		check_key(&desk, &result, keys[3].key);
	import_result_clear(&result);
	close_weak(&desk);
	buf_clear(&file);
}

static const struct {
	const char *name, *weakness, *minimum;
	enum err_code code;
	const char *text;
} faults[] = {
    {"a key that stays readable", "readable stubborn", "create", ERR_UNAVAILABLE,
     "the token takes the key in no way; let it make one of its own with 'certificate request': unwrap-token-kek: C_GenerateKey: "
     "CKR_MECHANISM_INVALID; "
     "unwrap-host-kek: C_UnwrapKey: CKR_MECHANISM_INVALID; "
     "rewrap: the token keeps the key readable (SENSITIVE 0, EXTRACTABLE 1); "
     "create: the token keeps the key readable (SENSITIVE 0, EXTRACTABLE 1)"},
    {"wrong signatures", "wrong", "create", ERR_UNAVAILABLE,
     "the token takes the key in no way; let it make one of its own with 'certificate request': unwrap-token-kek: C_GenerateKey: "
     "CKR_MECHANISM_INVALID; "
     "unwrap-host-kek: C_UnwrapKey: CKR_MECHANISM_INVALID; "
     "rewrap: a signature made on the token does not verify with the certificate; "
     "create: a signature made on the token does not verify with the certificate"},
};

static void a_token_that_fails_the_checks_keeps_nothing(void)
{
	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		struct buf file = {0};
		struct import_task task;
		struct desk desk;

		test_case("%s", faults[i].name);
		make_file(&file, 0, NULL);
		task = task_of(&file);
		open_weak(&desk, faults[i].weakness, faults[i].minimum);
		refuse(&desk, &task, faults[i].code, faults[i].text);
		close_weak(&desk);
		buf_clear(&file);
	}
}

static void a_missing_public_key_object_is_a_warning(void)
{
	struct import_result result = {0};
	struct buf file = {0};
	struct import_task task;
	struct desk desk;
	struct err err;

	make_file(&file, 3, NULL);
	task = task_of(&file);
	open_weak(&desk, "no-public", "rewrap");
	if (CHECK_OK(desk_import(&desk, &task, &result, &err), &err) && CHECK_INT(result.n_warnings, 1))
		CHECK_CONTAINS(result.warnings[0], "public key object (C_CreateObject: CKR_ATTRIBUTE_VALUE_INVALID)");
	import_result_clear(&result);
	close_weak(&desk);
	buf_clear(&file);
}

/* ---- refusals of the file ---- */

static void put_mismatch(struct buf *out)
{
	STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
	STACK_OF(PKCS7) *safes = NULL;
	unsigned char *der = NULL;
	PKCS12 *file;
	int len;

	PKCS12_add_key(&bags, keys[0].key, 0, 2048, NID_aes_256_cbc, PASSWORD);
	PKCS12_add_cert(&bags, keys[3].certificate);
	PKCS12_add_safe(&safes, bags, -1, 0, NULL);
	file = PKCS12_add_safes(safes, 0);
	PKCS12_set_mac(file, PASSWORD, -1, NULL, 0, 2048, EVP_sha256());
	len = i2d_PKCS12(file, &der);
	buf_put(out, der, len > 0 ? (size_t)len : 0);
	OPENSSL_free(der);
	PKCS12_free(file);
	sk_PKCS7_pop_free(safes, PKCS7_free);
	sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

static void put_letter(struct buf *out)
{
	buf_put_text(out, "This is a letter.");
}

static void put_good(struct buf *out)
{
	make_file(out, 0, NULL);
}

static const struct {
	const char *name;
	void (*put)(struct buf *out);
	const char *address, *password;
	int64_t later; /* seconds */
	enum err_code code;
	const char *text;
} refusals[] = {
    {"no PKCS#12", put_letter, ADDRESS, PASSWORD, 0, ERR_INVALID,
     "this is not a PKCS#12 file (.p12, .pfx), or a damaged one: copy or export it again"},
    {"wrong password", put_good, ADDRESS, "secret", 0, ERR_DENIED, "wrong password of the PKCS#12 file"},
    {"another address", put_good, "jiro@example.co.jp", PASSWORD, 0, ERR_INVALID,
     "the certificate is for taro@example.co.jp, not for jiro@example.co.jp"},
    {"expired", put_good, ADDRESS, PASSWORD, 31 * 86400, ERR_INVALID, NULL},
    {"another's key", put_mismatch, ADDRESS, PASSWORD, 0, ERR_INVALID,
     "the private key in the PKCS#12 file does not belong to its certificate"},
};

static void a_refused_file_leaves_nothing(void)
{
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		struct buf file = {0};
		struct import_task task;
		struct desk desk;

		test_case("%s", refusals[i].name);
		refusals[i].put(&file);
		task = task_of(&file);
		task.address = (char *)refusals[i].address;
		task.password = bytes_text(refusals[i].password);
		task.now += refusals[i].later;
		desk_open_plain(&desk);
		if (refusals[i].text != NULL) {
			refuse(&desk, &task, refusals[i].code, refusals[i].text);
		} else {
			struct import_result result;
			struct err err = {0};
			char *objects;

			CHECK(!desk_import(&desk, &task, &result, &err));
			CHECK_CONTAINS(err.text, "the certificate expired on 2");
			objects = desk_objects(&desk);
			CHECK_TEXT(objects, "");
			free(objects);
		}
		desk_close(&desk);
		buf_clear(&file);
	}
}

static void two_imports_stand_side_by_side(void)
{
	struct import_result first = {0}, second = {0};
	struct buf file = {0};
	struct import_task task;
	uint32_t destroyed = 0;
	struct desk desk;
	struct err err;

	make_file(&file, 3, NULL);
	task = task_of(&file);
	desk_open_plain(&desk);
	CHECK_OK(desk_import(&desk, &task, &first, &err), &err);
	task.key_id = provisioning_key_id();
	if (CHECK_OK(desk_import(&desk, &task, &second, &err), &err)) {
		CHECK(!bytes_equal(first.key_id, second.key_id));
		CHECK_OK(objects_destroy(&desk.provision.connection.session, first.key_id, &destroyed, &err), &err);
		CHECK_INT(destroyed, 2);
		check_key(&desk, &second, keys[3].key);
	}
	import_result_clear(&first);
	import_result_clear(&second);
	desk_close(&desk);
	buf_clear(&file);
}

int main(void)
{
	set_up();
	TEST(every_key_in_every_format_arrives);
	TEST(minimum_unwrap_refuses_what_softhsm_cannot);
	TEST(create_is_for_those_who_allow_it);
	TEST(an_allowed_lower_rung_is_not_taken_without_need);
	TEST(a_readable_key_is_mended);
	TEST(a_token_that_fails_the_checks_keeps_nothing);
	TEST(a_missing_public_key_object_is_a_warning);
	TEST(a_refused_file_leaves_nothing);
	TEST(two_imports_stand_side_by_side);
	tear_down();
	return test_finish();
}
