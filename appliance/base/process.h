/*
 * What a process does to itself before it works: no core, no tracing, dropped privileges, confinement. Call before the
 * first thread is made. Each is final.
 */
#ifndef INKAN_BASE_PROCESS_H
#define INKAN_BASE_PROCESS_H

#include <sys/types.h>

#include "appliance/base/err.h"

/* PR_SET_DUMPABLE 0 and RLIMIT_CORE 0: no core file, no ptrace by its own user. */
void process_no_dump(void);

/* mlockall of present and future pages, as they are touched, where no lock limit stands in the way; true when it did. */
bool process_lock_memory(void);

/*
 * Sets uid, gid and the other groups that the user is in for good, and checks that root's cannot come back. Only as root, else
 * ERR_DENIED; never to root or to its group.
 */
bool process_drop_privileges(uid_t uid, gid_t gid, struct err *err) MUST_USE;

struct confinement {
	const char *const *readable; /* NULL-terminated files and directories; NULL: reading anywhere */
	const char *const *writable; /* NULL-terminated directories (and files); NULL: nowhere */
	bool network; /* may make inet sockets */
	bool execute; /* may exec other programs */
	const char *const *executable; /* with `execute`: NULL-terminated files and directories; NULL: any program */
};

/*
 * no-new-privs, Landlock (where the kernel has it) and a seccomp filter that returns EPERM for what no program of ours
 * needs (ptrace, mount, bpf, kexec, module loading, keyctl, unshare, …; exec unless allowed).
 * Paths that do not exist are skipped. ERR_SYSTEM when the kernel refuses a step that it should know.
 */
bool process_confine(const struct confinement *confinement, struct err *err) MUST_USE;

#endif
