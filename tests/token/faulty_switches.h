/*
 * The switches of faulty_module.c: files in a directory, so that a test turns a fault on and off while others run, and a
 * file of counters. For that module alone.
 */
#ifndef INKAN_TESTS_FAULTY_SWITCHES_H
#define INKAN_TESTS_FAULTY_SWITCHES_H

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* One row a function in the file `calls`: its name, and how often it was called by all processes. */
struct call_count {
	char name[24];
	_Atomic(uint64_t) count;
};

static char switches[PATH_BYTES]; /* the directory */

/* $INKAN_FAULTY_DIRECTORY, or the directory of the module itself. */
static void switches_open(const void *in_module)
{
	const char *named = getenv("INKAN_FAULTY_DIRECTORY");
	Dl_info info;
	char *slash;

	if (named != NULL) {
		snprintf(switches, sizeof switches, "%s", named);
		return;
	}
	if (dladdr(in_module, &info) == 0)
		return;
	snprintf(switches, sizeof switches, "%s", info.dli_fname);
	slash = strrchr(switches, '/');
	if (slash != NULL)
		*slash = '\0';
}

static const char *switch_path(const char *name, char path[static PATH_BYTES])
{
	if ((size_t)snprintf(path, PATH_BYTES, "%s/%s", switches, name) >= PATH_BYTES)
		path[0] = '\0';
	return path;
}

static bool is_on(const char *name)
{
	char path[PATH_BYTES];

	return access(switch_path(name, path), F_OK) == 0;
}

static bool read_text(const char *name, char *out, size_t size)
{
	char path[PATH_BYTES];
	int fd = open(switch_path(name, path), O_RDONLY | O_CLOEXEC);
	ssize_t got;

	out[0] = '\0';
	if (fd < 0)
		return false;
	got = read(fd, out, size - 1);
	close(fd);
	out[got > 0 ? got : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return true;
}

static unsigned long number_in(const char *name, int base)
{
	char text[32];

	return read_text(name, text, sizeof text) ? strtoul(text, NULL, base) : 0;
}

/* True for as many callers, of all processes, as the file has octets (an empty one: for one); the last removes it. */
static bool take(const char *name)
{
	char path[PATH_BYTES];
	struct stat status;
	bool taken = false;
	int fd = open(switch_path(name, path), O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (flock(fd, LOCK_EX) == 0 && fstat(fd, &status) == 0 && status.st_nlink > 0)
		taken = status.st_size > 1 ? ftruncate(fd, status.st_size - 1) == 0 : unlink(path) == 0;
	close(fd);
	return taken;
}

static void append_line(const char *name, const char *text)
{
	char path[PATH_BYTES];
	int fd = open(switch_path(name, path), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		perror(name);
	close(fd);
}

/* An open descriptor with that lock, -1 when it cannot be had at once (LOCK_NB) or at all. */
static int hold(const char *name, int how)
{
	char path[PATH_BYTES];
	int fd = open(switch_path(name, path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd >= 0 && flock(fd, how) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void let_go(int fd)
{
	if (fd >= 0)
		close(fd);
}

static struct call_count *calls_map(size_t count)
{
	char path[PATH_BYTES];
	int fd = open(switch_path("calls", path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *map = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)(count * sizeof(struct call_count))) == 0)
		map = mmap(NULL, count * sizeof(struct call_count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	let_go(fd);
	return map == MAP_FAILED ? NULL : map;
}

#endif
