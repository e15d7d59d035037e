#include "tests/token/provisioning.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "appliance/base/frame.h"
#include "hsm/token/cryptoki.h"
#include "tests/unit/test.h"

#define ROLE_WAIT_MS 60000 /* for anything that the role should say or do */
#define OBJECTS_MAX 256

static char *root, *tokens; /* directories */

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "tests/token/provisioning.c: %s\n", what);
	exit(1);
}

static void run(char *command)
{
	must(system(command) == 0, command);
	free(command);
}

/* ---- tokens ---- */

static void use_directory(const char *name)
{
	char *path = mem_format("%s/%s.conf", root, name);
	char *text = mem_format(
	    "directories.tokendir = %s/%s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", root, name);

	must(test_write_file(path, bytes_text(text)), path);
	must(setenv("SOFTHSM2_CONF", path, 1) == 0, "setenv");
	free(tokens);
	tokens = mem_format("%s/%s", root, name);
	free(path);
	free(text);
}

static void make_golden(void)
{
	root = mem_string(test_directory());
	run(mem_format("mkdir -p %s/golden", root));
	use_directory("golden");
	run(mem_format("softhsm2-util --module %s --init-token --free --label '%s' --pin '%s' --so-pin '%s' >/dev/null",
		       softhsm_module(), PROVISIONING_LABEL, PROVISIONING_PIN, PROVISIONING_SO_PIN));
}

static void use_copy(const char *golden)
{
	static unsigned copies;
	char *name;

	if (root == NULL)
		make_golden();
	name = mem_format("copy-%u", ++copies);
	if (golden != NULL)
		run(mem_format("cp -a %s/%s %s/%s", root, golden, root, name));
	else
		run(mem_format("mkdir %s/%s", root, name));
	use_directory(name);
	free(name);
}

void provisioning_fresh(void)
{
	use_copy("golden");
}

void provisioning_without_token(void)
{
	use_copy(NULL);
}

/* BUILD/tests/token/THIS, without the last `levels` parts. */
static char *above_self(int levels)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

	must(len > 0, "readlink");
	self[len] = '\0';
	while (levels-- > 0)
		*strrchr(self, '/') = '\0';
	return mem_string(self);
}

char *provisioning_module(const char *name)
{
	char *directory = above_self(1), *path = mem_format("%s/%s.so", directory, name);

	must(access(path, R_OK) == 0, path);
	free(directory);
	return path;
}

struct bytes provisioning_key_id(void)
{
	static uint8_t ids[8][PROVISION_KEY_ID_BYTES];
	static unsigned used;
	uint8_t *id = ids[used++ % 8];

	must(RAND_bytes(id, PROVISION_KEY_ID_BYTES) == 1, "RAND_bytes");
	return bytes_of(id, PROVISION_KEY_ID_BYTES);
}

void provisioning_set(char **setting, const char *value)
{
	free(*setting);
	*setting = mem_string(value);
}

void provisioning_settings(struct hsm_settings *settings)
{
	*settings = (struct hsm_settings){
	    .module = mem_string(softhsm_module()),
	    .token = mem_string(PROVISIONING_LABEL),
	    .backend = mem_string("cryptoki"),
	    .import_minimum = mem_string("rewrap"),
	    .environment = mem_new_array(1, sizeof(char *)),
	    .n_environment = 1,
	    .writable = mem_new_array(2, sizeof(char *)),
	    .n_writable = 2,
	};
	settings->environment[0] = mem_format("SOFTHSM2_CONF=%s", getenv("SOFTHSM2_CONF"));
	settings->writable[0] = mem_string(tokens);
	settings->writable[1] = mem_string("/tmp"); /* what a sanitizer writes */
}

/* ---- in this process ---- */

void desk_open(struct desk *desk)
{
	desk->pin = secret_new(bytes_text(PROVISIONING_PIN), NULL);
	desk->provision = (struct provision){.settings = &desk->settings, .pin = desk->pin};
	connection_open(&desk->provision.connection, &desk->settings, desk->pin, CONNECTION_LOGIN_NEEDED);
	must(desk->provision.connection.logged_in, desk->provision.connection.why.text);
}

void desk_open_plain(struct desk *desk)
{
	provisioning_fresh();
	provisioning_settings(&desk->settings);
	desk_open(desk);
}

void desk_close(struct desk *desk)
{
	connection_close(&desk->provision.connection);
	secret_free(desk->pin);
	hsm_settings_clear(&desk->settings);
}

static char *object_line(const struct session *session, CK_OBJECT_HANDLE object)
{
	uint8_t id[64] = {0};
	char label[256] = "", hex[2 * sizeof id + 1];
	CK_ULONG class = 0;
	CK_ATTRIBUTE items[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, label, sizeof label - 1}, {CKA_ID, id, sizeof id}};

	session_functions(session)->C_GetAttributeValue(session->handle, object, items, 3);
	hex_encode(hex, bytes_of(id, items[2].ulValueLen <= sizeof id ? items[2].ulValueLen : 0));
	return mem_format("%lu %s %s\n", class, label, hex);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *desk_objects(const struct desk *desk)
{
	const struct session *session = &desk->provision.connection.session;
	CK_OBJECT_HANDLE found[OBJECTS_MAX];
	struct template everything = {0};
	char *lines[OBJECTS_MAX], *text;
	struct buf all = {0};
	size_t count = 0;

	must(object_find(session, &everything, found, OBJECTS_MAX, &count, NULL) && count < OBJECTS_MAX, "find objects");
	for (size_t i = 0; i < count; i++)
		lines[i] = object_line(session, found[i]);
	qsort(lines, count, sizeof *lines, by_text);
	for (size_t i = 0; i < count; i++) {
		buf_put_text(&all, lines[i]);
		free(lines[i]);
	}
	text = bytes_string(buf_bytes(&all));
	buf_clear(&all);
	return text;
}

bool desk_import(struct desk *desk, const struct import_task *task, struct import_result *result, struct err *err)
{
	struct buf payload = {0}, answer = {0};
	struct msg msg;
	bool good;

	import_task_encode(&payload, task);
	msg = msg_of(buf_bytes(&payload));
	good = task_import(&desk->provision, &msg, &answer, err);
	if (good) {
		msg = msg_of(buf_bytes(&answer));
		must(import_result_decode(&msg, result, err), "import result");
	}
	provision_keep(&desk->provision);
	buf_clear(&payload);
	buf_clear(&answer);
	return good;
}

/* ---- the role as a process ---- */

static void run_program(int control)
{
	char *build = above_self(3), *path = mem_format("%s/bin/inkan-hsm", build);

	dup2(control, CHILD_CONTROL_FD); /* the copy is not close-on-exec */
	if (getenv("INKAN_TEST_VERBOSE") == NULL)
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
	unsetenv("SOFTHSM2_CONF"); /* START brings it */
	execl(path, "inkan-hsm", "provision", (char *)NULL);
	_exit(127);
}

static void send_start(const struct role *role, const struct hsm_settings *settings, const char *pin, int task)
{
	struct worker_start start = {.settings = *settings, .pin = bytes_text(pin), .has_pin = pin != NULL};
	struct buf out = {0};

	worker_start_encode(&out, &start);
	must(frame_send(role->control, WORKER_FRAME_START, buf_bytes(&out), task, clock_monotonic_ms() + ROLE_WAIT_MS, NULL),
	     "send START");
	buf_wipe_clear(&out);
}

static void note_progress(const char *text, void *arg)
{
	struct role *role = arg;

	snprintf(role->progress + strlen(role->progress), sizeof role->progress - strlen(role->progress), "%s\n", text);
}

void role_start(struct role *role, const struct hsm_settings *settings, const char *pin)
{
	int control[2], task[2];

	must(frame_socketpair(control, false, NULL) && frame_socketpair(task, false, NULL), "socketpair");
	*role = (struct role){.control = control[0]};
	role->call = (struct provision_call){
	    .fd = task[0], .deadline_ms = clock_monotonic_ms() + ROLE_WAIT_MS, .progress = note_progress, .arg = role};
	fflush(NULL);
	role->pid = fork();
	must(role->pid >= 0, "fork");
	if (role->pid == 0)
		run_program(control[1]);
	close(control[1]);
	send_start(role, settings, pin, task[1]);
	close(task[1]);
}

int role_end(struct role *role)
{
	int64_t end = clock_monotonic_ms() + ROLE_WAIT_MS;
	int status = 0;
	pid_t ended = 0;

	while (ended == 0 && clock_monotonic_ms() < end) {
		ended = waitpid(role->pid, &status, WNOHANG);
		usleep(ended == 0 ? 5000 : 0);
	}
	if (ended == 0) {
		kill(role->pid, SIGKILL);
		waitpid(role->pid, NULL, 0);
		status = -1;
	}
	close(role->control);
	if (role->call.fd >= 0)
		close(role->call.fd);
	return ended == role->pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
