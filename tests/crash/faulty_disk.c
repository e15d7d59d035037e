/*
 * LD_PRELOAD: a disk that fails. FAULTY_DISK="CALL PART-OF-PATH ERRNO FIRST LAST": the FIRSTth to LASTth call on files whose path
 * holds PART-OF-PATH fails with ERRNO. A sync of a file whose sync has failed before is what must never happen: it is told on
 * standard error as `SYNCED AGAIN PATH` (files are told apart by inode, time of birth
 * and generation, since inodes are used again, and within one tick of the clock too).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FAILED_MAX 256

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
struct identity {
	unsigned long long inode;
	long long seconds;
	unsigned nanoseconds;
	int generation; /* 0 where the file system has none */
};

static struct identity failed[FAILED_MAX];
static size_t n_failed;
static unsigned long calls;

static bool path_of(int fd, char path[static 512])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	len = readlink(link, path, 511);
	if (len < 0)
		return false;
	path[len] = '\0';
	return true;
}

#define HONEST (-1)

/* What this call fails with, 0 to lie, or HONEST. */
static int fault_of(const char *call, int fd)
{
	const char *plan = getenv("FAULTY_DISK");
	char want[32], part[128], path[512];
	unsigned long first, last, number;
	int error;

	if (plan == NULL || sscanf(plan, "%31s %127s %d %lu %lu", want, part, &error, &first, &last) != 5)
		return HONEST;
	if (strcmp(want, call) != 0 || !path_of(fd, path) || strstr(path, part) == NULL)
		return HONEST;
	pthread_mutex_lock(&lock);
	number = ++calls;
	pthread_mutex_unlock(&lock);
	return number >= first && number <= last ? error : HONEST;
}

static bool identify(int fd, struct identity *identity)
{
	struct statx status;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &status) != 0)
		return false;
	*identity = (struct identity){status.stx_ino, status.stx_btime.tv_sec, status.stx_btime.tv_nsec, 0};
	if (ioctl(fd, FS_IOC_GETVERSION, &identity->generation) != 0)
		identity->generation = 0;
	return true;
}

static void remember_failed_sync(int fd)
{
	struct identity identity;

	if (!identify(fd, &identity))
		return;
	pthread_mutex_lock(&lock);
	if (n_failed < FAILED_MAX)
		failed[n_failed++] = identity;
	pthread_mutex_unlock(&lock);
}

static void tell_sync_after_failure(int fd)
{
	struct identity identity;
	char path[512] = "";

	if (!identify(fd, &identity))
		return;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < n_failed; i++)
		if (failed[i].inode == identity.inode && failed[i].seconds == identity.seconds &&
		    failed[i].nanoseconds == identity.nanoseconds && failed[i].generation == identity.generation &&
		    path_of(fd, path))
			fprintf(stderr, "SYNCED AGAIN %s\n", path);
	pthread_mutex_unlock(&lock);
}

static int sync_call(const char *name, int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
	int error;

	tell_sync_after_failure(fd);
	error = fault_of(name, fd);
	if (error == HONEST)
		return real(fd);
	if (error == 0)
		return 0;
	remember_failed_sync(fd);
	errno = error;
	return -1;
}

int fsync(int fd)
{
	return sync_call("fsync", fd);
}

int fdatasync(int fd)
{
	return sync_call("fdatasync", fd);
}

static ssize_t write_call(const char *name, int fd, const void *data, size_t len, off_t offset)
{
	ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
	int error = fault_of("pwrite", fd);

	if (error == HONEST)
		return real(fd, data, len, offset);
	errno = error;
	return -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	return write_call("pwrite", fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return write_call("pwrite64", fd, data, len, offset);
}
