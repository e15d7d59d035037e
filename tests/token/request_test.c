/* Keys that are born on the token: generated, requested, certified, installed; and refused when the certificate does not fit. */
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/clock.h"
#include "hsm/token/object.h"
#include "hsm/token/proof.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"

static struct test_ca ca;

/* ---- the tasks in this process ---- */

typedef bool task_run(struct provision *provision, struct msg *msg, struct buf *result, struct err *err);

static bool run_task(struct desk *desk, task_run *task, struct buf *payload, struct buf *answer, struct err *err)
{
	struct msg msg = msg_of(buf_bytes(payload));
	bool good = task(&desk->provision, &msg, answer, err);

	provision_keep(&desk->provision);
	buf_clear(payload);
	return good;
}

static bool request(struct desk *desk, const struct request_task *task, struct request_result *result, struct err *err)
{
	struct buf payload = {0}, answer = {0};
	struct msg msg;
	bool good;

	request_task_encode(&payload, task);
	good = run_task(desk, task_request, &payload, &answer, err);
	msg = msg_of(buf_bytes(&answer));
	good = good && request_result_decode(&msg, result, err);
	buf_clear(&answer);
	return good;
}

static bool install(struct desk *desk, const struct install_task *task, struct import_result *result, struct err *err)
{
	struct buf payload = {0}, answer = {0};
	struct msg msg;
	bool good;

	install_task_encode(&payload, task);
	good = run_task(desk, task_install, &payload, &answer, err);
	msg = msg_of(buf_bytes(&answer));
	good = good && import_result_decode(&msg, result, err);
	buf_clear(&answer);
	return good;
}

/* ---- what a CA does ---- */

static X509_REQ *decode_request(struct bytes der)
{
	const uint8_t *at = der.data;

	return d2i_X509_REQ(NULL, &at, (long)der.len);
}

static void put_pem(struct buf *out, X509 *certificate)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len;

	PEM_write_bio_X509(memory, certificate);
	len = BIO_get_mem_data(memory, &text);
	buf_put(out, text, (size_t)len);
	BIO_free(memory);
}

/* The certificate of a request, for an address, with its intermediate. */
static void certify(struct buf *out, struct bytes csr, const char *address)
{
	X509_REQ *decoded = decode_request(csr);
	X509 *certificate = test_certificate(&ca, X509_REQ_get0_pubkey(decoded), address);

	put_pem(out, ca.intermediate);
	put_pem(out, certificate);
	X509_free(certificate);
	X509_REQ_free(decoded);
}

/* "a, b": of the type, and no others. */
static bool asks_for(X509_REQ *decoded, int type, const char *wanted)
{
	STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(decoded);
	GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
	struct buf found = {0};
	bool same = true;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

		same = same && one->type == type;
		buf_put_text(&found, i == 0 ? "" : ", ");
		if (one->type == type)
			buf_put(&found, ASN1_STRING_get0_data(one->d.ia5), (size_t)ASN1_STRING_length(one->d.ia5));
	}
	same = CHECK_TEXT(buf_text(&found), wanted) && same;
	buf_clear(&found);
	GENERAL_NAMES_free(names);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	return same;
}

/* ---- tokens ---- */

static void open_nss(struct desk *desk)
{
	const char *directory = test_directory();
	char *pin = mem_format("%s/pin", directory),
	     *command = mem_format("certutil -N -d sql:%s -f %s >/dev/null", directory, pin);

	setenv("NSS_MAX_MP_PBE_ITERATION_COUNT", "1", 1);
	setenv("INKAN_NSS_DIRECTORY", directory, 1);
	CHECK(test_write_file(pin, bytes_text(PROVISIONING_PIN "\n")));
	CHECK(system(command) == 0);
	provisioning_fresh();
	provisioning_settings(&desk->settings);
	free(desk->settings.module);
	desk->settings.module = provisioning_module("nss_module");
	desk_open(desk);
	free(pin);
	free(command);
}

static const struct {
	const char *name, *type;
} kinds[] = {
    {"rsa2048", "RSA-2048"}, {"rsa3072", "RSA-3072"}, {"rsa4096", "RSA-4096"}, {"p256", "EC-P256"}, {"p384", "EC-P384"},
};

static void check_request(const struct request_result *result, int type, const char *name)
{
	X509_REQ *decoded = decode_request(result->csr);

	if (!CHECK(decoded != NULL))
		return;
	CHECK(X509_REQ_verify(decoded, X509_REQ_get0_pubkey(decoded)) == 1);
	CHECK(asks_for(decoded, type, name));
	X509_REQ_free(decoded);
	CHECK(result->attributes.sensitive && !result->attributes.extractable);
}

static void check_installed(struct desk *desk, const struct import_result *result, const struct request_result *requested)
{
	X509_REQ *decoded = decode_request(requested->csr);
	unsigned long key;
	struct err err;

	CHECK_TEXT(result->rung, "generate");
	CHECK_TEXT(result->facts.key_type, requested->key_type);
	CHECK_INT(result->facts.n_chain, 2);
	CHECK_INT(result->sealed_password.len, 0);
	if (CHECK_OK(object_find_private_key(&desk->provision.connection.session, result->key_id, &key, &err), &err))
		CHECK_OK(key_prove(&desk->provision.connection.session, key, X509_REQ_get0_pubkey(decoded), &err), &err);
	X509_REQ_free(decoded);
}

/* NSS makes the key and does not say so. */
static void check_birth(const struct request_result *result, bool nss)
{
	CHECK_INT(result->attributes.local, !nss);
	CHECK(result->attributes.never_extractable && result->attributes.always_sensitive);
}

static void request_and_install(struct desk *desk, const char *kind, const char *type, bool nss)
{
	struct request_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = ADDRESS, .key_type = (char *)kind, .key_id = provisioning_key_id()};
	struct request_result requested = {0};
	struct import_result installed = {0};
	struct buf pem = {0};
	struct err err;

	if (!CHECK_OK(request(desk, &task, &requested, &err), &err))
		return;
	CHECK_TEXT(requested.key_type, type);
	check_request(&requested, GEN_EMAIL, ADDRESS);
	check_birth(&requested, nss);
	certify(&pem, requested.csr, ADDRESS);
	if (CHECK_OK(install(desk,
			     &(struct install_task){KEY_PURPOSE_MAIL, ADDRESS, task.key_id, requested.csr, buf_bytes(&pem),
						    clock_wall_seconds()},
			     &installed, &err),
		     &err))
		check_installed(desk, &installed, &requested);
	import_result_clear(&installed);
	request_result_clear(&requested);
	buf_clear(&pem);
}

static void every_kind_of_key_is_born_and_certified(void)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct desk desk;

		test_case("SoftHSM %s", kinds[i].name);
		desk_open_plain(&desk);
		request_and_install(&desk, kinds[i].name, kinds[i].type, false);
		desk_close(&desk);
		test_case("NSS %s", kinds[i].name);
		open_nss(&desk);
		request_and_install(&desk, kinds[i].name, kinds[i].type, true);
		desk_close(&desk);
	}
}

static void a_request_for_tls_names_a_host(void)
{
	char *further[] = {(char *)"mx.example.co.jp", (char *)"*.example.net"};
	struct request_task task = {.purpose = KEY_PURPOSE_TLS,
				    .name = (char *)"mx1.example.co.jp",
				    .key_type = (char *)"p256",
				    .key_id = provisioning_key_id(),
				    .dns_names = further,
				    .n_dns_names = 2};
	struct request_result requested = {0};
	struct desk desk;
	struct err err;

	desk_open_plain(&desk);
	if (CHECK_OK(request(&desk, &task, &requested, &err), &err))
		check_request(&requested, GEN_DNS, "mx1.example.co.jp, mx.example.co.jp, *.example.net");
	request_result_clear(&requested);
	desk_close(&desk);
}

/* A CN has at most 64 characters; the address stands in the extension whole. */
static void a_long_address_is_requested_without_a_cn(void)
{
	char address[200];
	struct request_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = address, .key_type = "p256", .key_id = provisioning_key_id()};
	struct request_result requested = {0};
	struct desk desk;
	struct err err;

	snprintf(address, sizeof address, "%.*s@%s", 64, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg",
		 "a-rather-long-name-of-a-domain.example.co.jp");
	desk_open_plain(&desk);
	if (CHECK_OK(request(&desk, &task, &requested, &err), &err))
		check_request(&requested, GEN_EMAIL, address);
	request_result_clear(&requested);
	desk_close(&desk);
}

static void a_refused_request_leaves_nothing(void)
{
	struct request_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = ADDRESS, .key_type = "p521", .key_id = provisioning_key_id()};
	struct request_result requested = {0}, again = {0};
	char *before, *after;
	struct desk desk;
	struct err err;

	desk_open_plain(&desk);
	before = desk_objects(&desk);
	test_case("p521");
	CHECK(!request(&desk, &task, &requested, &err));
	CHECK_CONTAINS(err.text, "a key is rsa2048, rsa3072, rsa4096, p256 or p384, not \"p521\"");
	after = desk_objects(&desk);
	CHECK_TEXT(after, before);
	free(before);
	free(after);

	test_case("an id that is taken");
	task.key_type = "p256";
	CHECK_OK(request(&desk, &task, &requested, &err), &err);
	before = desk_objects(&desk);
	CHECK(!request(&desk, &task, &again, &err));
	CHECK_INT(err.code, ERR_EXISTS);
	after = desk_objects(&desk);
	CHECK_TEXT(after, before);
	free(before);
	free(after);
	request_result_clear(&requested);
	desk_close(&desk);
}

static void try_install(struct desk *desk, const struct request_task *task, struct bytes csr, struct bytes certificates,
			const char *text)
{
	struct import_result installed;
	struct err err = {0};

	CHECK(!install(desk,
		       &(struct install_task){KEY_PURPOSE_MAIL, ADDRESS, task->key_id, csr, certificates, clock_wall_seconds()},
		       &installed, &err));
	CHECK_CONTAINS(err.text, text);
}

static void a_certificate_that_does_not_fit_is_refused(void)
{
	struct request_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = ADDRESS, .key_type = "p256", .key_id = provisioning_key_id()};
	struct request_result requested = {0};
	struct buf good = {0}, other_address = {0}, other_key = {0};
	EVP_PKEY *key = test_key("p256");
	X509 *certificate = test_certificate(&ca, key, ADDRESS);
	uint32_t destroyed;
	struct desk desk;
	struct err err;

	desk_open_plain(&desk);
	CHECK_OK(request(&desk, &task, &requested, &err), &err);
	certify(&good, requested.csr, ADDRESS);
	certify(&other_address, requested.csr, "jiro@example.co.jp");
	put_pem(&other_key, certificate);
	try_install(&desk, &task, requested.csr, buf_bytes(&other_key), "no certificate in the file is of the key");
	try_install(&desk, &task, requested.csr, buf_bytes(&other_address), "jiro@example.co.jp");
	try_install(&desk, &task, requested.csr, bytes_text("a letter"), "this is not a certificate (PEM, DER or PKCS#7)");
	try_install(&desk, &task, requested.csr, bytes_text("-----BEGIN CERTIFICATE-----\nMIIB\n"), "cut short or is not base64");
	try_install(&desk, &task, requested.csr, bytes_text("-----BEGIN X-----\nMIIB\n-----END X-----\n"),
		    "no certificate in the file");
	CHECK_OK(objects_destroy(&desk.provision.connection.session, task.key_id, &destroyed, &err), &err);
	CHECK_INT(destroyed, 2);
	try_install(&desk, &task, requested.csr, buf_bytes(&good), "the private key is not on the token");
	request_result_clear(&requested);
	desk_close(&desk);
	buf_clear(&good);
	buf_clear(&other_address);
	buf_clear(&other_key);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void a_sweep_removes_what_it_is_told_and_no_more(void)
{
	struct request_task task = {
	    .purpose = KEY_PURPOSE_MAIL, .name = ADDRESS, .key_type = "p256", .key_id = provisioning_key_id()};
	struct request_result requested = {0};
	struct bytes ids[2] = {task.key_id, provisioning_key_id()};
	struct buf payload = {0}, answer = {0};
	struct desk desk;
	struct msg msg;
	struct err err;
	char *before, *after;

	desk_open_plain(&desk);
	before = desk_objects(&desk);
	CHECK_OK(request(&desk, &task, &requested, &err), &err);
	sweep_task_encode(&payload, &(struct sweep_task){ids, 2});
	CHECK_OK(run_task(&desk, task_sweep, &payload, &answer, &err), &err);
	msg = msg_of(buf_bytes(&answer));
	CHECK_INT(msg_get_u32(&msg), 2);
	CHECK_INT(msg_get_u32(&msg), 0);
	CHECK_INT(msg_get_u32(&msg), 0);
	after = desk_objects(&desk);
	CHECK_TEXT(after, before);
	free(before);
	free(after);
	request_result_clear(&requested);
	buf_clear(&answer);
	desk_close(&desk);
}

int main(void)
{
	test_ca_init(&ca);
	TEST(every_kind_of_key_is_born_and_certified);
	TEST(a_request_for_tls_names_a_host);
	TEST(a_long_address_is_requested_without_a_cn);
	TEST(a_refused_request_leaves_nothing);
	TEST(a_certificate_that_does_not_fit_is_refused);
	TEST(a_sweep_removes_what_it_is_told_and_no_more);
	test_ca_clear(&ca);
	return test_finish();
}
