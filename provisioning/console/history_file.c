#include "provisioning/console/history_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A URL with a user in it, and what the module is given, may hold one though the grammar takes them. */
static bool holds_secret(const char *word)
{
	return strcmp(word, "module-environment") == 0 || (strstr(word, "://") != NULL && strchr(word, '@') != NULL);
}

static bool begins_command(const struct line_word *word)
{
	for (size_t i = 0; i < n_commands; i++)
		if (word->text[0] != '\0' && strncmp(commands[i].form, word->text, strlen(word->text)) == 0)
			return true;
	return false;
}

bool history_may_hold(const char *text, bool understood)
{
	struct line line;
	size_t column;
	bool fit;

	if (!line_split(&line, text, &column, NULL))
		return false;
	fit = line.count > 0 && (understood || begins_command(&line.words[0]));
	for (size_t i = 0; i < line.count; i++)
		fit = fit && !holds_secret(line.words[i].text);
	line_clear(&line);
	return fit;
}

/* ---- the file ---- */

/* Named by the account, whose name has no slash. */
static char *path_of(const struct console *console, const char *account)
{
	return mem_format("%s/%s/%s.lines", console->state, HISTORY_DIRECTORY, account);
}

static int open_file(const struct console *console)
{
	char *directory = mem_format("%s/%s", console->state, HISTORY_DIRECTORY), *path = path_of(console, console->account);
	int fd;

	(void)mkdir(directory, 0700); /* it may be there */
	fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	free(path);
	free(directory);
	return fd;
}

static bool read_all(int fd, struct buf *text)
{
	char room[8192];
	ssize_t got;

	while ((got = read(fd, room, sizeof room)) > 0)
		buf_put(text, room, (size_t)got);
	return got == 0;
}

/* Where the last HISTORY_LINES begin. */
static size_t last_lines(struct bytes text)
{
	size_t at = text.len, lines = 0;

	while (at > 0) {
		if (text.data[at - 1] == '\n' && lines++ == HISTORY_LINES)
			break;
		at--;
	}
	return at;
}

/* Under a lock, so that no other login's line is lost between the two. */
static void shorten(int fd, struct bytes kept)
{
	(void)!(ftruncate(fd, 0) == 0 && write(fd, kept.data, kept.len) > 0);
}

void history_read(const struct console *console, history_line *each, void *arg)
{
	int fd = open_file(console);
	struct buf text = {0};
	struct bytes kept;

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX) == 0 && read_all(fd, &text)) {
		size_t from = last_lines(buf_bytes(&text));

		kept = bytes_slice(buf_bytes(&text), from, text.len);
		if (text.len > HISTORY_FILE_MAX_BYTES)
			shorten(fd, kept);
		while (kept.len > 0) {
			const uint8_t *end = memchr(kept.data, '\n', kept.len);
			size_t len = end == NULL ? kept.len : (size_t)(end - kept.data);
			char *line = mem_string_n((const char *)kept.data, len);

			each(line, arg);
			free(line);
			kept = bytes_slice(kept, len + 1, kept.len);
		}
	}
	buf_clear(&text);
	close(fd);
}

void history_append(const struct console *console, const char *line)
{
	int fd = open_file(console);
	char *text = mem_format("%s\n", line);

	if (fd >= 0) {
		/* a full disk costs a line of the history, no more */
		(void)!(flock(fd, LOCK_EX) == 0 && write(fd, text, strlen(text)) > 0);
		close(fd);
	}
	free(text);
}

void history_forget(const struct console *console, const char *account)
{
	char *path = path_of(console, account);

	(void)unlink(path); /* it may have typed nothing */
	free(path);
}
