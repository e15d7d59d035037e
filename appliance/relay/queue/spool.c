#include "appliance/relay/queue/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/relay/queue/fault.h"

#define SPOOL_DIRECTORIES 256
#define NAME_BYTES 32

static const char *file_name(char out[static NAME_BYTES], uint64_t number, const char *suffix)
{
	snprintf(out, NAME_BYTES, "%02x/%016llx%s", (unsigned)(number >> 22 & 0xff), (unsigned long long)number, suffix);
	return out;
}

static _Atomic int directory_sync_errno; /* of the first failure in this process; spool_open begins anew */

static const char *directory_name(char out[static NAME_BYTES], uint64_t number)
{
	snprintf(out, NAME_BYTES, "%02x", (unsigned)(number >> 22 & 0xff));
	return out;
}

static bool failed(struct err *err, const char *what, const char *name)
{
	bool full = errno == ENOSPC || errno == EDQUOT;

	err_errno(err, "%s spool/%s", what, name);
	if (full && err != NULL)
		err->code = ERR_LIMIT;
	return false;
}

static bool injected(const char *point)
{
	int error = fault_point(point);

	if (error != 0)
		errno = error;
	return error != 0;
}

/* ---- opening ---- */

static bool make_directories(int spool_fd, struct err *err)
{
	char name[NAME_BYTES];

	for (unsigned i = 0; i < SPOOL_DIRECTORIES; i++) {
		snprintf(name, sizeof name, "%02x", i);
		if (mkdirat(spool_fd, name, 0700) != 0 && errno != EEXIST)
			return failed(err, "make", name);
	}
	return fsync(spool_fd) == 0 || failed(err, "sync", "");
}

static bool has_unnamed_files(int spool_fd)
{
	int fd = injected("spool.tmpfile") ? -1 : openat(spool_fd, "00", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	return fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL);
}

bool spool_open(struct spool *spool, int parent_fd, struct err *err)
{
	int fd;

	directory_sync_errno = 0;
	if (mkdirat(parent_fd, "spool", 0700) != 0 && errno != EEXIST)
		return failed(err, "make", "");
	fd = openat(parent_fd, "spool", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return failed(err, "open", "");
	if (!make_directories(fd, err)) {
		close(fd);
		return false;
	}
	*spool = (struct spool){.fd = fd, .named_temporaries = !has_unnamed_files(fd)};
	return true;
}

void spool_close(struct spool *spool)
{
	if (spool->fd >= 0)
		close(spool->fd);
	spool->fd = -1;
}

/* ---- writing ---- */

int spool_create(const struct spool *spool, uint64_t number, struct err *err)
{
	char name[NAME_BYTES];
	int fd;

	if (spool->named_temporaries)
		fd = openat(spool->fd, file_name(name, number, ".tmp"), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	else
		fd = openat(spool->fd, directory_name(name, number), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		failed(err, "create", name);
	return fd;
}

bool spool_write(int fd, struct bytes octets, uint64_t offset, struct err *err)
{
	while (octets.len > 0) {
		ssize_t wrote = injected("body.write") ? -1 : pwrite(fd, octets.data, octets.len, (off_t)offset);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return failed(err, "write", "");
		octets = bytes_slice(octets, (size_t)wrote, octets.len);
		offset += (uint64_t)wrote;
	}
	return true;
}

static bool give_name(const struct spool *spool, int fd, uint64_t number, struct err *err)
{
	char name[NAME_BYTES], temporary[NAME_BYTES], proc[64];
	int result;

	file_name(name, number, "");
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	if (injected("body.link"))
		result = -1;
	else if (spool->named_temporaries)
		result = renameat(spool->fd, file_name(temporary, number, ".tmp"), spool->fd, name);
	else
		result = linkat(AT_FDCWD, proc, spool->fd, name, AT_SYMLINK_FOLLOW);
	return result == 0 || failed(err, "link", name);
}

/*
 * A directory is shared: once its sync has failed another thread's may say ok about a name that is lost (queue.md §4). So
 * one thread at a time syncs a directory, and none does after a failure.
 */
static pthread_mutex_t directory_locks[SPOOL_DIRECTORIES] = {[0 ... SPOOL_DIRECTORIES - 1] = PTHREAD_MUTEX_INITIALIZER};

static bool sync_once(int fd, const char *name, struct err *err)
{
	errno = directory_sync_errno;
	if (errno == 0 && !injected("body.sync-directory") && fsync(fd) == 0)
		return true;
	directory_sync_errno = errno;
	return failed(err, "sync", name);
}

static bool sync_directory(const struct spool *spool, uint64_t number, struct err *err)
{
	pthread_mutex_t *lock = &directory_locks[number >> 22 & (SPOOL_DIRECTORIES - 1)];
	char name[NAME_BYTES];
	int fd = openat(spool->fd, directory_name(name, number), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool synced;

	if (fd < 0)
		return failed(err, "open", name);
	pthread_mutex_lock(lock);
	synced = sync_once(fd, name, err);
	pthread_mutex_unlock(lock);
	close(fd);
	return synced;
}

bool spool_store(const struct spool *spool, int fd, uint64_t number, bool *directory_failed, struct err *err)
{
	char name[NAME_BYTES];

	*directory_failed = false;
	if (!give_name(spool, fd, number, err))
		return false;
	if (injected("body.sync") || fdatasync(fd) != 0) {
		failed(err, "sync", file_name(name, number, ""));
		spool_remove(spool, number);
		return false;
	}
	if (!sync_directory(spool, number, err)) {
		*directory_failed = true;
		spool_remove(spool, number);
		return false;
	}
	return true;
}

void spool_drop_temporary(const struct spool *spool, uint64_t number)
{
	char name[NAME_BYTES];

	if (spool->named_temporaries)
		unlinkat(spool->fd, file_name(name, number, ".tmp"), 0);
}

void spool_remove(const struct spool *spool, uint64_t number)
{
	char name[NAME_BYTES];

	if (!injected("spool.remove"))
		unlinkat(spool->fd, file_name(name, number, ""), 0);
}

int spool_open_stored(const struct spool *spool, uint64_t number, struct err *err)
{
	char name[NAME_BYTES];
	int fd = openat(spool->fd, file_name(name, number, ""), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno == ENOENT)
		err_set(err, ERR_INTEGRITY, "body file spool/%s is missing", name);
	else if (fd < 0)
		failed(err, "open", name);
	else
		posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return fd;
}
