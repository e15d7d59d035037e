/*
 * process_confine: Landlock restricts files, seccomp restricts system calls. The kernel's interface is declared here,
 * since the C library's headers know only its first versions; a kernel that has fewer rights gets fewer.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "appliance/base/process.h"

/* ---- Landlock: include/uapi/linux/landlock.h ---- */

#define RULESET_VERSION (1u << 0)
#define RULE_PATH_BENEATH 1

#define FS_EXECUTE (1ull << 0)
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_REMOVE_AND_MAKE (0x1ffull << 4) /* REMOVE_DIR to MAKE_SYM */
#define FS_REFER (1ull << 13) /* version 2 */
#define FS_TRUNCATE (1ull << 14) /* version 3 */

#define FS_READ (FS_READ_FILE | FS_READ_DIR)
#define FS_OF_A_FILE (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)

#define NET_TCP 3ull /* bind and connect, version 4 */
#define SCOPE_ABSTRACT_UNIX 1ull /* version 6 */
#define SCOPE_SIGNAL 2ull /* version 6 */

struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

struct path_beneath_attr {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

/* Version 1 (Linux 5.13) cannot allow a rename from one directory to another, which maildirs need: it counts as none. */
#define LANDLOCK_LEAST_VERSION 2

static int landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);
}

static size_t ruleset_attr_bytes(int version)
{
	if (version >= 6)
		return sizeof(struct ruleset_attr);
	return version >= 4 ? offsetof(struct ruleset_attr, scoped) : offsetof(struct ruleset_attr, handled_access_net);
}

static uint64_t write_rights(int version)
{
	return FS_WRITE_FILE | FS_REMOVE_AND_MAKE | FS_REFER | (version >= 3 ? FS_TRUNCATE : 0);
}

static struct ruleset_attr handled(const struct confinement *confinement, int version)
{
	struct ruleset_attr attr = {.handled_access_fs = write_rights(version)};

	if (confinement->readable != NULL)
		attr.handled_access_fs |= FS_READ;
	if (!confinement->execute || confinement->executable != NULL)
		attr.handled_access_fs |= FS_EXECUTE;
	if (version >= 4 && !confinement->network)
		attr.handled_access_net = NET_TCP;
	if (version >= 6)
		attr.scoped = SCOPE_SIGNAL | (confinement->network ? 0 : SCOPE_ABSTRACT_UNIX);
	return attr;
}

static bool allow_path(int ruleset, const char *path, uint64_t rights, struct err *err)
{
	struct path_beneath_attr rule = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
	struct stat status;
	bool added;

	if (rule.parent_fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? true : err_errno(err, "confine to %s", path);
	rule.allowed_access = rights;
	if (fstat(rule.parent_fd, &status) == 0 && !S_ISDIR(status.st_mode))
		rule.allowed_access &= FS_OF_A_FILE;
	added = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
	if (!added)
		err_errno(err, "confine to %s", path);
	close(rule.parent_fd);
	return added;
}

static bool allow_paths(int ruleset, const char *const *paths, uint64_t rights, struct err *err)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++)
		if (rights != 0 && !allow_path(ruleset, paths[i], rights, err))
			return false;
	return true;
}

static bool fill_ruleset(int ruleset, const struct confinement *confinement, uint64_t fs, int version, struct err *err)
{
	return allow_paths(ruleset, confinement->readable, FS_READ & fs, err) &&
	       allow_paths(ruleset, confinement->writable, (write_rights(version) | FS_READ) & fs, err) &&
	       (!confinement->execute || allow_paths(ruleset, confinement->executable, (FS_EXECUTE | FS_READ_FILE) & fs, err));
}

static bool confine_files(const struct confinement *confinement, struct err *err)
{
	int version = landlock_version();
	struct ruleset_attr attr;
	bool confined;
	int ruleset;

	if (version < LANDLOCK_LEAST_VERSION)
		return true;
	attr = handled(confinement, version);
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, ruleset_attr_bytes(version), 0);
	if (ruleset < 0)
		return err_errno(err, "landlock_create_ruleset");
	confined = fill_ruleset(ruleset, confinement, attr.handled_access_fs, version, err);
	if (confined && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		confined = err_errno(err, "landlock_restrict_self");
	close(ruleset);
	return confined;
}

/* ---- seccomp ---- */

/* Nothing of ours needs these; names that this architecture or libseccomp does not know are skipped. */
static const char *const denied_calls[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "pidfd_getfd",
    "perf_event_open",
    "bpf",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register", /* files and memory of others, kernel surface */
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "name_to_handle_at",
    "open_by_handle_at",
    "fanotify_init",
    "quotactl",
    "quotactl_fd",
    "acct",
    "swapon",
    "swapoff", /* file systems */
    "unshare",
    "setns",
    "keyctl",
    "add_key",
    "request_key", /* namespaces, keyrings */
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "iopl",
    "ioperm",
    "syslog",
    "vhangup",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "stime",
    "uselib",
    "nfsservctl",
    "lookup_dcookie",
    "_sysctl",
    "sysfs", /* the machine */
};

static int deny(scmp_filter_ctx filter, const char *name)
{
	int call = seccomp_syscall_resolve_name(name);

	return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0);
}

static int deny_calls(scmp_filter_ctx filter)
{
	int status = 0;

	for (size_t i = 0; i < sizeof denied_calls / sizeof *denied_calls && status == 0; i++)
		status = deny(filter, denied_calls[i]);
	return status;
}

/* clone3 keeps its flags in memory, where a filter cannot look: the C library then falls back to clone. */
static int deny_namespaces(scmp_filter_ctx filter)
{
	int status = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);

	if (status != 0)
		return status;
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NEWUSER, CLONE_NEWUSER));
}

static int fill_filter(scmp_filter_ctx filter, const struct confinement *confinement)
{
	const struct scmp_arg_cmp not_unix = {.arg = 0, .op = SCMP_CMP_NE, .datum_a = AF_UNIX};
	int status = deny_calls(filter);

	if (status == 0)
		status = deny_namespaces(filter);
	if (status == 0 && !confinement->execute)
		status = deny(filter, "execve");
	if (status == 0 && !confinement->execute)
		status = deny(filter, "execveat");
	if (status == 0 && !confinement->network)
		status = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, not_unix);
	return status;
}

static bool confine_calls(const struct confinement *confinement, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int status;

	if (filter == NULL)
		return err_set(err, ERR_SYSTEM, "seccomp: out of memory");
	status = fill_filter(filter, confinement);
	if (status == 0)
		status = seccomp_load(filter);
	seccomp_release(filter);
	if (status != 0) {
		errno = -status;
		return err_errno(err, "seccomp");
	}
	return true;
}

bool process_confine(const struct confinement *confinement, struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return err_errno(err, "no-new-privs");
	return confine_files(confinement, err) && confine_calls(confinement, err);
}
