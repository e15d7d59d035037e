#include "appliance/relay/delivery/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/clock.h"

#define HOST_NAME_BYTES 65

static bool make_directory(const char *path, struct err *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return true;
	return err_errno(err, "cannot make the directory %s", path);
}

bool maildir_make(const char *path, struct err *err)
{
	static const char *const parts[] = {"tmp", "new", "cur"};
	bool made = make_directory(path, err);

	for (size_t i = 0; made && i < sizeof parts / sizeof parts[0]; i++) {
		char *part = mem_format("%s/%s", path, parts[i]);

		made = make_directory(part, err);
		free(part);
	}
	return made;
}

bool maildir_check(const char *path, struct err *err)
{
	struct maildir_file file = {0};

	if (*path != '/')
		return err_set(err, ERR_INVALID, "maildir %s: the path must begin with /", path);
	if (!maildir_make(path, err) || !maildir_file_create(&file, path, err))
		return false;
	maildir_file_discard(&file);
	return true;
}

/* ---- Text ---- */

void maildir_lines_feed(struct maildir_lines *lines, struct bytes in, struct buf *out)
{
	size_t from = 0;

	if (in.len == 0)
		return;
	if (lines->cr && in.data[0] != '\n')
		buf_put_byte(out, '\r');
	lines->cr = in.data[in.len - 1] == '\r';
	if (lines->cr)
		in.len--;
	while (from < in.len) {
		const uint8_t *cr = memchr(in.data + from, '\r', in.len - from);
		size_t to = cr == NULL ? in.len : (size_t)(cr - in.data);

		buf_put(out, in.data + from, to - from);
		if (cr != NULL && (to + 1 == in.len || in.data[to + 1] != '\n'))
			buf_put_byte(out, '\r');
		from = to + 1;
	}
}

void maildir_lines_finish(struct maildir_lines *lines, struct buf *out)
{
	if (lines->cr)
		buf_put_byte(out, '\r');
	lines->cr = false;
}

static void put_address_field(struct buf *out, const char *name, const char *before, const char *address, const char *after)
{
	buf_printf(out, "%s: %s", name, before);
	for (; *address != '\0'; address++)
		buf_put_byte(out, *address == '\r' || *address == '\n' ? '?' : (uint8_t)*address);
	buf_printf(out, "%s\n", after);
}

void maildir_put_header(struct buf *out, const char *sender, const char *address)
{
	put_address_field(out, "Return-Path", "<", sender, ">");
	put_address_field(out, "Delivered-To", "", address, "");
	put_address_field(out, "X-Original-To", "", address, "");
}

/* ---- Files ---- */

/* Seconds, microseconds, process and counter make it unique on this host (https://cr.yp.to/proto/maildir.html). */
static char *unique_name(void)
{
	static _Atomic unsigned counter;
	char host[HOST_NAME_BYTES] = "localhost";
	int64_t now_ms = clock_wall_ms();

	gethostname(host, sizeof host - 1);
	for (char *c = host; *c != '\0'; c++) {
		if (*c == '/' || *c == ':')
			*c = '_';
	}
	return mem_format("%lld.M%lldP%dQ%u.%s", (long long)(now_ms / 1000), (long long)(now_ms % 1000 * 1000), (int)getpid(),
			  atomic_fetch_add(&counter, 1), host);
}

static char *file_path(const struct maildir_file *file, const char *part)
{
	return mem_format("%s/%s/%s", file->directory, part, file->name);
}

bool maildir_file_create(struct maildir_file *file, const char *directory, struct err *err)
{
	struct maildir_file made = {.directory = mem_string(directory), .name = unique_name()};
	char *path = file_path(&made, "tmp");

	made.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	made.open = made.fd >= 0;
	if (made.open)
		*file = made;
	else
		err_errno(err, "cannot make %s", path);
	if (!made.open) {
		free(made.directory);
		free(made.name);
	}
	free(path);
	return made.open;
}

bool maildir_file_write(struct maildir_file *file, struct bytes octets, struct err *err)
{
	while (octets.len > 0) {
		ssize_t written = write(file->fd, octets.data, octets.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return err_errno(err, "cannot write to the maildir %s", file->directory);
		octets = bytes_slice(octets, (size_t)written, octets.len);
	}
	return true;
}

static bool sync_directory(const char *directory, const char *part, struct err *err)
{
	char *path = mem_format("%s/%s", directory, part);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool synced = fd >= 0 && fsync(fd) == 0;

	if (!synced)
		err_errno(err, "cannot sync %s", path);
	if (fd >= 0)
		close(fd);
	free(path);
	return synced;
}

static void forget(struct maildir_file *file)
{
	free(file->directory);
	free(file->name);
	*file = (struct maildir_file){0};
}

static bool publish(struct maildir_file *file, struct err *err)
{
	char *from = file_path(file, "tmp"), *to = file_path(file, "new");
	bool renamed = rename(from, to) == 0;

	if (!renamed)
		err_errno(err, "cannot move %s to new", from);
	free(from);
	free(to);
	return renamed && sync_directory(file->directory, "new", err);
}

bool maildir_file_finish(struct maildir_file *file, struct err *err)
{
	bool finished;

	if (fsync(file->fd) != 0)
		return err_errno(err, "cannot sync a file of the maildir %s", file->directory);
	finished = close(file->fd) == 0;
	file->open = false;
	if (!finished)
		return err_errno(err, "cannot close a file of the maildir %s", file->directory);
	if (!publish(file, err))
		return false;
	forget(file);
	return true;
}

void maildir_file_discard(struct maildir_file *file)
{
	if (file->name == NULL)
		return;
	char *path = file_path(file, "tmp");

	if (file->open)
		close(file->fd);
	unlink(path);
	free(path);
	forget(file);
}
