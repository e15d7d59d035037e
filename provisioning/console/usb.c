#include "provisioning/console/usb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provisioning/console/input.h"

#define MOUNTINFO "/proc/self/mountinfo"
#define BLOCKS "/sys/dev/block"

/* ---- which are mounted ---- */

static bool says_one(const char *directory, const char *file)
{
	char *path = mem_format("%s/%s", directory, file);
	FILE *stream = fopen(path, "re");
	bool one = stream != NULL && fgetc(stream) == '1';

	if (stream != NULL)
		fclose(stream);
	free(path);
	return one;
}

/* The kernel calls a stick removable, but not every disk behind USB; a partition's own disk is the directory above. */
static bool is_removable(const char *blocks, const char *device)
{
	char *link = mem_format("%s/%s", blocks, device), *directory = realpath(link, NULL);
	bool removable = directory != NULL && (strstr(directory, "/usb") != NULL || says_one(directory, "removable") ||
					       says_one(directory, "../removable"));

	free(link);
	free(directory);
	return removable;
}

/* Blanks and the like stand there as three octal digits. */
static char *unescape(const char *text)
{
	char *plain = mem_string(text), *to = plain;

	for (const char *from = plain; *from != '\0'; from++) {
		if (*from == '\\' && strspn(from + 1, "01234567") >= 3) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return plain;
}

static bool is_fat(const char *type)
{
	return strcmp(type, "vfat") == 0 || strcmp(type, "exfat") == 0 || strcmp(type, "msdos") == 0;
}

/* "36 35 8:17 / /media/stick rw,nosuid shared:1 - vfat /dev/sdb1 rw" (proc_pid_mountinfo(5)) */
static void take_mount(struct usb_mounts *mounts, const char *line, const char *blocks)
{
	char device[32], place[4096], type[32];
	const char *behind = strstr(line, " - ");

	if (behind == NULL || sscanf(line, "%*u %*u %31s %*s %4095s", device, place) != 2 ||
	    sscanf(behind + 3, "%31s", type) != 1)
		return;
	if (!is_fat(type) || strchr(device, '/') != NULL || !is_removable(blocks, device))
		return;
	mounts->paths = mem_resize(mounts->paths, mounts->count + 1, sizeof *mounts->paths);
	mounts->paths[mounts->count++] = unescape(place);
}

void usb_mounts_find(struct usb_mounts *mounts, const char *mountinfo, const char *blocks)
{
	char *text = mem_string(mountinfo), *rest = text, *line;

	*mounts = (struct usb_mounts){0};
	while ((line = strsep(&rest, "\n")) != NULL)
		take_mount(mounts, line, blocks);
	free(text);
}

void usb_mounts_clear(struct usb_mounts *mounts)
{
	for (size_t i = 0; i < mounts->count; i++)
		free(mounts->paths[i]);
	free(mounts->paths);
	*mounts = (struct usb_mounts){0};
}

/* ---- files ---- */

static size_t list_directory(const char *path, struct buf *out)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	struct stat status;
	size_t listed = 0;

	while (directory != NULL && listed < USB_FILES_MAX && (entry = readdir(directory)) != NULL) {
		if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
			continue;
		buf_printf(out, "  %-48s %10lld\n", entry->d_name, (long long)status.st_size);
		listed++;
	}
	if (directory != NULL)
		closedir(directory);
	return listed;
}

void usb_list(const struct usb_mounts *mounts, struct buf *out)
{
	size_t listed = 0;

	for (size_t i = 0; i < mounts->count; i++)
		listed += list_directory(mounts->paths[i], out);
	if (mounts->count == 0)
		buf_put_text(out, "  (no removable medium with a FAT file system is mounted)\n");
	else if (listed == 0)
		buf_put_text(out, "  (no file is there)\n");
}

/* Nothing but what is on the medium itself. */
static int open_below(const char *mount, const char *name)
{
	const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
				     .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
	int directory = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;

	if (directory < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof how);
	close(directory);
	return fd;
}

bool usb_read(const struct usb_mounts *mounts, const char *name, const char *what, size_t most, struct buf *out, struct err *err)
{
	int found = -1;
	char *path;
	bool fine;

	for (size_t i = 0; i < mounts->count; i++) {
		int fd = open_below(mounts->paths[i], name);

		if (fd >= 0 && found >= 0) {
			close(fd);
			close(found);
			return err_set(err, ERR_INVALID, "%s is on several media: take one out", name);
		}
		if (fd >= 0)
			found = fd;
	}
	if (found < 0)
		return err_set(err, ERR_NOT_FOUND, "%s is on no removable medium with a FAT file system that is mounted", name);
	path = mem_format("/proc/self/fd/%d", found);
	fine = input_file(path, what, most, out, err);
	free(path);
	close(found);
	return fine;
}

static char *read_mountinfo(void)
{
	FILE *stream = fopen(MOUNTINFO, "re");
	struct buf text = {0};
	char chunk[4096], *whole;
	size_t got;

	while (stream != NULL && (got = fread(chunk, 1, sizeof chunk, stream)) > 0)
		buf_put(&text, chunk, got);
	if (stream != NULL)
		fclose(stream);
	whole = mem_string(buf_text(&text));
	buf_clear(&text);
	return whole;
}

bool usb_input(const char *name, const char *what, size_t most, struct buf *out, struct err *err)
{
	char *mountinfo = read_mountinfo();
	struct usb_mounts mounts;
	struct buf list = {0};
	bool fine;

	usb_mounts_find(&mounts, mountinfo, BLOCKS);
	if (*name != '\0') {
		fine = usb_read(&mounts, name, what, most, out, err);
	} else {
		usb_list(&mounts, &list);
		fprintf(stderr, "%s", buf_text(&list));
		fine = err_set(err, ERR_INVALID, "say which file: usb:NAME");
	}
	buf_clear(&list);
	usb_mounts_clear(&mounts);
	free(mountinfo);
	return fine;
}
