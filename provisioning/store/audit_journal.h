/*
 * What happens in inkand and must be audited (a token lost, a PIN rejected): inkand may not write inkan.db, so it appends lines
 * to STATE/audit-events/N, N counting up from 1, and who next writes an audit row puts them into the chain before it, each with
 * the time at which it happened (audit_events.c). inkand only appends, the console only reads and removes files that it has
 * read; neither waits for the other.
 *
 * A line is `TIME TEXT` LF: wall milliseconds, a blank, UTF-8 without control characters.
 */
#ifndef INKAN_STORE_AUDIT_JOURNAL_H
#define INKAN_STORE_AUDIT_JOURNAL_H

#include "appliance/base/bytes.h"

#define AUDIT_JOURNAL_DIRECTORY "audit-events"
#define AUDIT_JOURNAL_FILE_MAX_BYTES (256u << 10) /* then the next file is begun */
#define AUDIT_JOURNAL_LINE_MAX_BYTES 1024 /* longer texts are cut */
#define AUDIT_JOURNAL_WAITING_MAX_BYTES (64u << 10) /* lines kept in memory while they cannot be written */

struct audit_journal {
	char *directory;
	int fd; /* -1: not open */
	uint64_t number, size; /* of the open file */
	struct buf waiting; /* lines that could not be written yet */
};

/* Opens nothing yet. One writer on a machine: inkand, which holds the lock of the state directory. */
void audit_journal_init(struct audit_journal *journal, const char *state_directory);
void audit_journal_clear(struct audit_journal *journal);

/* Appends and waits for the disk. False: the line waits, and goes with a later one. */
bool audit_journal_write(struct audit_journal *journal, int64_t time_ms, const char *text, struct err *err) MUST_USE;

/* Reads one line without its LF; *text is a view into it. False: it is none. */
bool audit_journal_parse(struct bytes line, int64_t *time_ms, struct bytes *text) MUST_USE;

/* The files that are there, lowest and highest number; 0: none. */
bool audit_journal_files(const char *directory, uint64_t *lowest, uint64_t *highest, struct err *err) MUST_USE;

#endif
