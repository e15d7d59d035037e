/* token.h against SoftHSM: every test runs once for each back end. */
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hsm/token/token.h"
#include "tests/token/softhsm.h"
#include "tests/unit/test.h"

#define TEST_SECONDS 60
#define SPY "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"

static const char *backend; /* of the test that runs */

static struct token *open_with(const char *module, const char *label, const char *pin, enum token_fault *fault, struct err *err)
{
	struct token_place place = {.backend = backend, .module = module, .label = label, .threads = 8};
	struct secret *secret = pin != NULL ? secret_new(bytes_text(pin), NULL) : NULL;
	struct token *token = token_open(&place, secret, fault, err);

	secret_free(secret);
	return token;
}

static struct token *open_current(void)
{
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};
	struct token *token = open_with(softhsm_module(), SOFTHSM_LABEL, SOFTHSM_PIN, &fault, &err);

	if (!CHECK_OK(token != NULL, &err))
		exit(1);
	return token;
}

static struct token *open_fresh(void)
{
	softhsm_fresh();
	return open_current();
}

static struct token_key *load(struct token *token, const struct softhsm_key *key)
{
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};
	struct token_key *loaded = token_load_key(token, bytes_of(key->id, sizeof key->id), key->key, &fault, &err);

	if (!CHECK_OK(loaded != NULL, &err))
		exit(1);
	return loaded;
}

static bool verifies(EVP_PKEY *key, enum sign_digest algorithm, bool pss, struct bytes digest, struct bytes signature)
{
	const EVP_MD *md = algorithm == SIGN_SHA256 ? EVP_sha256() : algorithm == SIGN_SHA384 ? EVP_sha384() : EVP_sha512();
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	bool good = EVP_PKEY_verify_init(context) == 1 && EVP_PKEY_CTX_set_signature_md(context, md) == 1;

	if (good && EVP_PKEY_is_a(key, "RSA"))
		good = EVP_PKEY_CTX_set_rsa_padding(context, pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING) == 1 &&
		       (!pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1);
	good = good && EVP_PKEY_verify(context, signature.data, signature.len, digest.data, digest.len) == 1;
	EVP_PKEY_CTX_free(context);
	return good;
}

static bool sign_and_verify(struct token_key *loaded, const struct softhsm_key *key, enum sign_digest algorithm, bool pss,
			    unsigned seed, struct err *err)
{
	uint8_t octets[SIGN_DIGEST_MAX_BYTES];
	struct bytes digest = bytes_of(octets, sign_digest_bytes(algorithm));
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct buf signature = {0};
	bool good;

	memset(octets, (int)seed, sizeof octets);
	octets[0] = (uint8_t)(seed >> 8);
	good = token_sign(loaded, algorithm, pss, digest, &signature, &fault, err);
	if (good && !verifies(key->key, algorithm, pss, digest, buf_bytes(&signature)))
		good = err_set(err, ERR_INTEGRITY, "the signature does not verify");
	buf_clear(&signature);
	return good;
}

static void signs_with_every_key_and_digest(void)
{
	struct softhsm_key *keys = softhsm_keys();
	struct token *token = open_fresh();

	for (unsigned i = 0; token != NULL && i < SOFTHSM_KEYS; i++) {
		struct token_key *loaded = load(token, &keys[i]);

		for (int algorithm = SIGN_SHA256; loaded != NULL && algorithm <= SIGN_SHA512; algorithm++) {
			for (int pss = 0; pss <= (EVP_PKEY_is_a(keys[i].key, "RSA") ? 1 : 0); pss++) {
				struct err err = {0};

				test_case("%s: %s, %s%s", backend, keys[i].type, sign_digest_micalg((enum sign_digest)algorithm),
					  pss ? " pss" : "");
				CHECK_OK(sign_and_verify(loaded, &keys[i], (enum sign_digest)algorithm, pss == 1, i, &err), &err);
				CHECK_INT(ERR_peek_error(), 0);
			}
		}
		token_key_free(loaded);
	}
	token_close(token);
}

static void describes_the_token(void)
{
	struct token *token = open_fresh();
	const struct token_info *info = token_describe(token);
	enum token_fault fault;
	struct err err = {0};

	CHECK_TEXT(info->label, SOFTHSM_LABEL);
	CHECK_TEXT(info->model, "SoftHSM v2");
	CHECK_INT(strlen(info->serial), 16);
	CHECK_TEXT(info->firmware, "2.6");
	CHECK_OK(token_check(token, &fault, &err), &err);
	token_close(token);
}

static void a_missing_key_is_said_to_be_missing(void)
{
	struct softhsm_key *keys = softhsm_keys();
	static const uint8_t nowhere[] = {0xde, 0xad};
	struct token *token = open_fresh();
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct token_key *loaded;
	struct err err = {0};

	CHECK(token_load_key(token, bytes_of(nowhere, sizeof nowhere), keys[0].key, &fault, &err) == NULL);
	CHECK_INT(fault, TOKEN_FAULT_KEY);
	CHECK_TEXT(err.text, "the key is not on the token");
	loaded = load(token, &keys[0]);
	CHECK_OK(sign_and_verify(loaded, &keys[0], SIGN_SHA256, false, 1, &err), &err);
	token_key_free(loaded);
	token_close(token);
}

static void a_token_that_is_not_there_is_absent(void)
{
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};

	softhsm_fresh();
	CHECK(open_with(softhsm_module(), "another", SOFTHSM_PIN, &fault, &err) == NULL);
	CHECK_INT(fault, TOKEN_FAULT_ABSENT);
	CHECK_CONTAINS(err.text, "no token labelled \"another\"");
	CHECK_CONTAINS(err.text, SOFTHSM_LABEL);
}

static void what_is_no_module_is_said_to_be_none(void)
{
	char *text_file = mem_format("%s/module.so", test_directory());
	const char *paths[] = {"/nowhere/module.so", text_file, "/usr/lib/x86_64-linux-gnu/libevent_core-2.1.so.7"};

	CHECK(test_write_file(text_file, bytes_text("not a shared object")));
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
		enum token_fault fault = TOKEN_FAULT_NONE;
		struct err err = {0};

		test_case("%s: %s", backend, paths[i]);
		CHECK(open_with(paths[i], SOFTHSM_LABEL, SOFTHSM_PIN, &fault, &err) == NULL);
		CHECK_INT(fault, TOKEN_FAULT_MODULE);
		CHECK_CONTAINS(err.text, "module");
	}
	free(text_file);
}

static unsigned count_in_file(const char *path, const char *needle)
{
	struct buf log = {0};
	unsigned count = 0;
	const char *at;

	if (!CHECK(test_read_file(path, &log)))
		return 0;
	for (at = buf_text(&log); (at = strstr(at, needle)) != NULL; at += strlen(needle))
		count++;
	buf_clear(&log);
	return count;
}

/* Counts calls by OpenSC's spy, which stands between us and SoftHSM. */
static char *spy_on(void)
{
	char *log = mem_format("%s/spy.log", softhsm_fresh());

	setenv("PKCS11SPY", softhsm_module(), 1);
	setenv("PKCS11SPY_OUTPUT", log, 1);
	return log;
}

static void a_wrong_pin_is_tried_exactly_once(void)
{
	char *log = spy_on();
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};

	CHECK(open_with(SPY, SOFTHSM_LABEL, "000000", &fault, &err) == NULL);
	CHECK_INT(fault, TOKEN_FAULT_PIN);
	CHECK_INT(err.code, ERR_DENIED);
	CHECK_CONTAINS(err.text, "CKR_PIN_INCORRECT");
	CHECK_INT(count_in_file(log, ": C_Login\n"), 1);
	free(log);
}

static void without_a_pin_no_login_is_tried(void)
{
	char *log = spy_on();
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};

	CHECK(open_with(SPY, SOFTHSM_LABEL, NULL, &fault, &err) == NULL);
	CHECK_INT(fault, TOKEN_FAULT_PIN);
	CHECK_CONTAINS(err.text, "needs a PIN");
	CHECK_INT(count_in_file(log, ": C_Login\n"), 0);
	free(log);
}

/* One login and one search for a process; then C_SignInit and C_Sign are all that a signature costs. */
static void a_signature_costs_two_calls(void)
{
	struct softhsm_key *key = softhsm_key("rsa2048");
	char *log = spy_on();
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};
	struct token *token = open_with(SPY, SOFTHSM_LABEL, SOFTHSM_PIN, &fault, &err);
	struct token_key *loaded;
	unsigned finds, sessions;

	if (!CHECK_OK(token != NULL, &err))
		return;
	loaded = load(token, key);
	CHECK_OK(sign_and_verify(loaded, key, SIGN_SHA256, false, 0, &err), &err);
	finds = count_in_file(log, ": C_FindObjectsInit\n");
	sessions = count_in_file(log, ": C_OpenSession\n");
	for (unsigned i = 0; i < 20; i++)
		CHECK_OK(sign_and_verify(loaded, key, SIGN_SHA256, false, i, &err), &err);
	CHECK_INT(count_in_file(log, ": C_Sign\n"), 21);
	CHECK_INT(count_in_file(log, ": C_SignInit\n"), 21);
	CHECK_INT(count_in_file(log, ": C_FindObjectsInit\n"), finds);
	CHECK_INT(count_in_file(log, ": C_OpenSession\n"), sessions);
	CHECK_INT(count_in_file(log, ": C_Login\n"), 1);
	token_key_free(loaded);
	token_close(token);
	free(log);
}

#define THREADS 8
#define SIGNATURES_PER_THREAD 25

struct crew {
	struct token_key *loaded[SOFTHSM_KEYS];
	atomic_uint signed_well;
	atomic_uint number;
};

static void *sign_many(void *arg)
{
	struct crew *crew = arg;
	unsigned number = atomic_fetch_add(&crew->number, 1);

	for (unsigned i = 0; i < SIGNATURES_PER_THREAD; i++) {
		unsigned which = (number + i) % SOFTHSM_KEYS;
		struct softhsm_key *key = &softhsm_keys()[which];
		bool pss = EVP_PKEY_is_a(key->key, "RSA") && i % 2 == 1;

		if (sign_and_verify(crew->loaded[which], key, SIGN_SHA256, pss, number * 100 + i, NULL))
			atomic_fetch_add(&crew->signed_well, 1);
	}
	return NULL;
}

static void eight_threads_sign_with_all_keys_at_once(void)
{
	struct token *token = open_fresh();
	struct crew crew = {0};
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < SOFTHSM_KEYS; i++)
		crew.loaded[i] = load(token, &softhsm_keys()[i]);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, sign_many, &crew);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(crew.signed_well, THREADS * SIGNATURES_PER_THREAD);
	for (unsigned i = 0; i < SOFTHSM_KEYS; i++)
		token_key_free(crew.loaded[i]);
	token_close(token);
}

/* A renewal: another process puts a key on the token while this one signs. */
static void a_key_that_came_later_can_be_loaded(void)
{
	static const uint8_t id[] = {0x77};
	struct softhsm_key *first = softhsm_key("rsa2048");
	EVP_PKEY *fresh = test_key("rsa2048");
	struct token *token = open_fresh();
	struct token_key *loaded = load(token, first), *later;
	struct softhsm_key twin = {.key = fresh};
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};

	softhsm_import(fresh, id, sizeof id);
	later = token_load_key(token, bytes_of(id, sizeof id), fresh, &fault, &err);
	if (CHECK_OK(later != NULL, &err)) {
		CHECK_OK(sign_and_verify(later, &twin, SIGN_SHA256, false, 1, &err), &err);
		CHECK_OK(sign_and_verify(loaded, first, SIGN_SHA256, false, 1, &err), &err);
	}
	token_key_free(later);
	token_key_free(loaded);
	token_close(token);
	EVP_PKEY_free(fresh);
}

/* More keys than are searched for singly. */
static void many_keys_can_be_loaded(void)
{
	struct softhsm_key *key = softhsm_key("p256");
	struct token_key *loaded[12] = {NULL};
	struct token *token;
	struct err err = {0};

	softhsm_fresh();
	for (uint8_t i = 0; i < 12; i++)
		softhsm_import(key->key, (uint8_t[]){0x50, i}, 2);
	token = open_current();
	for (uint8_t i = 0; i < 12; i++) {
		enum token_fault fault = TOKEN_FAULT_NONE;

		test_case("%s: key %u", backend, i);
		loaded[i] = token_load_key(token, bytes_of((uint8_t[]){0x50, i}, 2), key->key, &fault, &err);
		if (CHECK_OK(loaded[i] != NULL, &err))
			CHECK_OK(sign_and_verify(loaded[i], key, SIGN_SHA256, false, i, &err), &err);
		token_key_free(loaded[i]);
		CHECK(token_load_key(token, bytes_of((uint8_t[]){0x51, i}, 2), key->key, &fault, &err) == NULL);
		CHECK_INT(fault, TOKEN_FAULT_KEY);
	}
	token_close(token);
}

/* Key types that we do not sign with, and that libp11 0.4.12 does not know, are somebody else's business. */
static void foreign_keys_on_the_token_disturb_nothing(void)
{
	static const char *const types[] = {"ed25519", "p521"};
	struct softhsm_key *keys = softhsm_keys();
	struct token *token;

	softhsm_fresh();
	for (uint8_t i = 0; i < 2; i++) {
		EVP_PKEY *key = test_key(types[i]);

		softhsm_import(key, (uint8_t[]){0x01, i}, 2);
		EVP_PKEY_free(key);
	}
	token = open_current();
	for (unsigned i = 0; i < SOFTHSM_KEYS; i++) {
		struct token_key *loaded = load(token, &keys[i]);
		struct err err = {0};

		test_case("%s: %s", backend, keys[i].type);
		CHECK_OK(sign_and_verify(loaded, &keys[i], SIGN_SHA256, false, i, &err), &err);
		token_key_free(loaded);
	}
	token_close(token);
}

static void a_key_of_another_certificate_is_not_loaded(void)
{
	static const char *const pairs[][2] = {
	    {"rsa2048", "rsa3072"}, {"rsa2048", "p256"}, {"p256", "p384"}, {"p256", "rsa2048"}};
	struct token *token = open_fresh();

	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
		struct softhsm_key *key = softhsm_key(pairs[i][0]);
		enum token_fault fault = TOKEN_FAULT_NONE;
		struct err err = {0};

		test_case("%s: %s for a certificate of %s", backend, pairs[i][0], pairs[i][1]);
		CHECK(token_load_key(token, bytes_of(key->id, sizeof key->id), softhsm_key(pairs[i][1])->key, &fault, &err) ==
		      NULL);
		CHECK_INT(fault, TOKEN_FAULT_KEY);
		CHECK_TEXT(err.text, "the key on the token is not the certificate's");
	}
	for (unsigned i = 0; i < 2; i++) {
		struct softhsm_key *key = softhsm_key(i == 0 ? "rsa2048" : "p256");
		EVP_PKEY *another = test_key(key->type);
		enum token_fault fault = TOKEN_FAULT_NONE;

		test_case("%s: another key of type %s", backend, key->type);
		CHECK(token_load_key(token, bytes_of(key->id, sizeof key->id), another, &fault, NULL) == NULL);
		CHECK_INT(fault, TOKEN_FAULT_KEY);
		EVP_PKEY_free(another);
	}
	token_close(token);
}

/* Of the octets, not of a digest: what a token that hashes itself needs. */
static void a_text_is_signed_by_its_digest(void)
{
	static const uint8_t octets[] = "the attributes of a signature";
	struct softhsm_key *key = softhsm_key("rsa2048");
	struct token *token = open_fresh();
	struct token_key *loaded = load(token, key);

	for (int pss = 0; pss <= 1; pss++) {
		struct buf signature = {0};
		uint8_t digest[48];
		enum token_fault fault;
		struct err err = {0};

		EVP_Q_digest(NULL, "SHA384", NULL, octets, sizeof octets, digest, NULL);
		CHECK_OK(
		    token_sign_text(loaded, SIGN_SHA384, pss == 1, bytes_of(octets, sizeof octets), &signature, &fault, &err),
		    &err);
		CHECK(verifies(key->key, SIGN_SHA384, pss == 1, bytes_of(digest, sizeof digest), buf_bytes(&signature)));
		buf_clear(&signature);
	}
	token_key_free(loaded);
	token_close(token);
}

/* hashing_module.so stands beside this program. */
static char *hashing_module(void)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	CHECK(len > 0);
	self[len > 0 ? len : 0] = '\0';
	*strrchr(self, '/') = '\0';
	return mem_format("%s/hashing_module.so", self);
}

/* libp11 gives digests alone: its worker says that the token does not do it. */
static void a_token_that_hashes_itself_is_given_the_text(void)
{
	static const uint8_t octets[] = "the attributes of a signature";
	bool cryptoki = strcmp(backend, "cryptoki") == 0;
	struct softhsm_key *key = softhsm_key("rsa2048");
	char *module = hashing_module();
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct err err = {0};
	struct token_key *loaded;
	struct token *token;

	setenv("INKAN_HASHING_MODULE", softhsm_module(), 1);
	softhsm_fresh();
	token = open_with(module, SOFTHSM_LABEL, SOFTHSM_PIN, &fault, &err);
	if (!CHECK_OK(token != NULL, &err))
		exit(1);
	loaded = load(token, key);
	for (int pss = 0; pss <= 1; pss++) {
		struct buf signature = {0};
		uint8_t digest[32];

		test_case("%s: %s", backend, pss == 1 ? "pss" : "pkcs1");
		EVP_Q_digest(NULL, "SHA256", NULL, octets, sizeof octets, digest, NULL);
		CHECK_INT(
		    token_sign_text(loaded, SIGN_SHA256, pss == 1, bytes_of(octets, sizeof octets), &signature, &fault, &err),
		    cryptoki);
		CHECK_INT(fault, cryptoki ? TOKEN_FAULT_NONE : TOKEN_FAULT_MECHANISM);
		if (cryptoki)
			CHECK(verifies(key->key, SIGN_SHA256, pss == 1, bytes_of(digest, sizeof digest), buf_bytes(&signature)));
		else
			CHECK_CONTAINS(err.text, "CKR_MECHANISM_INVALID");
		buf_clear(&signature);
	}
	token_key_free(loaded);
	token_close(token);
	free(module);
}

static void a_key_that_is_destroyed_is_no_fault_of_the_token(void)
{
	struct softhsm_key *key = softhsm_key("rsa2048");
	struct token *token = open_fresh();
	struct token_key *loaded = load(token, key);
	enum token_fault fault = TOKEN_FAULT_NONE;
	uint8_t digest[32] = {1};
	struct buf signature = {0};

	softhsm_destroy(key->id, sizeof key->id);
	CHECK(!token_sign(loaded, SIGN_SHA256, false, bytes_of(digest, sizeof digest), &signature, &fault, NULL));
	/* libp11 cannot tell it from a token that was lost. */
	CHECK_INT(fault, strcmp(backend, "cryptoki") == 0 ? TOKEN_FAULT_KEY : TOKEN_FAULT_MODULE);
	token_key_free(loaded);
	token_close(token);
}

static void a_digest_of_a_wrong_size_is_not_signed(void)
{
	struct softhsm_key *key = softhsm_key("rsa2048");
	struct token *token = open_fresh();
	struct token_key *loaded = load(token, key);
	uint8_t octets[SIGN_DIGEST_MAX_BYTES] = {0};

	for (size_t len = 0; len <= sizeof octets; len++) {
		enum token_fault fault = TOKEN_FAULT_NONE;
		struct buf signature = {0};
		bool done = token_sign(loaded, SIGN_SHA256, false, bytes_of(octets, len), &signature, &fault, NULL);

		test_case("%s: %zu octets", backend, len);
		CHECK_INT(done, len == 32);
		CHECK_INT(fault, len == 32 ? TOKEN_FAULT_NONE : TOKEN_FAULT_MECHANISM);
		buf_clear(&signature);
	}
	token_key_free(loaded);
	token_close(token);
}

static void back_ends_are_known_by_name(void)
{
	enum token_fault fault = TOKEN_FAULT_NONE;
	struct token_place place = {.backend = "telepathy", .module = softhsm_module(), .label = SOFTHSM_LABEL, .threads = 1};
	struct err err = {0};

	CHECK_INT(token_backend_threads("engine"), 16);
	CHECK_INT(token_backend_threads("cryptoki"), 64);
	CHECK_INT(token_backend_threads("telepathy"), 0);
	CHECK(token_open(&place, NULL, &fault, &err) == NULL);
	CHECK_CONTAINS(err.text, "telepathy");
}

int main(void)
{
	static const char *const names[] = {"engine", "cryptoki"};

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	(void)softhsm_keys();
	TEST(back_ends_are_known_by_name);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		backend = names[i];
		printf("back end %s\n", backend);
		TEST_IN_CHILD(signs_with_every_key_and_digest, TEST_SECONDS);
		TEST_IN_CHILD(describes_the_token, TEST_SECONDS);
		TEST_IN_CHILD(a_missing_key_is_said_to_be_missing, TEST_SECONDS);
		TEST_IN_CHILD(a_token_that_is_not_there_is_absent, TEST_SECONDS);
		TEST_IN_CHILD(what_is_no_module_is_said_to_be_none, TEST_SECONDS);
		TEST_IN_CHILD(a_wrong_pin_is_tried_exactly_once, TEST_SECONDS);
		TEST_IN_CHILD(without_a_pin_no_login_is_tried, TEST_SECONDS);
		TEST_IN_CHILD(a_signature_costs_two_calls, TEST_SECONDS);
		TEST_IN_CHILD(eight_threads_sign_with_all_keys_at_once, TEST_SECONDS);
		TEST_IN_CHILD(a_key_that_came_later_can_be_loaded, TEST_SECONDS);
		TEST_IN_CHILD(many_keys_can_be_loaded, TEST_SECONDS);
		TEST_IN_CHILD(foreign_keys_on_the_token_disturb_nothing, TEST_SECONDS);
		TEST_IN_CHILD(a_key_of_another_certificate_is_not_loaded, TEST_SECONDS);
		TEST_IN_CHILD(a_text_is_signed_by_its_digest, TEST_SECONDS);
		TEST_IN_CHILD(a_token_that_hashes_itself_is_given_the_text, TEST_SECONDS);
		TEST_IN_CHILD(a_key_that_is_destroyed_is_no_fault_of_the_token, TEST_SECONDS);
		TEST_IN_CHILD(a_digest_of_a_wrong_size_is_not_signed, TEST_SECONDS);
	}
	return test_finish();
}
