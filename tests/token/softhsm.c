#include "tests/token/softhsm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hsm/token/cryptoki.h"
#include "tests/unit/test.h"

static struct softhsm_key keys[SOFTHSM_KEYS];
static const char *root; /* directory of this run */
static char *golden;
static char *current;
static char *current_conf;
static char *current_tokens;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/token/softhsm.c: %s\n", what);
	exit(1);
}

static void run(char *command)
{
	must(system(command) == 0, command);
	free(command);
}

const char *softhsm_module(void)
{
	const char *given = getenv("SOFTHSM2_MODULE");

	return given != NULL ? given : "/usr/lib/softhsm/libsofthsm2.so";
}

static void use(const char *directory)
{
	char *path = mem_format("%s/softhsm2.conf", directory);
	char *text = mem_format("directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
				"slots.removable = false\n",
				directory);

	must(test_write_file(path, bytes_text(text)), path);
	must(setenv("SOFTHSM2_CONF", path, 1) == 0, "setenv");
	free(current_conf);
	free(current_tokens);
	current_conf = mem_format("SOFTHSM2_CONF=%s", path);
	current_tokens = mem_format("%s/tokens", directory);
	free(path);
	free(text);
}

void softhsm_import(EVP_PKEY *key, const uint8_t *id, size_t id_len)
{
	char *path = mem_format("%s/key.pem", root);
	char *hex = mem_new(2 * id_len + 1);

	hex_encode(hex, bytes_of(id, id_len));
	must(test_write_private_pem(path, key), path);
	run(mem_format("softhsm2-util --module %s --import %s --token '" SOFTHSM_LABEL
		       "' --label key-%s --id %s --pin " SOFTHSM_PIN " >/dev/null",
		       softhsm_module(), path, hex, hex));
	unlink(path);
	free(path);
	free(hex);
}

static void copy_objects(CK_OBJECT_CLASS class, const struct softhsm_key *key, struct session *session, uint8_t prefix,
			 unsigned count)
{
	struct template wanted = {0};
	CK_OBJECT_HANDLE object, copy;
	size_t found = 0;

	template_number(&wanted, CKA_CLASS, class);
	template_bytes(&wanted, CKA_ID, bytes_of(key->id, sizeof key->id));
	must(object_find(session, &wanted, &object, 1, &found, NULL) && found == 1, "the key to be copied");
	for (unsigned i = 0; i < count; i++) {
		uint8_t id[] = {prefix, (uint8_t)(i >> 8), (uint8_t)i};
		struct template changed = {0};

		template_bytes(&changed, CKA_ID, bytes_of(id, sizeof id));
		must(session_functions(session)->C_CopyObject(session->handle, object, changed.items, changed.count, &copy) ==
			 CKR_OK,
		     "C_CopyObject");
	}
}

static void multiply(const struct softhsm_key *key, uint8_t prefix, unsigned count)
{
	struct module *module = module_open(softhsm_module(), NULL);
	struct session session = {0};
	struct token_info info;
	unsigned long slot;

	must(module != NULL && module_find_token(module, SOFTHSM_LABEL, &slot, &info, NULL) &&
		 session_open(module, slot, &session, NULL) && session_login(&session, bytes_text(SOFTHSM_PIN), NULL),
	     "the token to copy keys on");
	copy_objects(CKO_PRIVATE_KEY, key, &session, prefix, count);
	copy_objects(CKO_PUBLIC_KEY, key, &session, prefix, count);
	session_close(&session);
	module_close(module);
}

/* In a process of its own: the caller's must not have used the module. */
void softhsm_multiply(const struct softhsm_key *key, uint8_t prefix, unsigned count)
{
	pid_t pid;
	int status = -1;

	fflush(NULL);
	pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		multiply(key, prefix, count);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid && status == 0, "copies of a key");
}

void softhsm_destroy(const uint8_t *id, size_t id_len)
{
	char *hex = mem_new(2 * id_len + 1);

	hex_encode(hex, bytes_of(id, id_len));
	run(mem_format("pkcs11-tool --module %s --token-label '" SOFTHSM_LABEL "' --login --pin " SOFTHSM_PIN
		       " --delete-object --type privkey --id %s >/dev/null 2>&1",
		       softhsm_module(), hex));
	free(hex);
}

static void make_key(struct softhsm_key *key, const struct test_ca *ca, const char *type, unsigned number)
{
	char *address = mem_format("%s@example.co.jp", type);

	key->type = type;
	key->key = test_key(type);
	key->certificate = test_certificate(ca, key->key, address);
	test_put_der(&key->der, key->certificate);
	test_put_der(&key->issuer_der, ca->intermediate);
	memcpy(key->id, (uint8_t[]){0xa0, 0x00, 0xff, (uint8_t)number}, sizeof key->id);
	softhsm_import(key->key, key->id, sizeof key->id);
	free(address);
}

static void make_golden(void)
{
	static const char *const types[SOFTHSM_KEYS] = {"rsa2048", "rsa3072", "rsa4096", "p256", "p384"};
	struct test_ca ca;

	root = test_directory();
	golden = mem_format("%s/golden", root);
	run(mem_format("mkdir -p %s/tokens", golden));
	use(golden);
	run(mem_format("softhsm2-util --module %s --init-token --free --label '" SOFTHSM_LABEL "' --pin " SOFTHSM_PIN
		       " --so-pin " SOFTHSM_SO_PIN " >/dev/null",
		       softhsm_module()));
	test_ca_init(&ca);
	for (unsigned i = 0; i < SOFTHSM_KEYS; i++)
		make_key(&keys[i], &ca, types[i], i + 1);
	test_ca_clear(&ca);
}

struct softhsm_key *softhsm_keys(void)
{
	if (golden == NULL)
		make_golden();
	return keys;
}

struct softhsm_key *softhsm_key(const char *type)
{
	struct softhsm_key *all = softhsm_keys();

	for (unsigned i = 0; i < SOFTHSM_KEYS; i++) {
		if (strcmp(all[i].type, type) == 0)
			return &all[i];
	}
	must(false, type);
	return NULL;
}

const char *softhsm_fresh(void)
{
	static unsigned copies;

	(void)softhsm_keys();
	free(current);
	current = mem_format("%s/copy-%d-%u", root, (int)getpid(), ++copies);
	run(mem_format("cp -a %s %s", golden, current));
	use(current);
	return current;
}

const char *softhsm_conf(void)
{
	return current_conf;
}

const char *softhsm_tokens(void)
{
	return current_tokens;
}
