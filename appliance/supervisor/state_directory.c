#include "appliance/supervisor/state_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the directory that `fd` shows the owner's. One of our own becomes the relay's: an earlier start may have been cut short.
 */
static bool mend(int fd, const char *path, mode_t mode, const struct run_as *owner, struct err *err)
{
	uid_t own = geteuid(), uid = owner->change ? owner->uid : own;
	struct stat status;

	if (fstat(fd, &status) != 0)
		return err_errno(err, "%s", path);
	if (status.st_uid != uid && status.st_uid != own)
		return err_set(err, ERR_DENIED, "%s belongs to user %u, but must belong to user %u", path,
			       (unsigned)status.st_uid, (unsigned)uid);
	if (status.st_uid != uid && fchown(fd, owner->uid, owner->gid) != 0)
		return err_errno(err, "%s: change the owner", path);
	if ((status.st_mode & 07777) != mode && fchmod(fd, mode) != 0)
		return err_errno(err, "%s: change the mode", path);
	return true;
}

static bool prepare(const char *path, mode_t mode, const struct run_as *owner, struct err *err)
{
	bool mended;
	int fd;

	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return err_errno(err, "%s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "%s", path);
	mended = mend(fd, path, mode, owner, err);
	close(fd);
	return mended;
}

static bool prepare_below(const char *state, const char *name, mode_t mode, const struct run_as *owner, struct err *err)
{
	char *path = mem_format("%s/%s", state, name);
	bool prepared = prepare(path, mode, owner, err);

	free(path);
	return prepared;
}

static bool name_holder(int fd, const char *state, struct err *err)
{
	char pid[32] = "";
	ssize_t got = pread(fd, pid, sizeof pid - 1, 0);

	return err_set(err, ERR_EXISTS, "another inkand (process %s) runs on %s", got > 0 ? pid : "?", state);
}

static bool take_lock(const char *state, int *lock, struct err *err)
{
	char *path = mem_format("%s/run/inkand.lock", state);
	int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool opened = fd >= 0 ? true : err_errno(err, "%s", path);

	free(path);
	if (!opened)
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		name_holder(fd, state, err);
		close(fd);
		return false;
	}
	if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld", (long)getpid()) < 0) {
		err_errno(err, "%s/run/inkand.lock", state);
		close(fd);
		return false;
	}
	*lock = fd;
	return true;
}

bool state_directory_prepare(const char *state, const struct run_as *relay, int *lock, struct err *err)
{
	const struct run_as own = {0};
	int held;

	if (!prepare(state, 0711, &own, err) || !prepare_below(state, "run", 0700, &own, err) || !take_lock(state, &held, err))
		return false;
	if (!prepare_below(state, "mail", 0700, relay, err) || !prepare_below(state, "maildir", 0700, relay, err)) {
		close(held);
		return false;
	}
	*lock = held;
	return true;
}
