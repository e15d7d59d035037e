#include "appliance/relay/queue/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "appliance/relay/queue/fault.h"

#define NUMBER_DIGITS 16

struct sweep {
	const uint64_t *wanted;
	size_t n_wanted;
	uint64_t removed;
};

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool is_wanted(const struct sweep *sweep, uint64_t number)
{
	return sweep->n_wanted > 0 && bsearch(&number, sweep->wanted, sweep->n_wanted, sizeof number, compare_numbers) != NULL;
}

static bool is_orphan(const struct sweep *sweep, const char *name)
{
	uint64_t number;

	if (strspn(name, "0123456789abcdef") != NUMBER_DIGITS)
		return false;
	if (strcmp(name + NUMBER_DIGITS, ".tmp") == 0)
		return true;
	number = strtoull(name, NULL, 16);
	return name[NUMBER_DIGITS] == '\0' && !is_wanted(sweep, number);
}

static bool sweep_directory(struct sweep *sweep, int spool_fd, unsigned i, struct err *err)
{
	char name[4];
	struct dirent *entry;
	DIR *directory;
	int fd;

	snprintf(name, sizeof name, "%02x", i & 0xff);
	fd = openat(spool_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (directory == NULL)
		return err_errno(err, "read spool/%s", name);
	while ((entry = readdir(directory)) != NULL) {
		if (!is_orphan(sweep, entry->d_name))
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			sweep->removed++;
	}
	closedir(directory);
	return true;
}

bool spool_sweep(const struct spool *spool, const uint64_t *wanted, size_t n_wanted, const _Atomic bool *stop, uint64_t *removed,
		 struct err *err)
{
	struct sweep sweep = {.wanted = wanted, .n_wanted = n_wanted};

	for (unsigned i = 0; i < 256 && !*stop; i++) {
		if (!sweep_directory(&sweep, spool->fd, i, err))
			return false;
		(void)fault_point("start.sweep");
	}
	*removed = sweep.removed;
	return true;
}
