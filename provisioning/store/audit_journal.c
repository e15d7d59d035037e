#include "provisioning/store/audit_journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void audit_journal_init(struct audit_journal *journal, const char *state_directory)
{
	*journal = (struct audit_journal){.directory = mem_format("%s/" AUDIT_JOURNAL_DIRECTORY, state_directory), .fd = -1};
}

static void close_file(struct audit_journal *journal)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = -1;
}

void audit_journal_clear(struct audit_journal *journal)
{
	close_file(journal);
	free(journal->directory);
	buf_clear(&journal->waiting);
	*journal = (struct audit_journal){.fd = -1};
}

static uint64_t number_of(const char *name)
{
	char *end;
	uint64_t number = strtoull(name, &end, 10);

	return *name >= '1' && *name <= '9' && *end == '\0' ? number : 0;
}

bool audit_journal_files(const char *directory, uint64_t *lowest, uint64_t *highest, struct err *err)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	*lowest = *highest = 0;
	if (dir == NULL)
		return errno == ENOENT ? true : err_errno(err, "%s", directory);
	while ((entry = readdir(dir)) != NULL) {
		uint64_t number = number_of(entry->d_name);

		if (number == 0)
			continue;
		if (*lowest == 0 || number < *lowest)
			*lowest = number;
		if (number > *highest)
			*highest = number;
	}
	closedir(dir);
	return true;
}

/* ---- writing ---- */

static bool open_number(struct audit_journal *journal, uint64_t number, struct err *err)
{
	char *path = mem_format("%s/%llu", journal->directory, (unsigned long long)number);
	struct stat status;
	uint8_t last = '\n';
	int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_DSYNC, 0600);
	bool opened = fd >= 0 && fstat(fd, &status) == 0 && (status.st_size == 0 || pread(fd, &last, 1, status.st_size - 1) == 1);

	/* A line that a crash has cut gets its end, so that the next one is whole. */
	if (opened && last != '\n')
		opened = write(fd, "\n", 1) == 1;
	if (!opened)
		err_errno(err, "%s", path);
	free(path);
	if (!opened) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	journal->fd = fd;
	journal->number = number;
	journal->size = (uint64_t)status.st_size;
	return true;
}

static bool open_last(struct audit_journal *journal, struct err *err)
{
	uint64_t lowest, highest;

	if (mkdir(journal->directory, 0700) != 0 && errno != EEXIST)
		return err_errno(err, "%s", journal->directory);
	return audit_journal_files(journal->directory, &lowest, &highest, err) &&
	       open_number(journal, highest == 0 ? 1 : highest, err);
}

static bool open_for(struct audit_journal *journal, struct err *err)
{
	uint64_t next = journal->number + 1;

	if (journal->fd < 0 && !open_last(journal, err))
		return false;
	if (journal->size < AUDIT_JOURNAL_FILE_MAX_BYTES)
		return true;
	next = journal->number + 1;
	close_file(journal);
	return open_number(journal, next, err);
}

static void put_line(struct buf *out, int64_t time_ms, const char *text)
{
	size_t len = strnlen(text, AUDIT_JOURNAL_LINE_MAX_BYTES);

	buf_printf(out, "%lld ", (long long)time_ms);
	for (size_t i = 0; i < len; i++)
		buf_put_byte(out, (uint8_t)text[i] < 0x20 || text[i] == 0x7f ? ' ' : (uint8_t)text[i]);
	buf_put_byte(out, '\n');
}

/* What of `waiting` is on the disk is taken from it: a line that is half written is finished by the next call. */
bool audit_journal_write(struct audit_journal *journal, int64_t time_ms, const char *text, struct err *err)
{
	if (journal->waiting.len < AUDIT_JOURNAL_WAITING_MAX_BYTES)
		put_line(&journal->waiting, time_ms, text);
	if (!open_for(journal, err))
		return false;
	while (journal->waiting.len > 0) {
		ssize_t written = write(journal->fd, journal->waiting.data, journal->waiting.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return err_errno(err, "%s/%llu", journal->directory, (unsigned long long)journal->number);
		journal->size += (uint64_t)written;
		buf_consume(&journal->waiting, (size_t)written);
	}
	return true;
}

/* ---- reading ---- */

bool audit_journal_parse(struct bytes line, int64_t *time_ms, struct bytes *text)
{
	int64_t time = 0;
	size_t at = 0;

	for (; at < line.len && line.data[at] >= '0' && line.data[at] <= '9'; at++) {
		if (at == 18)
			return false;
		time = time * 10 + (line.data[at] - '0');
	}
	if (at == 0 || at == line.len || line.data[at] != ' ' || memchr(line.data, '\0', line.len) != NULL)
		return false;
	*time_ms = time;
	*text = bytes_slice(line, at + 1, line.len);
	return true;
}
