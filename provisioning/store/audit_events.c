/* inkand's journal (audit_journal.h) on its way into the chain. How far it was read is committed with the rows. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provisioning/store/audit_journal.h"
#include "provisioning/store/audit_private.h"

#define READ_MAX_BYTES (AUDIT_JOURNAL_FILE_MAX_BYTES * 2) /* at once; what is more waits for the next row */

struct place {
	uint64_t file; /* 0: nothing was read yet */
	uint64_t position;
};

static bool load_place(struct store *store, struct place *place, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_EVENTS_GET);

	*place = (struct place){0};
	if (query_row(&query))
		*place = (struct place){(uint64_t)column_number(&query, 0), (uint64_t)column_number(&query, 1)};
	return query_end(&query, err);
}

static bool save_place(struct store *store, const struct place *place, struct err *err)
{
	struct query query = query_of(store, SQL_AUDIT_EVENTS_SET);

	query_number(&query, (int64_t)place->file);
	query_number(&query, (int64_t)place->position);
	return query_run(&query, err);
}

static bool append_text(struct store *store, int64_t time_ms, const char *text, struct err *err)
{
	const struct audit_entry entry = {
	    .time_ms = time_ms, .who = (char *)"", .from = (char *)"inkand", .what = (char *)text, .result = (char *)"ok"};

	return audit_append(store, &entry, err);
}

static bool append_line(struct store *store, struct bytes line, struct err *err)
{
	int64_t time_ms;
	struct bytes text;
	char *copy;
	bool added;

	if (!audit_journal_parse(line, &time_ms, &text))
		return append_text(store, 0, "an event of inkand cannot be read: its line is damaged", err);
	copy = bytes_string(text);
	added = append_text(store, time_ms, copy, err);
	free(copy);
	return added;
}

/* Whole lines; the one that is being written waits. */
static bool append_lines(struct store *store, struct bytes octets, struct place *place, struct err *err)
{
	size_t at = 0;

	while (at < octets.len) {
		const uint8_t *end = memchr(octets.data + at, '\n', octets.len - at);

		if (end == NULL)
			break;
		if (!append_line(store, bytes_slice(octets, at, (size_t)(end - octets.data)), err))
			return false;
		at = (size_t)(end - octets.data) + 1;
	}
	place->position += at;
	return true;
}

/* What of the file is behind the place. *octets stays empty when the file is not there. */
static bool read_file(struct store *store, const struct place *place, struct buf *octets, uint64_t *size, struct err *err)
{
	char *path = mem_format("%s/" AUDIT_JOURNAL_DIRECTORY "/%llu", store->directory, (unsigned long long)place->file);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;
	ssize_t got = 0;
	bool fine = fd >= 0 && fstat(fd, &status) == 0;

	if (fine) {
		*size = (uint64_t)status.st_size;
		buf_reserve(octets, READ_MAX_BYTES);
		got = pread(fd, octets->data, READ_MAX_BYTES, (off_t)place->position);
		fine = got >= 0;
	}
	if (fine)
		octets->len = (size_t)got;
	else
		err_errno(err, "%s", path);
	if (fd >= 0)
		close(fd);
	free(path);
	return fine;
}

/* Nobody but inkand writes there and nobody but the store removes: anything else leaves its row. */
static bool read_on(struct store *store, struct place *place, struct err *err)
{
	struct buf octets = {0};
	uint64_t size = 0;
	bool fine = true;

	if (!read_file(store, place, &octets, &size, NULL))
		fine = append_text(store, 0, "events of inkand are missing: a file of them was removed or cannot be read", err);
	else if (size < place->position)
		fine = append_text(store, 0, "events of inkand are missing: a file of them was cut", err);
	else
		fine = append_lines(store, buf_bytes(&octets), place, err);
	if (fine && size < place->position)
		place->position = size;
	buf_clear(&octets);
	return fine;
}

static bool read_files(struct store *store, struct place *place, uint64_t lowest, uint64_t highest, struct err *err)
{
	if (place->file == 0)
		place->file = lowest;
	if (!read_on(store, place, err))
		return false;
	while (place->file < highest) {
		*place = (struct place){.file = place->file + 1};
		if (!read_on(store, place, err))
			return false;
	}
	return true;
}

static bool read_journal(struct store *store, struct audit_read_up *read, struct err *err)
{
	char *directory = mem_format("%s/" AUDIT_JOURNAL_DIRECTORY, store->directory);
	uint64_t lowest = 0, highest = 0;
	struct place place, before;
	bool listed = audit_journal_files(directory, &lowest, &highest, NULL);

	free(directory);
	if (!load_place(store, &place, err))
		return false;
	if (!listed || (highest == 0 && place.file == 0))
		return true;
	before = place;
	if (place.file > highest) { /* another inkand's, or none: it has begun anew */
		if (!append_text(store, 0, "events of inkand are missing: their files were removed", err))
			return false;
		place = (struct place){0};
	}
	if (highest == 0)
		return save_place(store, &place, err);
	if (!read_files(store, &place, lowest, highest, err))
		return false;
	*read = (struct audit_read_up){lowest, place.file};
	return (place.file == before.file && place.position == before.position) || save_place(store, &place, err);
}

bool audit_read_up(struct store *store, struct audit_read_up *read, struct err *err)
{
	*read = (struct audit_read_up){0};
	return read_journal(store, read, err) && audit_broken_off(store, err);
}

void audit_read_up_done(struct store *store, const struct audit_read_up *read)
{
	for (uint64_t file = read->remove_from; file < read->remove_below; file++) {
		char *path = mem_format("%s/" AUDIT_JOURNAL_DIRECTORY "/%llu", store->directory, (unsigned long long)file);

		(void)unlink(path);
		free(path);
	}
}
