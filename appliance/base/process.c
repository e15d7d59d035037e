#include "appliance/base/process.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUPS_MAX 64 /* of one user; one in more keeps none */

void process_no_dump(void)
{
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){0});
}

static bool may_lock_everything(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	if (syscall(SYS_capget, &header, data) == 0 && (data[0].effective & 1u << CAP_IPC_LOCK) != 0)
		return true;
	return setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

/*
 * Locking all future pages under a finite limit would make malloc fail once the limit is used up, so it is done only
 * where there is no limit. MCL_ONFAULT: the unused part of a thread's stack takes no memory.
 */
bool process_lock_memory(void)
{
	return may_lock_everything() && mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

/* The groups that the user is in beside `gid`, without root's: a token's daemon or device may be for one of them. */
static int other_groups(uid_t uid, gid_t gid, gid_t groups[static GROUPS_MAX])
{
	const struct passwd *user = getpwuid(uid);
	int found = GROUPS_MAX, count = 0;

	if (user == NULL || getgrouplist(user->pw_name, gid, groups, &found) < 0)
		return 0;
	for (int i = 0; i < found; i++)
		if (groups[i] != gid && groups[i] != 0)
			groups[count++] = groups[i];
	return count;
}

static bool is_in_group_of_root(void)
{
	gid_t groups[GROUPS_MAX];
	int count = getgroups(GROUPS_MAX, groups);

	for (int i = 0; i < count; i++)
		if (groups[i] == 0)
			return true;
	return count < 0;
}

static bool has_dropped(uid_t uid, gid_t gid)
{
	uid_t uids[3];
	gid_t gids[3];

	if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 || getresgid(&gids[0], &gids[1], &gids[2]) != 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (uids[i] != uid || gids[i] != gid)
			return false;
	return !is_in_group_of_root() && setuid(0) != 0 && setgid(0) != 0;
}

bool process_drop_privileges(uid_t uid, gid_t gid, struct err *err)
{
	gid_t groups[GROUPS_MAX];
	int count;

	if (geteuid() != 0)
		return err_set(err, ERR_DENIED, "only root can change to user %u", (unsigned)uid);
	if (uid == 0 || gid == 0)
		return err_set(err, ERR_INVALID, "user %u group %u keeps root's rights", (unsigned)uid, (unsigned)gid);
	count = other_groups(uid, gid, groups);
	if (setgroups((size_t)count, groups) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
		return err_errno(err, "change to user %u", (unsigned)uid);
	if (!has_dropped(uid, gid))
		return err_set(err, ERR_INTERNAL, "user %u could get root's rights back", (unsigned)uid);
	return true;
}
