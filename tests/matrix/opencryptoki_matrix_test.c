/*
 * opencryptoki's soft token with its daemon pkcsslotd. Their directories and the daemon's socket are fixed in the package, so
 * that the test takes mount and IPC namespaces of its own: the machine's opencryptoki is not touched. Needs root for that.
 * The token is lost by the end of its daemon.
 */
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hsm/import/protection.h"
#include "hsm/import/rungs.h"
#include "hsm/token/object.h"
#include "tests/matrix/matrix.h"
#include "tests/token/provisioning.h"
#include "tests/unit/test.h"

#define CONFIGURATION "/etc/opencryptoki/opencryptoki.conf"
#define SOCKET "/run/pkcsslotd.socket"

static pid_t slot_daemon;

static void mount_empty(const char *where)
{
	matrix_must(mount("tmpfs", where, "tmpfs", 0, "mode=755") == 0, where);
}

/* For the daemon's group, as Debian's tmpfiles.d has them. */
static void make_directory(const char *path)
{
	struct group *group = getgrnam("pkcs11");

	matrix_must(group != NULL && mkdir(path, 0770) == 0 && chown(path, 0, group->gr_gid) == 0 && chmod(path, 0770) == 0,
		    path);
}

static void own_namespaces(void)
{
	matrix_must(unshare(CLONE_NEWNS | CLONE_NEWIPC) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
		    "opencryptoki needs root with CAP_SYS_ADMIN: its directories are fixed, and the test mounts its own there "
		    "(in a container: --cap-add SYS_ADMIN)");
	mount_empty("/run");
	mount_empty("/dev/shm");
	mount_empty("/var/lib/opencryptoki");
	matrix_must(mkdir("/run/lock", 0755) == 0, "/run/lock");
	make_directory("/run/lock/opencryptoki");
	make_directory("/run/lock/opencryptoki/swtok");
	make_directory("/var/lib/opencryptoki/swtok");
	make_directory("/var/lib/opencryptoki/swtok/TOK_OBJ");
}

/* Debian's configuration names the tokens of other hardware as well. */
static void own_configuration(void)
{
	char *path = mem_format("%s/opencryptoki.conf", test_directory());

	matrix_must(test_write_file(path, bytes_text("version opencryptoki-3.8\nslot 3\n{\nstdll = libpkcs11_sw.so\n}\n")), path);
	matrix_must(mount(path, CONFIGURATION, NULL, MS_BIND, NULL) == 0, CONFIGURATION);
	free(path);
}

static bool daemon_listens(void)
{
	return access(SOCKET, F_OK) == 0;
}

static void start_daemon(void)
{
	static const char *const arguments[] = {"/usr/sbin/pkcsslotd", "-f", NULL};

	unlink(SOCKET);
	slot_daemon = matrix_daemon_start(arguments);
	matrix_await(daemon_listens, "pkcsslotd does not start");
}

static void lose(void)
{
	matrix_daemon_stop(slot_daemon);
}

/* ---- its fault with attributes ---- */

static bool exponent_is_readable(const struct session *session, CK_OBJECT_HANDLE key)
{
	uint8_t octets[512];
	CK_ATTRIBUTE exponent = {CKA_PRIVATE_EXPONENT, octets, sizeof octets};
	CK_RV rv = session_functions(session)->C_GetAttributeValue(session->handle, key, &exponent, 1);

	return rv == CKR_OK && exponent.ulValueLen > 0 && exponent.ulValueLen <= sizeof octets;
}

static void check_readable(const struct session *session, CK_OBJECT_HANDLE key, bool readable)
{
	bool sensitive = readable, extractable = !readable;
	struct err err = {0};

	CHECK_OK(object_flag(session, key, CKA_SENSITIVE, &sensitive, &err), &err);
	CHECK_OK(object_flag(session, key, CKA_EXTRACTABLE, &extractable, &err), &err);
	CHECK(sensitive == !readable);
	CHECK(extractable == readable);
	CHECK(exponent_is_readable(session, key) == readable);
}

/* What the token makes of a bag, before the ladder has looked at it; then what the ladder's look makes of that. */
static void unwrap_and_mend(struct desk *desk, const struct pkcs12 *file, EVP_PKEY *key, struct bytes key_id)
{
	const struct session *session = &desk->provision.connection.session;
	struct ladder_request request = {
	    .file = file, .public_key = key, .key_id = key_id, .label = "readable", .minimum = LADDER_UNWRAP};
	struct attempt attempt = {.session = session, .request = &request};
	struct key_attributes attributes = {0};
	CK_OBJECT_HANDLE object = 0;
	struct err err = {0};

	if (!CHECK_OK(rung_unwrap_host_kek(&attempt, &object, &err), &err))
		return;
	check_readable(session, object, true);
	CHECK_OK(key_protect(session, object, &attributes, &err), &err);
	check_readable(session, object, false);
}

static void open_desk(const struct matrix_token *token, struct desk *desk)
{
	matrix_settings(token, &desk->settings);
	desk_open(desk);
}

/* opencryptoki ignores SENSITIVE and EXTRACTABLE in the template of C_UnwrapKey. */
static void a_key_that_comes_out_readable_is_mended_for_good(const struct matrix_token *token)
{
	struct bytes key_id = provisioning_key_id();
	EVP_PKEY *key = test_key("rsa2048");
	struct buf octets = {0};
	struct pkcs12 *file;
	struct err err = {0};
	struct desk desk;
	struct test_ca ca;
	X509 *certificate;
	unsigned long found = 0;

	test_ca_init(&ca);
	certificate = test_certificate(&ca, key, "taro@example.co.jp");
	pkcs12_make(&octets, &(struct pkcs12_recipe){key, certificate, {ca.intermediate}, "password", NULL});
	file = pkcs12_parse(buf_bytes(&octets), bytes_text("password"), &err);
	open_desk(token, &desk);
	if (CHECK_OK(file != NULL, &err))
		unwrap_and_mend(&desk, file, key, key_id);
	desk_close(&desk);
	open_desk(token, &desk);
	if (CHECK_OK(object_find_private_key(&desk.provision.connection.session, key_id, &found, &err), &err))
		check_readable(&desk.provision.connection.session, found, false);
	desk_close(&desk);
	pkcs12_free(file);
	buf_clear(&octets);
	X509_free(certificate);
	EVP_PKEY_free(key);
	test_ca_clear(&ca);
}

int main(void)
{
	struct matrix_token token = {
	    .column = "opencryptoki 3.8.1",
	    .module = matrix_module("/usr/lib/*/pkcs11/libopencryptoki.so"),
	    .so_pin = "87654321",
	    .writable = {(char *)"/run", (char *)"/dev", (char *)"/var/lib/opencryptoki"},
	    .lose = lose,
	    .restore = start_daemon,
	    .peculiarity = a_key_that_comes_out_readable_is_mended_for_good,
	};

	own_namespaces();
	own_configuration();
	start_daemon();
	return matrix_run(&token);
}
