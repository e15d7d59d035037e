#include "appliance/supervisor/privileges.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <linux/capability.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "appliance/base/process.h"

#define OPEN_FILES_WANTED 65536

static const int needed_capabilities[] = {
    CAP_SETUID,
    CAP_SETGID, /* children run as users of their own */
    CAP_KILL, /* and are stopped */
    CAP_NET_BIND_SERVICE, /* port 25 */
    CAP_CHOWN,
    CAP_FOWNER, /* the relay's directories */
    CAP_DAC_READ_SEARCH, /* a PIN file of another user */
    CAP_IPC_LOCK,
};

void privileges_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		rlim_t wanted = limit.rlim_max > OPEN_FILES_WANTED ? limit.rlim_max : OPEN_FILES_WANTED;

		if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){wanted, wanted}) != 0)
			(void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit.rlim_max, limit.rlim_max});
	}
	(void)setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
}

static bool is_needed(int capability)
{
	for (size_t i = 0; i < sizeof needed_capabilities / sizeof *needed_capabilities; i++)
		if (needed_capabilities[i] == capability)
			return true;
	return false;
}

/* Also out of the bounding set, so that no program that is executed gets them back. A container may not let us. */
static bool drop_from_bounding_set(struct err *err)
{
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (!is_needed(capability) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
			return errno == EPERM ? true : err_errno(err, "drop capability %d", capability);
	return true;
}

bool privileges_keep_needed(struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (geteuid() != 0)
		return true;
	if (!drop_from_bounding_set(err))
		return false;
	if (syscall(SYS_capget, &header, data) != 0)
		return err_errno(err, "capget");
	for (int capability = 0; capability < 32 * _LINUX_CAPABILITY_U32S_3; capability++) {
		struct __user_cap_data_struct *word = &data[capability / 32];

		if (is_needed(capability))
			continue;
		word->effective &= ~(1u << capability % 32);
		word->permitted &= ~(1u << capability % 32);
		word->inheritable &= ~(1u << capability % 32);
	}
	return syscall(SYS_capset, &header, data) == 0 ? true : err_errno(err, "capset");
}

/* The dynamic linker, which the kernel executes with each program: what our own program header names. */
static const char *program_interpreter(void)
{
	const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR); /* NOLINT(performance-no-int-to-ptr) */
	unsigned long count = getauxval(AT_PHNUM);
	uintptr_t base = 0;

	for (unsigned long i = 0; i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			base = (uintptr_t)headers - headers[i].p_vaddr;
	for (unsigned long i = 0; i < count; i++)
		if (headers[i].p_type == PT_INTERP)
			return (const char *)(base + headers[i].p_vaddr); /* NOLINT(performance-no-int-to-ptr) */
	return NULL;
}

bool privileges_confine(const char *programs, struct err *err)
{
	const char *const everywhere[] = {"/", NULL};
	const char *const executable[] = {programs, program_interpreter(), NULL};
	struct confinement confinement = {.writable = everywhere, .network = true, .execute = true, .executable = executable};

	return process_confine(&confinement, err);
}
