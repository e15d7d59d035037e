/* Each case confines a child of its own, which tries something and exits with the errno that it met. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "appliance/base/process.h"
#include "tests/unit/test.h"

#define CONFINE_FAILED 200

static char inside[256], outside[256], other[256];

static int result(bool ok)
{
	return ok ? 0 : errno;
}

static int create_in(const char *directory)
{
	char path[512];

	snprintf(path, sizeof path, "%s/file", directory);
	return result(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0);
}

static int create_inside(void)
{
	return create_in(inside);
}

static int create_outside(void)
{
	return create_in(outside);
}

static int remove_outside(void)
{
	char path[512];

	snprintf(path, sizeof path, "%s/kept", outside);
	return result(unlink(path) == 0);
}

static int truncate_outside(void)
{
	char path[512];

	snprintf(path, sizeof path, "%s/kept", outside);
	return result(truncate(path, 0) == 0);
}

static int rename_between_directories(void)
{
	char from[512], to[512];

	snprintf(from, sizeof from, "%s/tmp/mail", inside);
	snprintf(to, sizeof to, "%s/new/mail", inside);
	return result(rename(from, to) == 0);
}

static int read_outside(void)
{
	char path[512];

	snprintf(path, sizeof path, "%s/kept", outside);
	return result(open(path, O_RDONLY | O_CLOEXEC) >= 0);
}

static int inet_socket(void)
{
	return result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
}

static int unix_socket(void)
{
	return result(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
}

static int exec_true(void)
{
	execl("/bin/true", "true", (char *)NULL);
	return errno;
}

static int trace(void)
{
	return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

static int new_user_namespace(void)
{
	return result(unshare(CLONE_NEWUSER) == 0);
}

static int signal_the_parent(void)
{
	return result(kill(getppid(), 0) == 0);
}

static int start_a_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(0);
	return result(pid > 0 && waitpid(pid, &status, 0) == pid);
}

/* The kernel's Landlock: files are confined from version 2 on, truncate(2) from 3, signals from 6. */
static int want_from_version(int version, int denied)
{
	long have = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);

	return have >= version ? denied : 0;
}

static int try_confined(const struct confinement *confinement, int (*try)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (!process_confine(confinement, NULL))
			_exit(CONFINE_FAILED);
		_exit(try());
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void prepare_directories(void)
{
	const char *root = test_directory();
	char path[512];

	snprintf(inside, sizeof inside, "%s/inside", root);
	snprintf(outside, sizeof outside, "%s/outside", root);
	snprintf(other, sizeof other, "%s/other", root);
	mkdir(inside, 0700);
	mkdir(outside, 0700);
	snprintf(path, sizeof path, "%s/tmp", inside);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/new", inside);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/tmp/mail", inside);
	CHECK(test_write_file(path, bytes_text("mail")));
	snprintf(path, sizeof path, "%s/kept", outside);
	CHECK(test_write_file(path, bytes_text("kept")));
}

static void confinement_denies_what_it_does_not_name(void)
{
	const char *only_inside[] = {inside, other, NULL}, *programs[] = {"/usr", "/bin", "/lib64", "/lib", NULL},
		   *nothing[] = {NULL};
	const struct confinement relay = {.writable = only_inside, .network = true};
	const struct confinement local = {.writable = only_inside};
	const struct confinement blind = {.readable = nothing, .writable = only_inside};
	const struct confinement parent = {.network = true, .execute = true};
	const struct confinement parent_of_some = {.network = true, .execute = true, .executable = programs};
	const struct confinement parent_of_none = {.network = true, .execute = true, .executable = only_inside};
	const struct {
		const char *name;
		const struct confinement *confinement;
		int (*try)(void);
		int want;
	} cases[] = {
	    {"writes where it may", &relay, create_inside, 0},
	    {"does not write elsewhere", &relay, create_outside, EACCES},
	    {"does not remove elsewhere", &relay, remove_outside, EACCES},
	    {"does not truncate elsewhere", &relay, truncate_outside, want_from_version(3, EACCES)},
	    {"renames between its directories", &relay, rename_between_directories, 0},
	    {"reads anywhere", &relay, read_outside, 0},
	    {"reads only what is named", &blind, read_outside, EACCES},
	    {"what is writable is readable", &blind, create_inside, 0},
	    {"network allowed", &relay, inet_socket, 0},
	    {"network denied", &local, inet_socket, EPERM},
	    {"UNIX sockets always", &local, unix_socket, 0},
	    {"exec denied", &relay, exec_true, EPERM},
	    {"exec allowed", &parent, exec_true, 0},
	    {"exec of a named program", &parent_of_some, exec_true, 0},
	    {"exec of no other program", &parent_of_none, exec_true, EACCES},
	    {"no tracing", &parent, trace, EPERM},
	    {"no user namespace", &parent, new_user_namespace, EPERM},
	    {"no signal to a stranger", &parent, signal_the_parent, want_from_version(6, EPERM)},
	    {"fork stays possible", &relay, start_a_child, 0},
	};

	prepare_directories();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		test_case("%s", cases[i].name);
		CHECK_INT(try_confined(cases[i].confinement, cases[i].try), cases[i].want);
	}
}

static void no_dump_holds(void)
{
	struct rlimit limit;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		process_no_dump();
		getrlimit(RLIMIT_CORE, &limit);
		_exit(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && limit.rlim_max == 0 ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_INT(status, 0);
}

/* Locked or not, a process must be able to take more memory than the usual limit of 8 MiB. */
static void lock_memory_leaves_malloc_working(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		char *memory;

		process_lock_memory();
		memory = malloc(32u << 20);
		if (memory != NULL)
			memset(memory, 1, 32u << 20);
		_exit(memory != NULL ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_INT(status, 0);
}

static int drop_and_look(uid_t uid, gid_t gid)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct err err;

		if (!process_drop_privileges(uid, gid, &err))
			_exit((int)err.code);
		_exit(getuid() == uid && getegid() == gid && getgroups(0, NULL) == 0 ? 0 : 100);
	}
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void privileges_are_dropped_for_good(void)
{
	bool root = geteuid() == 0;

	CHECK_INT(drop_and_look(61301, 61301), root ? 0 : ERR_DENIED);
	CHECK_INT(drop_and_look(0, 61301), root ? ERR_INVALID : ERR_DENIED);
	CHECK_INT(drop_and_look(61301, 0), root ? ERR_INVALID : ERR_DENIED);
}

int main(void)
{
	TEST(confinement_denies_what_it_does_not_name);
	TEST(no_dump_holds);
	TEST(lock_memory_leaves_malloc_working);
	TEST(privileges_are_dropped_for_good);
	return test_finish();
}
