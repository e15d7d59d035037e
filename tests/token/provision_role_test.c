/* `inkan-hsm provision` as inkand and the console see it: every task over file descriptor 3 on a SoftHSM token of its own. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "hsm/provision/seal.h"
#include "hsm/token/object.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"
#define PASSWORD "secret of the file"
#define NO_PIN "No PIN: log in with 'hsm login' first"

static struct test_ca ca;
static EVP_PKEY *key;
static X509 *certificate;
static struct buf file;

static void set_up(void)
{
	test_ca_init(&ca);
	key = test_key("p256");
	certificate = test_certificate(&ca, key, ADDRESS);
	pkcs12_make(&file, &(struct pkcs12_recipe){key, certificate, {ca.intermediate}, PASSWORD, NULL});
}

static void tear_down(void)
{
	buf_clear(&file);
	X509_free(certificate);
	EVP_PKEY_free(key);
	test_ca_clear(&ca);
}

static struct import_task import_task(void)
{
	return (struct import_task){.address = ADDRESS,
				    .pkcs12 = buf_bytes(&file),
				    .password = bytes_text(PASSWORD),
				    .now = clock_wall_seconds(),
				    .seal_context = bytes_text("context"),
				    .key_id = provisioning_key_id()};
}

/* Objects on the token, seen by a connection of our own; free() it. */
static char *objects_now(void)
{
	struct desk desk;
	char *objects;

	provisioning_settings(&desk.settings);
	desk_open(&desk);
	objects = desk_objects(&desk);
	desk_close(&desk);
	return objects;
}

static void weak_settings(struct hsm_settings *settings, const char *weakness)
{
	provisioning_fresh();
	provisioning_settings(settings);
	free(settings->module);
	settings->module = provisioning_module("weak_module");
	settings->environment = mem_resize(settings->environment, 3, sizeof(char *));
	settings->environment[settings->n_environment++] = mem_format("INKAN_WEAK_MODULE=%s", softhsm_module());
	settings->environment[settings->n_environment++] = mem_format("INKAN_WEAK=%s", weakness);
}

/* ---- describe ---- */

static bool describe(const struct hsm_settings *settings, const char *pin, struct token_description *description, int *exit_code)
{
	struct err err = {0};
	struct role role;
	bool good;

	role_start(&role, settings, pin);
	good = CHECK_OK(provision_describe(&role.call, description, &err), &err);
	*exit_code = role_end(&role);
	return good;
}

static bool has_mechanism(const struct token_description *description, const char *name)
{
	for (size_t i = 0; i < description->n_mechanisms; i++)
		if (strcmp(description->mechanisms[i], name) == 0)
			return true;
	return false;
}

static void describe_tells_what_was_tried(void)
{
	struct token_description d = {0};
	struct hsm_settings settings;
	int exit_code = -1;
	char *objects;

	provisioning_fresh();
	provisioning_settings(&settings);
	if (describe(&settings, PROVISIONING_PIN, &d, &exit_code)) {
		CHECK_TEXT(d.module, softhsm_module());
		CHECK_CONTAINS(d.library, "SoftHSM 2.");
		CHECK_TEXT(d.label, PROVISIONING_LABEL);
		CHECK_CONTAINS(d.model, "SoftHSM v2");
		CHECK_INT(strlen(d.serial), 16);
		CHECK(d.present && d.initialized && d.user_pin_set && d.logged_in);
		CHECK(!d.pin_count_low && !d.pin_final_try && !d.pin_locked);
		CHECK(has_mechanism(&d, "CKM_RSA_PKCS") && has_mechanism(&d, "CKM_ECDSA") && has_mechanism(&d, "CKM_AES_GCM"));
		CHECK_TEXT(d.import_rung, "rewrap");
		CHECK_TEXT(d.seal, "");
		CHECK_INT(d.private_keys, 0);
	}
	CHECK_INT(exit_code, WORKER_EXIT_OK);
	token_description_clear(&d);
	objects = objects_now();
	CHECK_TEXT(objects, "");
	free(objects);
	hsm_settings_clear(&settings);
}

static void describe_without_pin_tells_what_is_public(void)
{
	struct token_description d = {0};
	struct hsm_settings settings;
	int exit_code = -1;

	provisioning_fresh();
	provisioning_settings(&settings);
	if (describe(&settings, NULL, &d, &exit_code)) {
		CHECK_TEXT(d.label, PROVISIONING_LABEL);
		CHECK(d.present && !d.logged_in);
		CHECK_TEXT(d.import_rung, "");
	}
	CHECK_INT(exit_code, WORKER_EXIT_OK);
	token_description_clear(&d);
	hsm_settings_clear(&settings);
}

static void describe_without_token_tells_so(void)
{
	struct token_description d = {0};
	struct hsm_settings settings;
	int exit_code = -1;

	provisioning_without_token();
	provisioning_settings(&settings);
	if (describe(&settings, PROVISIONING_PIN, &d, &exit_code)) {
		CHECK(!d.present && !d.logged_in);
		CHECK_CONTAINS(d.library, "SoftHSM 2.");
		CHECK_TEXT(d.label, "");
	}
	CHECK_INT(exit_code, WORKER_EXIT_TOKEN_ABSENT);
	token_description_clear(&d);
	hsm_settings_clear(&settings);
}

static void a_rejected_pin_is_tried_once_and_told_to_inkand(void)
{
	struct token_description d = {0};
	struct import_result result;
	struct import_task task = import_task();
	struct hsm_settings settings;
	int exit_code = -1;
	struct err err = {0};
	struct role role;

	provisioning_fresh();
	provisioning_settings(&settings);
	if (describe(&settings, "wrong one", &d, &exit_code))
		CHECK(d.present && !d.logged_in && d.pin_count_low);
	CHECK_INT(exit_code, WORKER_EXIT_PIN_REJECTED);
	token_description_clear(&d);

	role_start(&role, &settings, "wrong one");
	CHECK(!provision_import(&role.call, &task, &result, &err));
	CHECK_TEXT(err.text, "token \"inkan\" rejected the PIN: C_Login: CKR_PIN_INCORRECT");
	CHECK_INT(err.code, ERR_DENIED);
	CHECK_INT(role_end(&role), WORKER_EXIT_PIN_REJECTED);
	hsm_settings_clear(&settings);
}

static void the_final_try_is_left_to_the_operator(void)
{
	uint32_t destroyed;
	struct hsm_settings settings;
	struct err err = {0};
	struct role role;

	weak_settings(&settings, "final-try");
	role_start(&role, &settings, PROVISIONING_PIN);
	CHECK(!provision_delete(&role.call, bytes_text("key"), &destroyed, &err));
	CHECK_CONTAINS(err.text, "one more wrong PIN would lock token \"inkan\"");
	CHECK_INT(role_end(&role), WORKER_EXIT_PIN_REJECTED);
	hsm_settings_clear(&settings);
}

static void a_login_that_fails_in_passing_is_repeated(void)
{
	struct token_description d = {0};
	struct hsm_settings settings;
	int exit_code = -1;

	weak_settings(&settings, "busy");
	if (describe(&settings, PROVISIONING_PIN, &d, &exit_code))
		CHECK(d.logged_in);
	CHECK_INT(exit_code, WORKER_EXIT_OK);
	token_description_clear(&d);
	hsm_settings_clear(&settings);
}

static void a_module_that_does_not_load_is_named(void)
{
	static const struct {
		const char *name, *module, *text;
	} cases[] = {
	    {"no file", "/nonexistent/p11.so", "no PKCS#11 module at /nonexistent/p11.so"},
	    {"no module", "/bin/true", "the PKCS#11 module does not load: "},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct token_description d;
		struct hsm_settings settings;
		struct err err = {0};
		struct role role;

		test_case("%s", cases[i].name);
		provisioning_fresh();
		provisioning_settings(&settings);
		provisioning_set(&settings.module, cases[i].module);
		role_start(&role, &settings, PROVISIONING_PIN);
		CHECK(!provision_describe(&role.call, &d, &err));
		CHECK_CONTAINS(err.text, cases[i].text);
		CHECK_INT(role_end(&role), WORKER_EXIT_MODULE);
		hsm_settings_clear(&settings);
	}
}

/* ---- initialize ---- */

static bool initialize(const struct hsm_settings *settings, const char *label, const char *so_pin, const char *pin,
		       struct token_description *description, struct err *err)
{
	struct initialize_task task = {(char *)label, bytes_text(so_pin), bytes_text(pin)};
	struct role role;
	bool good;

	role_start(&role, settings, NULL);
	good = provision_initialize(&role.call, &task, description, err);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	return good;
}

static void initialize_makes_a_token_with_its_seal(void)
{
	struct token_description d = {0};
	struct hsm_settings settings;
	struct err err = {0};
	char *objects;

	provisioning_without_token();
	provisioning_settings(&settings);
	if (CHECK_OK(initialize(&settings, PROVISIONING_LABEL, PROVISIONING_SO_PIN, PROVISIONING_PIN, &d, &err), &err)) {
		CHECK_TEXT(d.label, PROVISIONING_LABEL);
		CHECK(d.present && d.user_pin_set && d.logged_in);
		CHECK_TEXT(d.seal, "AES-256-GCM");
		CHECK_TEXT(d.import_rung, "rewrap");
		objects = objects_now();
		CHECK_TEXT(objects, "2 inkan-audit 696e6b616e2d6175646974\n3 inkan-audit 696e6b616e2d6175646974\n"
				    "4 inkan-seal 696e6b616e2d7365616c\n");
		free(objects);
	}
	token_description_clear(&d);
	hsm_settings_clear(&settings);
}

static void initialize_refuses_what_would_destroy_or_fail(void)
{
	static const struct {
		const char *name, *label, *so_pin, *pin;
		enum err_code code;
		const char *text;
	} cases[] = {
	    {"a token of that label", PROVISIONING_LABEL, PROVISIONING_SO_PIN, PROVISIONING_PIN, ERR_EXISTS,
	     "token \"inkan\" is initialised already: doing it again would destroy its keys, which Inkan never does"},
	    {"a short PIN", "other", PROVISIONING_SO_PIN, "123", ERR_INVALID, "this token wants the PIN of 4 to 255 octets"},
	    {"a short SO PIN", "other", "1", PROVISIONING_PIN, ERR_INVALID, "this token wants the SO PIN of 4 to 255 octets"},
	    {"no label", "", PROVISIONING_SO_PIN, PROVISIONING_PIN, ERR_INVALID, "a token label has 1 to 32 octets"},
	    {"a long label", "123456789012345678901234567890123", PROVISIONING_SO_PIN, PROVISIONING_PIN, ERR_INVALID,
	     "a token label has 1 to 32 octets"},
	    {"a blank at its end", "other ", PROVISIONING_SO_PIN, PROVISIONING_PIN, ERR_INVALID, "does not end with a blank"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct token_description d;
		struct hsm_settings settings;
		struct err err = {0};
		int exit_code;

		test_case("%s", cases[i].name);
		provisioning_fresh();
		provisioning_settings(&settings);
		CHECK(!initialize(&settings, cases[i].label, cases[i].so_pin, cases[i].pin, &d, &err));
		CHECK_INT(err.code, cases[i].code);
		CHECK_CONTAINS(err.text, cases[i].text);
		if (describe(&settings, PROVISIONING_PIN, &d, &exit_code)) {
			CHECK(d.logged_in); /* the token is as it was */
			token_description_clear(&d);
		}
		hsm_settings_clear(&settings);
	}
}

/* A token of that label without a user PIN: what an initialisation leaves that was cut off. */
static void an_interrupted_initialize_can_be_repeated(void)
{
	struct token_description d = {0};
	struct hsm_settings settings;
	struct token_info info;
	struct module *module;
	unsigned long slot = 0;
	struct err err = {0};

	provisioning_without_token();
	provisioning_settings(&settings);
	module = module_open(softhsm_module(), &err);
	CHECK_OK(module != NULL && module_find_free_slot(module, &slot, &info, &err) &&
		     module_init_token(module, slot, bytes_text(PROVISIONING_SO_PIN), PROVISIONING_LABEL, &err),
		 &err);
	module_close(module);
	CHECK(!initialize(&settings, PROVISIONING_LABEL, "wrong SO PIN", PROVISIONING_PIN, &d, &err));
	CHECK_TEXT(err.text, "the token rejected the SO PIN: C_InitToken: CKR_PIN_INCORRECT");
	CHECK_INT(err.code, ERR_DENIED);
	if (CHECK_OK(initialize(&settings, PROVISIONING_LABEL, PROVISIONING_SO_PIN, PROVISIONING_PIN, &d, &err), &err))
		CHECK(d.logged_in);
	token_description_clear(&d);
	hsm_settings_clear(&settings);
}

/* ---- import, test, delete ---- */

static bool import_by_role(const struct hsm_settings *settings, struct import_result *result, char progress[static 1024])
{
	struct import_task task = import_task();
	struct err err = {0};
	struct role role;
	bool good;

	role_start(&role, settings, PROVISIONING_PIN);
	good = CHECK_OK(provision_import(&role.call, &task, result, &err), &err);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	strcpy(progress, role.progress);
	return good;
}

static struct test_results test_by_role(const struct hsm_settings *settings, const struct worker_certificates *certificates)
{
	struct test_results results = {0};
	struct err err = {0};
	struct role role;

	role_start(&role, settings, PROVISIONING_PIN);
	CHECK_OK(provision_test(&role.call, certificates, &results, &err), &err);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	return results;
}

static uint32_t delete_by_role(const struct hsm_settings *settings, struct bytes key_id)
{
	struct err err = {0};
	uint32_t destroyed = 99;
	struct role role;

	role_start(&role, settings, PROVISIONING_PIN);
	CHECK_OK(provision_delete(&role.call, key_id, &destroyed, &err), &err);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	return destroyed;
}

static void check_tests(const struct hsm_settings *settings, const struct import_result *imported)
{
	struct bytes other_chain = buf_bytes(&softhsm_key("p256")->der), garbage = bytes_text("no certificate");
	struct worker_certificate items[] = {
	    {.id = 1, .key_id = imported->key_id, .chain = imported->facts.chain, .n_chain = imported->facts.n_chain},
	    {.id = 2, .key_id = bytes_text("nowhere"), .chain = imported->facts.chain, .n_chain = imported->facts.n_chain},
	    {.id = 3, .key_id = imported->key_id, .chain = &other_chain, .n_chain = 1},
	    {.id = 4, .key_id = imported->key_id, .chain = &garbage, .n_chain = 1},
	};
	static const char *const texts[] = {
	    "in software and on the token",
	    "the private key is not on the token",
	    "a signature made on the token does not verify with the certificate",
	    "malformed certificate",
	};
	struct test_results results = test_by_role(settings, &(struct worker_certificates){.items = items, .count = 4});

	if (CHECK_INT(results.count, 4))
		for (size_t i = 0; i < 4; i++) {
			test_case("certificate %zu", i + 1);
			CHECK_INT(results.items[i].certificate, i + 1);
			CHECK_INT(results.items[i].passed, i == 0);
			CHECK_TEXT(results.items[i].text, texts[i]);
			CHECK(results.items[i].milliseconds < 10000);
		}
	test_results_clear(&results);
}

static void a_key_is_imported_tested_and_deleted(void)
{
	struct import_result result = {0};
	struct hsm_settings settings;
	char progress[1024] = "", *objects;

	(void)softhsm_keys(); /* another certificate, before the token is chosen */
	provisioning_fresh();
	provisioning_settings(&settings);
	if (import_by_role(&settings, &result, progress)) {
		CHECK_TEXT(result.rung, "rewrap");
		CHECK_TEXT(result.facts.names[0], ADDRESS);
		CHECK_INT(result.facts.n_chain, 2);
		CHECK(result.sealed_password.len > 0);
		CHECK_TEXT(progress, "Password, MAC and certificate are in order; the key goes onto the token.\n"
				     "The key signed a nonce on the token, and the certificate verifies it.\n");
		check_tests(&settings, &result);
		CHECK_INT(delete_by_role(&settings, result.key_id), 2);
		CHECK_INT(delete_by_role(&settings, result.key_id), 0);
		objects = objects_now();
		CHECK_TEXT(objects, "4 inkan-seal 696e6b616e2d7365616c\n");
		free(objects);
	}
	import_result_clear(&result);
	hsm_settings_clear(&settings);
}

/* ---- the audit key ---- */

static bool checkpoint_by_role(const struct hsm_settings *settings, struct checkpoint_result *result)
{
	const struct checkpoint_task task = {.rows = 7, .time_ms = 1000};
	struct err err = {0};
	struct role role;
	bool good;

	role_start(&role, settings, PROVISIONING_PIN);
	good = CHECK_OK(provision_checkpoint(&role.call, &task, result, &err), &err);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	return good;
}

static void check_stays(const struct hsm_settings *settings)
{
	struct bytes id = bytes_text(AUDIT_KEY_ID);
	const struct sweep_task sweep = {.key_ids = &id, .count = 1};
	uint32_t destroyed[2] = {0};
	struct err err = {0};
	struct role role;

	role_start(&role, settings, PROVISIONING_PIN);
	CHECK(!provision_delete(&role.call, id, destroyed, &err));
	CHECK_CONTAINS(err.text, "the audit key of the token is no certificate's: it stays");
	role_end(&role);
	role_start(&role, settings, PROVISIONING_PIN);
	CHECK(!provision_sweep(&role.call, &sweep, destroyed, &err));
	CHECK_CONTAINS(err.text, "the audit key of the token is no certificate's: it stays");
	role_end(&role);
}

static void check_signs_no_mail(const struct hsm_settings *settings)
{
	struct bytes chain = buf_bytes(&softhsm_key("p256")->der);
	struct worker_certificate one = {.id = 1, .key_id = bytes_text(AUDIT_KEY_ID), .chain = &chain, .n_chain = 1};
	struct test_results results = test_by_role(settings, &(struct worker_certificates){.items = &one, .count = 1});

	if (CHECK_INT(results.count, 1)) {
		CHECK(!results.items[0].passed);
		CHECK_TEXT(results.items[0].text, "the audit key of the token signs neither mail nor TLS");
	}
	test_results_clear(&results);
}

static void the_audit_key_does_nothing_else_and_stays(void)
{
	struct checkpoint_result first = {0}, again = {0};
	struct hsm_settings settings;

	(void)softhsm_keys(); /* before the token is chosen */
	provisioning_fresh();
	provisioning_settings(&settings);
	if (checkpoint_by_role(&settings, &first)) {
		CHECK(first.made);
		check_stays(&settings);
		check_signs_no_mail(&settings);
		if (checkpoint_by_role(&settings, &again)) {
			CHECK(!again.made);
			CHECK(bytes_equal(first.public_key, again.public_key));
		}
	}
	checkpoint_result_clear(&first);
	checkpoint_result_clear(&again);
	hsm_settings_clear(&settings);
}

/* RC2 needs OpenSSL's legacy provider, which must load in the confined process. */
static void an_old_file_is_imported(void)
{
	struct import_result result = {0};
	struct import_task task = import_task();
	struct hsm_settings settings;
	struct buf old = {0};
	struct err err = {0};
	struct role role;

	pkcs12_make(&old,
		    &(struct pkcs12_recipe){key, certificate, {ca.intermediate}, PASSWORD, "-legacy -keypbe PBE-SHA1-RC2-40"});
	task.pkcs12 = buf_bytes(&old);
	provisioning_fresh();
	provisioning_settings(&settings);
	role_start(&role, &settings, PROVISIONING_PIN);
	if (CHECK_OK(provision_import(&role.call, &task, &result, &err), &err))
		CHECK_TEXT(result.rung, "rewrap");
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	import_result_clear(&result);
	buf_clear(&old);
	hsm_settings_clear(&settings);
}

/* SoftHSM fails when two log in at once: pkcs11.md §8. Each of them gets through. */
static void many_at_once_all_get_through(void)
{
	struct role roles[6];
	struct hsm_settings settings;
	struct err err = {0};

	provisioning_fresh();
	provisioning_settings(&settings);
	for (int round = 0; round < 5; round++) {
		for (size_t i = 0; i < 6; i++) {
			role_start(&roles[i], &settings, PROVISIONING_PIN);
			CHECK_OK(frame_send(roles[i].call.fd, PROVISION_FRAME_DELETE, bytes_of("\0\0\0\1x", 5), -1,
					    roles[i].call.deadline_ms, &err),
				 &err);
		}
		for (size_t i = 0; i < 6; i++) {
			struct buf payload = {0};
			uint16_t type = 0;

			test_case("round %d, role %zu", round, i);
			CHECK_OK(frame_receive(roles[i].call.fd, &type, &payload, NULL, roles[i].call.deadline_ms, &err), &err);
			if (!CHECK_INT(type, PROVISION_FRAME_RESULT) && payload.len > 5)
				fprintf(stderr, "%s\n", buf_text(&payload) + 5);
			CHECK_INT(role_end(&roles[i]), WORKER_EXIT_OK);
			buf_clear(&payload);
		}
	}
	hsm_settings_clear(&settings);
}

static void without_pin_nothing_is_changed(void)
{
	struct worker_certificates none = {0};
	struct import_task task = import_task();
	struct import_result imported;
	struct test_results results;
	struct hsm_settings settings;
	uint32_t destroyed;
	struct role role;
	struct err err = {0};

	provisioning_fresh();
	provisioning_settings(&settings);
	role_start(&role, &settings, NULL);
	CHECK(!provision_import(&role.call, &task, &imported, &err));
	CHECK_TEXT(err.text, NO_PIN);
	CHECK_INT(err.code, ERR_DENIED);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);

	role_start(&role, &settings, NULL);
	CHECK(!provision_delete(&role.call, bytes_text("key"), &destroyed, &err));
	CHECK_TEXT(err.text, NO_PIN);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);

	role_start(&role, &settings, NULL);
	CHECK(!provision_test(&role.call, &none, &results, &err));
	CHECK_TEXT(err.text, NO_PIN);
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	hsm_settings_clear(&settings);
}

static void an_empty_key_id_deletes_nothing(void)
{
	struct import_result result = {0};
	char progress[1024], *before, *after;
	struct hsm_settings settings;
	uint32_t destroyed;
	struct err err = {0};
	struct role role;

	provisioning_fresh();
	provisioning_settings(&settings);
	CHECK(import_by_role(&settings, &result, progress));
	before = objects_now();
	role_start(&role, &settings, PROVISIONING_PIN);
	CHECK(!provision_delete(&role.call, (struct bytes){0}, &destroyed, &err));
	CHECK_TEXT(err.text, "no key id was given");
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	after = objects_now();
	CHECK_TEXT(after, before);
	free(before);
	free(after);
	import_result_clear(&result);
	hsm_settings_clear(&settings);
}

/* The console dies while the key goes onto the token: nobody would ever know of it, so it goes again. */
static void a_key_that_nobody_hears_of_is_destroyed(void)
{
	struct import_task task = import_task();
	struct hsm_settings settings;
	struct buf payload = {0};
	struct role role;
	struct err err;
	char *objects;

	weak_settings(&settings, "slow");
	import_task_encode(&payload, &task);
	role_start(&role, &settings, PROVISIONING_PIN);
	CHECK_OK(frame_send(role.call.fd, PROVISION_FRAME_IMPORT, buf_bytes(&payload), -1, role.call.deadline_ms, &err), &err);
	usleep(300000);
	close(role.call.fd);
	role.call.fd = -1;
	CHECK_INT(role_end(&role), WORKER_EXIT_OK);
	objects = objects_now();
	CHECK_TEXT(objects, "4 inkan-seal 696e6b616e2d7365616c\n");
	free(objects);
	buf_clear(&payload);
	hsm_settings_clear(&settings);
}

/* ---- broken conversations ---- */

static void an_unknown_task_is_refused(void)
{
	struct hsm_settings settings;
	struct buf payload = {0};
	uint16_t type = 0;
	struct role role;
	struct err err;
	struct msg msg;
	char *text;

	provisioning_fresh();
	provisioning_settings(&settings);
	role_start(&role, &settings, PROVISIONING_PIN);
	CHECK_OK(frame_send(role.call.fd, 99, (struct bytes){0}, -1, role.call.deadline_ms, &err), &err);
	if (CHECK_OK(frame_receive(role.call.fd, &type, &payload, NULL, role.call.deadline_ms, &err), &err)) {
		CHECK_INT(type, PROVISION_FRAME_ERROR);
		msg = msg_of(buf_bytes(&payload));
		CHECK_INT(msg_get_u8(&msg), ERR_INVALID);
		text = msg_get_text(&msg);
		CHECK_TEXT(text, "unknown provisioning task 99");
		free(text);
	}
	CHECK_INT(role_end(&role), WORKER_EXIT_INTERNAL);
	buf_clear(&payload);
	hsm_settings_clear(&settings);
}

static void a_malformed_task_is_refused(void)
{
	static const uint16_t frames[] = {PROVISION_FRAME_INITIALIZE, PROVISION_FRAME_IMPORT, PROVISION_FRAME_DELETE,
					  PROVISION_FRAME_TEST};

	for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
		struct hsm_settings settings;
		struct buf payload = {0};
		uint16_t type = 0;
		struct role role;
		struct err err;

		test_case("frame %u", frames[i]);
		provisioning_fresh();
		provisioning_settings(&settings);
		role_start(&role, &settings, PROVISIONING_PIN);
		CHECK_OK(frame_send(role.call.fd, frames[i], bytes_text("xyz"), -1, role.call.deadline_ms, &err), &err);
		if (CHECK_OK(frame_receive(role.call.fd, &type, &payload, NULL, role.call.deadline_ms, &err), &err)) {
			CHECK_INT(type, PROVISION_FRAME_ERROR);
			CHECK_CONTAINS(buf_text(&payload) + 5, "malformed");
		}
		CHECK_INT(role_end(&role), WORKER_EXIT_OK);
		buf_clear(&payload);
		hsm_settings_clear(&settings);
	}
}

static void it_ends_when_its_peers_are_gone(void)
{
	struct hsm_settings settings;
	struct role role;

	provisioning_fresh();
	provisioning_settings(&settings);
	role_start(&role, &settings, PROVISIONING_PIN);
	close(role.call.fd);
	role.call.fd = -1;
	CHECK_INT(role_end(&role), WORKER_EXIT_INTERNAL);
	hsm_settings_clear(&settings);
}

static void a_setting_that_is_no_variable_is_refused(void)
{
	struct token_description d;
	struct hsm_settings settings;
	struct role role;
	struct err err = {0};

	provisioning_fresh();
	provisioning_settings(&settings);
	provisioning_set(&settings.environment[0], "SOFTHSM2_CONF");
	role_start(&role, &settings, PROVISIONING_PIN);
	CHECK(!provision_describe(&role.call, &d, &err));
	CHECK_TEXT(err.text, "hsm environment is NAME=VALUE, not \"SOFTHSM2_CONF\"");
	CHECK_INT(role_end(&role), WORKER_EXIT_INTERNAL);
	hsm_settings_clear(&settings);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	set_up();
	TEST(describe_tells_what_was_tried);
	TEST(describe_without_pin_tells_what_is_public);
	TEST(describe_without_token_tells_so);
	TEST(a_rejected_pin_is_tried_once_and_told_to_inkand);
	TEST(the_final_try_is_left_to_the_operator);
	TEST(a_login_that_fails_in_passing_is_repeated);
	TEST(a_module_that_does_not_load_is_named);
	TEST(initialize_makes_a_token_with_its_seal);
	TEST(initialize_refuses_what_would_destroy_or_fail);
	TEST(an_interrupted_initialize_can_be_repeated);
	TEST(a_key_is_imported_tested_and_deleted);
	TEST(the_audit_key_does_nothing_else_and_stays);
	TEST(an_old_file_is_imported);
	TEST(many_at_once_all_get_through);
	TEST(without_pin_nothing_is_changed);
	TEST(an_empty_key_id_deletes_nothing);
	TEST(a_key_that_nobody_hears_of_is_destroyed);
	TEST(an_unknown_task_is_refused);
	TEST(a_malformed_task_is_refused);
	TEST(it_ends_when_its_peers_are_gone);
	TEST(a_setting_that_is_no_variable_is_refused);
	tear_down();
	return test_finish();
}
