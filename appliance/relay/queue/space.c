#include "appliance/relay/queue/space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DEFAULT_MIN_FREE_BYTES (UINT64_C(256) << 20)
#define DEFAULT_MIN_FREE_PERCENT 5
#define MIN_FREE_INODES 1000
#define BALLAST_CHUNK_BYTES (UINT64_C(1) << 20)

static uint64_t limit_of(const struct space *space, const struct statvfs *status)
{
	uint64_t share = status->f_blocks * status->f_frsize / 100 * DEFAULT_MIN_FREE_PERCENT;

	if (space->min_free_bytes != 0)
		return space->min_free_bytes;
	return share > DEFAULT_MIN_FREE_BYTES ? share : DEFAULT_MIN_FREE_BYTES;
}

static uint64_t free_bytes(const struct space *space)
{
	int64_t available = space->available;

	return available > 0 ? (uint64_t)available : 0;
}

static enum space_level classify(const struct space *space)
{
	uint64_t available = free_bytes(space), limit = space->limit;

	if (available < limit / 2 || space->ballast_released)
		return SPACE_EXHAUSTED;
	return available < limit || space->few_inodes ? SPACE_LOW : SPACE_OK;
}

bool space_measure(struct space *space, struct err *err)
{
	struct statvfs status;
	uint64_t available;
	enum space_level level;

	if (fstatvfs(space->directory_fd, &status) != 0)
		return err_errno(err, "statvfs of the queue");
	available = status.f_bavail * status.f_frsize;
	space->limit = limit_of(space, &status);
	space->available = available > INT64_MAX ? INT64_MAX : (int64_t)available;
	/* a file system without a fixed number of inodes says 0 of 0 */
	space->few_inodes = status.f_files != 0 && status.f_favail < MIN_FREE_INODES;
	level = classify(space);
	if (level == SPACE_OK && space->level != SPACE_OK && available - space->limit < space->limit / 16)
		level = SPACE_LOW; /* not back and forth at the limit */
	space->level = (int)level;
	return true;
}

void space_written(struct space *space, uint64_t octets)
{
	space->available -= (int64_t)octets;
}

enum space_level space_level(const struct space *space)
{
	enum space_level now = classify(space), measured = (enum space_level)space->level;

	return now > measured ? now : measured;
}

bool space_admits(const struct space *space, uint64_t octets)
{
	uint64_t available = free_bytes(space), floor = space->limit / 2;

	return !space->ballast_released && available >= floor && available - floor >= octets;
}

/* ---- ballast ---- */

static bool has_ballast(const struct space *space)
{
	struct stat status;

	return fstatat(space->directory_fd, "ballast", &status, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (uint64_t)status.st_size == space->ballast_bytes;
}

static bool fill(int fd, uint64_t octets, const _Atomic bool *stop)
{
	uint8_t *chunk = mem_new(BALLAST_CHUNK_BYTES);
	uint64_t written = 0;

	while (written < octets && !*stop) {
		uint64_t left = octets - written;
		ssize_t wrote = write(fd, chunk, left < BALLAST_CHUNK_BYTES ? left : BALLAST_CHUNK_BYTES);

		if (wrote <= 0 && errno != EINTR)
			break;
		written += wrote > 0 ? (uint64_t)wrote : 0;
	}
	free(chunk);
	return written == octets;
}

static bool write_ballast(const struct space *space, const _Atomic bool *stop)
{
	int fd = openat(space->directory_fd, "ballast", O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool written;

	if (fd < 0)
		return false;
	written = fill(fd, space->ballast_bytes, stop) && fdatasync(fd) == 0;
	close(fd);
	if (!written)
		unlinkat(space->directory_fd, "ballast", 0);
	return written;
}

/* Twice its size must be free: what has just been given back is needed, and must not be taken again at once. */
static bool has_room_for_ballast(const struct space *space)
{
	return free_bytes(space) > space->limit + 2 * space->ballast_bytes;
}

void space_keep_ballast(struct space *space, const _Atomic bool *stop)
{
	if (space->ballast_bytes == 0 || space->ballast)
		return;
	if (!has_ballast(space) && (!has_room_for_ballast(space) || !write_ballast(space, stop)))
		return;
	space->ballast = has_ballast(space);
	if (space->ballast)
		space->ballast_released = false;
}

void space_release_ballast(struct space *space)
{
	if (space->ballast_bytes == 0)
		return;
	space->ballast_released = true;
	space->ballast = false;
	unlinkat(space->directory_fd, "ballast", 0);
}
