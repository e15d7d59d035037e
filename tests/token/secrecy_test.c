/*
 * Where the private key is while it is imported: on rungs 1 and 2 nowhere outside the token, on rung 3 in the memory of the
 * provisioning process until the token has it (which also shows that the search finds what is there). And what that process
 * does to keep it.
 */
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define ADDRESS "taro@example.co.jp"
#define PASSWORD "secret"
#define NEEDLE_BYTES 16 /* as in watch_module.c */
#define MASK 0x55

static struct test_ca ca;

/* ---- what is looked for ---- */

/* From the middle of a number, where nothing is by chance; masked on the way to the file. */
static void put_needle(struct buf *out, EVP_PKEY *key, const char *param)
{
	BIGNUM *number = NULL;
	uint8_t octets[1024];
	int len = 0;

	if (EVP_PKEY_get_bn_param(key, param, &number) == 1)
		len = BN_bn2bin(number, octets);
	CHECK(len >= 2 * NEEDLE_BYTES);
	for (int i = 0; i < NEEDLE_BYTES; i++)
		buf_put_byte(out, octets[len / 2 - NEEDLE_BYTES / 2 + i] ^ MASK);
	mem_wipe(octets, sizeof octets);
	BN_clear_free(number);
}

static char *write_needles(EVP_PKEY *key)
{
	char *path = mem_format("%s/needles", test_directory());
	struct buf needles = {0};

	if (EVP_PKEY_is_a(key, "EC")) {
		put_needle(&needles, key, OSSL_PKEY_PARAM_PRIV_KEY);
	} else {
		put_needle(&needles, key, OSSL_PKEY_PARAM_RSA_FACTOR1);
		put_needle(&needles, key, OSSL_PKEY_PARAM_RSA_FACTOR2);
		put_needle(&needles, key, OSSL_PKEY_PARAM_RSA_D);
	}
	CHECK(test_write_file(path, buf_bytes(&needles)));
	buf_clear(&needles);
	return path;
}

/* ---- a token that is watched ---- */

static void add_text(char ***list, size_t *count, char *text)
{
	*list = mem_resize(*list, *count + 1, sizeof **list);
	(*list)[(*count)++] = text;
}

static char *new_nss_database(void)
{
	char *directory = mem_string(test_directory()), *pin = mem_format("%s/pin", directory);
	char *command = mem_format("certutil -N -d sql:%s -f %s >/dev/null", directory, pin);

	setenv("NSS_MAX_MP_PBE_ITERATION_COUNT", "1", 1);
	CHECK(test_write_file(pin, bytes_text(PROVISIONING_PIN "\n")));
	CHECK(system(command) == 0);
	free(pin);
	free(command);
	return directory;
}

struct watch {
	struct hsm_settings settings;
	char *log, *needles;
};

static void watch_begin(struct watch *w, EVP_PKEY *key, bool nss, const char *minimum)
{
	char *module = nss ? provisioning_module("nss_module") : mem_string(softhsm_module());
	char *directory = mem_string(test_directory());

	provisioning_fresh();
	provisioning_settings(&w->settings);
	w->log = mem_format("%s/log", directory);
	w->needles = write_needles(key);
	free(w->settings.module);
	w->settings.module = provisioning_module("watch_module");
	provisioning_set(&w->settings.import_minimum, minimum);
	add_text(&w->settings.environment, &w->settings.n_environment, mem_format("INKAN_WATCH_MODULE=%s", module));
	add_text(&w->settings.environment, &w->settings.n_environment, mem_format("INKAN_WATCH_LOG=%s", w->log));
	add_text(&w->settings.environment, &w->settings.n_environment, mem_format("INKAN_WATCH_NEEDLES=%s", w->needles));
	add_text(&w->settings.environment, &w->settings.n_environment, mem_string("NSS_MAX_MP_PBE_ITERATION_COUNT=1"));
	add_text(&w->settings.writable, &w->settings.n_writable, directory);
	if (nss) {
		char *database = new_nss_database();

		add_text(&w->settings.environment, &w->settings.n_environment, mem_format("INKAN_NSS_DIRECTORY=%s", database));
		add_text(&w->settings.writable, &w->settings.n_writable, database);
	}
	free(module);
}

static void watch_end(struct watch *w)
{
	hsm_settings_clear(&w->settings);
	free(w->log);
	free(w->needles);
}

static char *read_log(const struct watch *w)
{
	struct buf text = {0};
	char chunk[4096], *log;
	FILE *file = fopen(w->log, "re");
	size_t got;

	while (file != NULL && (got = fread(chunk, 1, sizeof chunk, file)) > 0)
		buf_put(&text, chunk, got);
	if (file != NULL)
		fclose(file);
	log = mem_string(buf_text(&text));
	buf_clear(&text);
	return log;
}

/* ---- the import ---- */

static void make_file(struct buf *out, EVP_PKEY *key, const char *options)
{
	X509 *certificate = test_certificate(&ca, key, ADDRESS);

	pkcs12_make(out, &(struct pkcs12_recipe){key, certificate, {ca.intermediate}, PASSWORD, options});
	X509_free(certificate);
}

static struct import_task task_of(const struct buf *file)
{
	return (struct import_task){.address = ADDRESS,
				    .pkcs12 = buf_bytes(file),
				    .password = bytes_text(PASSWORD),
				    .now = clock_wall_seconds(),
				    .seal_context = bytes_text("context"),
				    .key_id = provisioning_key_id()};
}

static void import_watched(const struct watch *w, const struct buf *file, const char *rung)
{
	struct import_task task = task_of(file);
	struct import_result result = {0};
	struct role role;
	struct err err;

	role_start(&role, &w->settings, PROVISIONING_PIN);
	if (CHECK_OK(provision_import(&role.call, &task, &result, &err), &err))
		CHECK_TEXT(result.rung, rung);
	import_result_clear(&result);
	CHECK_INT(role_end(&role), 0);
}

static const struct {
	const char *type, *options, *rung;
} unwrapped[] = {
    {"rsa2048", NULL, "unwrap-token-kek"},
    {"rsa2048", "-legacy", "unwrap-token-kek"},
    {"p256", NULL, "unwrap-token-kek"},
    {"rsa4096", "-keypbe AES-128-CBC", "unwrap-token-kek"},
};

static void an_unwrapped_key_is_nowhere_on_the_host(void)
{
	for (size_t i = 0; i < sizeof unwrapped / sizeof *unwrapped; i++) {
		EVP_PKEY *key = test_key(unwrapped[i].type);
		struct buf file = {0};
		struct watch watch;
		char *log;

		test_case("%s %s", unwrapped[i].type, unwrapped[i].options != NULL ? unwrapped[i].options : "");
		make_file(&file, key, unwrapped[i].options);
		watch_begin(&watch, key, true, "unwrap");
		import_watched(&watch, &file, unwrapped[i].rung);
		log = read_log(&watch);
		/* the key-encrypting key is derived there, the bag's own octets are unwrapped, and nothing else brings a private
		 * key */
		CHECK_CONTAINS(log,
			       "C_GenerateKey 4 known 0 dumpable 0 secure used\nC_UnwrapKey 3 known 0 dumpable 0 secure used\n");
		CHECK(strstr(log, "C_CreateObject 3") == NULL);
		CHECK(strstr(log, "C_UnwrapKey 4") == NULL);
		CHECK_CONTAINS(log, "C_Finalize -1 known 0 ");
		free(log);
		watch_end(&watch);
		buf_clear(&file);
		EVP_PKEY_free(key);
	}
}

/* What the search must find when it is there: the numbers in both forms that OpenSSL keeps. Afterwards they are gone. */
static void a_rewrapped_key_is_found_and_wiped(void)
{
	static const char *const types[] = {"rsa2048", "p256"};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		EVP_PKEY *key = test_key(types[i]);
		struct buf file = {0};
		struct watch watch;
		char *log;

		test_case("%s", types[i]);
		make_file(&file, key, NULL);
		watch_begin(&watch, key, false, "rewrap");
		import_watched(&watch, &file, "rewrap");
		log = read_log(&watch);
		CHECK(strstr(log, "C_UnwrapKey 3 known 6 ") != NULL || strstr(log, "C_UnwrapKey 3 known 2 ") != NULL);
		CHECK(strstr(log, "C_CreateObject 3") == NULL);
		/* and wiped again when the token has it: from before the public key is made */
		CHECK_CONTAINS(log, "C_CreateObject 2 known 0 ");
		CHECK_CONTAINS(log, "C_Finalize -1 known 0 ");
		free(log);
		watch_end(&watch);
		buf_clear(&file);
		EVP_PKEY_free(key);
	}
}

/* ---- the process ---- */

static unsigned long status_number(pid_t pid, const char *name)
{
	char *path = mem_format("/proc/%d/status", (int)pid), line[256];
	FILE *file = fopen(path, "re");
	unsigned long number = 0;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			number = strtoul(line + strlen(name), NULL, 10);
	if (file != NULL)
		fclose(file);
	free(path);
	return number;
}

static bool has_no_core_limit(pid_t pid)
{
	char *path = mem_format("/proc/%d/limits", (int)pid), line[256];
	FILE *file = fopen(path, "re");
	bool none = false;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, "Max core file size", 18) == 0)
			none = strstr(line + 18, " 0 ") != NULL;
	if (file != NULL)
		fclose(file);
	free(path);
	return none;
}

/* Files of /proc/PID belong to root when a process is not dumpable, whoever it runs as; run as root they do anyway. */
static void the_process_keeps_its_memory(void)
{
	EVP_PKEY *key = test_key("p256");
	struct watch watch;
	struct role role;

	watch_begin(&watch, key, false, "rewrap");
	role_start(&role, &watch.settings, PROVISIONING_PIN);
	for (int64_t end = clock_monotonic_ms() + 10000; status_number(role.pid, "Seccomp:") == 0 && clock_monotonic_ms() < end;)
		usleep(10000);
	CHECK(has_no_core_limit(role.pid));
	CHECK_INT(status_number(role.pid, "NoNewPrivs:"), 1);
	CHECK(status_number(role.pid, "VmLck:") > 0);
	kill(role.pid, SIGKILL);
	(void)role_end(&role);
	watch_end(&watch);
	EVP_PKEY_free(key);
}

int main(void)
{
	test_ca_init(&ca);
	TEST(an_unwrapped_key_is_nowhere_on_the_host);
	TEST(a_rewrapped_key_is_found_and_wiped);
	TEST(the_process_keeps_its_memory);
	test_ca_clear(&ca);
	return test_finish();
}
