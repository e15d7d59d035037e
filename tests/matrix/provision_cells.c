/* The rows of provisioning: each is a task of a process `inkan-hsm provision`, as the console has it done. */
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "tests/matrix/matrix.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"
#define PASSWORD "暗証番号1234"

static struct test_ca ca;

static char **copy_list(char *const *list, size_t *count)
{
	char **copy = mem_new_array(MATRIX_VARIABLES + 1, sizeof *copy);

	while (*count < MATRIX_VARIABLES && list[*count] != NULL) {
		copy[*count] = mem_string(list[*count]);
		(*count)++;
	}
	copy[*count] = mem_string("/tmp"); /* what a sanitizer writes */
	return copy;
}

void matrix_settings(const struct matrix_token *token, struct hsm_settings *settings)
{
	*settings = (struct hsm_settings){
	    .module = mem_string(token->module),
	    .token = mem_string(MATRIX_LABEL),
	    .backend = mem_string("cryptoki"),
	    .import_minimum = mem_string("create"),
	    .threads = 8,
	};
	settings->environment = copy_list(token->environment, &settings->n_environment);
	free(settings->environment[settings->n_environment]); /* that place is for `writable` alone */
	settings->writable = copy_list(token->writable, &settings->n_writable);
	settings->n_writable++;
}

static void start(struct role *role, const struct matrix_token *token, const char *pin)
{
	struct hsm_settings settings;

	matrix_settings(token, &settings);
	role_start(role, &settings, pin);
	hsm_settings_clear(&settings);
}

/* The last code of the token in the text, which is the last thing that was tried. */
static char *refusal(const struct err *err)
{
	const char *code = NULL;

	for (const char *at = strstr(err->text, "CKR_"); at != NULL; at = strstr(at + 1, "CKR_"))
		code = at;
	return code != NULL ? mem_format("no: %.*s", (int)strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"), code)
			    : mem_string("no");
}

/* ---- initialisation ---- */

static void try_initialize(const struct matrix_token *token)
{
	struct initialize_task task = {
	    .label = (char *)MATRIX_LABEL, .so_pin = bytes_text(token->so_pin), .user_pin = bytes_text(MATRIX_PIN)};
	struct token_description description = {0};
	struct err err = {0};
	struct role role;
	bool good;

	start(&role, token, NULL);
	good = provision_initialize(&role.call, &task, &description, &err);
	role_end(&role);
	matrix_cell("`hsm initialize`", good ? mem_string("yes") : refusal(&err));
	token_description_clear(&description);
	if (good)
		return;
	matrix_must(token->initialize_outside != NULL, err.text);
	CHECK_CONTAINS(err.text, "with the vendor's own tool");
	token->initialize_outside();
}

static void try_describe(const struct matrix_token *token)
{
	struct token_description description = {0};
	struct err err = {0};
	struct role role;

	start(&role, token, MATRIX_PIN);
	if (CHECK_OK(provision_describe(&role.call, &description, &err), &err)) {
		CHECK(description.logged_in);
		matrix_cell("way of import, tried by `show hsm`",
			    mem_string(description.import_rung[0] != '\0' ? description.import_rung : "none"));
		matrix_cell("seal of PKCS#12 passwords", mem_string(description.seal[0] != '\0' ? description.seal : "none"));
	}
	role_end(&role);
	token_description_clear(&description);
}

/* ---- import ---- */

static char *attributes_text(const struct key_attributes *attributes)
{
	return mem_format("%ssensitive %sextractable %slocal %snever-extractable", attributes->sensitive ? "" : "!",
			  attributes->extractable ? "" : "!", attributes->local ? "" : "!",
			  attributes->never_extractable ? "" : "!");
}

static void remember(struct matrix_key *key, const char *type, struct bytes id, X509 *certificate)
{
	key->type = type;
	memcpy(key->id, id.data, sizeof key->id);
	X509_free(key->certificate);
	key->certificate = certificate;
	buf_clear(&key->leaf);
	buf_clear(&key->issuer);
	test_put_der(&key->leaf, certificate);
	test_put_der(&key->issuer, ca.intermediate);
}

/* The result's rung, or what was wrong. The key with its certificate is in *key where it is on the token. */
static char *import(const struct matrix_token *token, const char *type, const char *options, struct matrix_key *key,
		    struct key_attributes *attributes)
{
	EVP_PKEY *pkey = test_key(type);
	X509 *certificate = test_certificate(&ca, pkey, ADDRESS);
	struct import_task task = {.address = (char *)ADDRESS,
				   .password = bytes_text(PASSWORD),
				   .now = clock_wall_seconds(),
				   .key_id = provisioning_key_id()};
	struct import_result result = {0};
	struct buf file = {0};
	struct err err = {0};
	struct role role;
	char *text;
	bool good;

	pkcs12_make(&file, &(struct pkcs12_recipe){pkey, certificate, {ca.intermediate}, PASSWORD, options});
	task.pkcs12 = buf_bytes(&file);
	start(&role, token, MATRIX_PIN);
	good = provision_import(&role.call, &task, &result, &err);
	role_end(&role);
	text = good ? mem_string(result.rung) : refusal(&err);
	if (good) {
		*attributes = result.attributes;
		CHECK(result.sealed_password.len > 0);
		remember(key, type, task.key_id, certificate);
	} else {
		CHECK_CONTAINS(err.text, "let it make one of its own with 'certificate request'");
		X509_free(certificate);
	}
	import_result_clear(&result);
	buf_clear(&file);
	EVP_PKEY_free(pkey);
	return text;
}

static void try_imports(const struct matrix_token *token, struct matrix_key *rsa, struct matrix_key *ec)
{
	static const struct {
		const char *name, *options;
	} forms[] = {{"AES", NULL}, {"3DES", "-legacy"}, {"RC2", "-legacy -keypbe PBE-SHA1-RC2-40"}};
	struct key_attributes attributes = {0};

	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		char *row = mem_format("import RSA-2048, %s", forms[i].name);

		matrix_cell(row, import(token, "rsa2048", forms[i].options, rsa, &attributes));
		free(row);
		if (i == 0)
			matrix_cell("attributes of that key",
				    rsa->type[0] != '\0' ? attributes_text(&attributes) : mem_string("-"));
		row = mem_format("import P-256, %s", forms[i].name);
		matrix_cell(row, import(token, "p256", forms[i].options, ec, &attributes));
		free(row);
	}
}

/* ---- born on the token ---- */

static bool request(const struct matrix_token *token, const char *type, struct bytes key_id, struct buf *csr, struct err *err)
{
	struct request_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = (char *)ADDRESS, .key_type = (char *)type, .key_id = key_id};
	struct request_result result = {0};
	struct role role;
	bool good;

	start(&role, token, MATRIX_PIN);
	good = provision_request(&role.call, &task, &result, err);
	role_end(&role);
	if (good)
		buf_put_bytes(csr, result.csr);
	request_result_clear(&result);
	return good;
}

/* As a CA does it, after it has verified the request. */
static X509 *certify(struct bytes csr)
{
	const uint8_t *at = csr.data;
	X509_REQ *parsed = d2i_X509_REQ(NULL, &at, (long)csr.len);
	X509 *certificate;

	matrix_must(parsed != NULL && X509_REQ_verify(parsed, X509_REQ_get0_pubkey(parsed)) == 1, "bad certificate request");
	certificate = test_certificate(&ca, X509_REQ_get0_pubkey(parsed), ADDRESS);
	X509_REQ_free(parsed);
	return certificate;
}

static void put_pem(struct buf *out, X509 *certificate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	matrix_must(PEM_write_bio_X509(bio, certificate) == 1, "PEM");
	len = BIO_get_mem_data(bio, &text);
	buf_put(out, text, (size_t)len);
	BIO_free(bio);
}

static bool install(const struct matrix_token *token, struct bytes key_id, struct bytes csr, X509 *certificate,
		    struct key_attributes *attributes, struct err *err)
{
	struct install_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = (char *)ADDRESS, .key_id = key_id, .csr = csr, .now = clock_wall_seconds()};
	struct import_result result = {0};
	struct buf pem = {0};
	struct role role;
	bool good;

	put_pem(&pem, certificate);
	put_pem(&pem, ca.intermediate);
	task.certificates = buf_bytes(&pem);
	start(&role, token, MATRIX_PIN);
	good = provision_install(&role.call, &task, &result, err);
	role_end(&role);
	*attributes = result.attributes;
	import_result_clear(&result);
	buf_clear(&pem);
	return good;
}

static void try_birth(const struct matrix_token *token, const char *row, const char *type, struct matrix_key *key)
{
	struct bytes key_id = provisioning_key_id();
	struct key_attributes attributes = {0};
	X509 *certificate = NULL;
	struct buf csr = {0};
	struct err err = {0};
	bool good = request(token, type, key_id, &csr, &err);

	if (good) {
		certificate = certify(buf_bytes(&csr));
		good = install(token, key_id, buf_bytes(&csr), certificate, &attributes, &err);
	}
	matrix_cell(row, good ? attributes_text(&attributes) : refusal(&err));
	if (good)
		remember(key, type, key_id, certificate);
	else
		X509_free(certificate);
	buf_clear(&csr);
}

void matrix_provision(const struct matrix_token *token, struct matrix_key *rsa, struct matrix_key *ec)
{
	test_ca_init(&ca);
	try_initialize(token);
	try_imports(token, rsa, ec);
	try_describe(token);
	try_birth(token, "RSA-2048 key born there", "rsa2048", rsa);
	try_birth(token, "P-256 key born there", "p256", ec);
}

/* ---- deletion ---- */

static bool is_there(const struct matrix_token *token, const struct matrix_key *key)
{
	struct bytes chain[] = {buf_bytes(&key->leaf), buf_bytes(&key->issuer)};
	struct worker_certificate one = {.id = 1, .key_id = bytes_of(key->id, sizeof key->id), .chain = chain, .n_chain = 2};
	struct worker_certificates certificates = {.items = &one, .count = 1};
	struct test_results results = {0};
	struct err err = {0};
	struct role role;
	bool there = false;

	start(&role, token, MATRIX_PIN);
	if (CHECK_OK(provision_test(&role.call, &certificates, &results, &err), &err) && CHECK_INT(results.count, 1))
		there = results.items[0].passed;
	role_end(&role);
	test_results_clear(&results);
	return there;
}

void matrix_delete(const struct matrix_token *token, const struct matrix_key *key)
{
	uint32_t destroyed = 0;
	struct err err = {0};
	struct role role;
	bool good;

	CHECK(is_there(token, key));
	start(&role, token, MATRIX_PIN);
	good = provision_delete(&role.call, bytes_of(key->id, sizeof key->id), &destroyed, &err);
	role_end(&role);
	matrix_cell("delete", good ? mem_format("yes, %u objects", destroyed) : refusal(&err));
	CHECK(!good || !is_there(token, key));
	test_ca_clear(&ca);
}
