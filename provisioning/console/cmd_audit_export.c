#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "appliance/base/clock.h"
#include "provisioning/console/audit_file.h"
#include "provisioning/console/checkpoint.h"
#include "provisioning/console/commands.h"

static bool write_to(struct console *console, FILE *file, uint64_t *rows, struct audit_link *head, struct err *err)
{
	bool written = audit_file_write(console->store, clock_wall_ms(), file, rows, head, err) &&
		       (fflush(file) == 0 || err_errno(err, "write")) && (fsync(fileno(file)) == 0 || err_errno(err, "fsync"));

	if (fclose(file) != 0 && written)
		written = err_errno(err, "close");
	return written;
}

/* Whole or not at all: under another name until it is complete. What is there already stays. */
static bool write_file(struct console *console, const char *path, uint64_t *rows, struct audit_link *head, struct err *err)
{
	char *part = mem_format("%s.part", path);
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool written = fd >= 0 || err_errno(err, "%s", part);

	written = written && write_to(console, fdopen(fd, "w"), rows, head, err);
	if (written && link(part, path) != 0)
		written = errno == EEXIST ? err_set(err, ERR_EXISTS, "%s exists already: choose another name", path)
					  : err_errno(err, "%s", path);
	if (fd >= 0)
		(void)unlink(part);
	free(part);
	return written;
}

bool audit_export(struct console *console, const struct parsed *parsed, struct err *err)
{
	const char *path = parsed->typed[0];
	char hex[2 * AUDIT_HASH_BYTES + 1];
	struct audit_link head;
	uint64_t rows;
	struct err why;

	if (!checkpoint_make(console, &why))
		console_say(console, "note: the last rows are not signed (%s)", why.text);
	if (!write_file(console, path, &rows, &head, err))
		return false;
	hex_encode(hex, bytes_of(head.hash, sizeof head.hash));
	console_say(console, "%llu rows in %s. Write this down, it proves later that none was cut off:\n--row %llu:%s",
		    (unsigned long long)rows, path, (unsigned long long)rows, hex);
	return true;
}

bool audit_verify(struct console *console, const struct parsed *parsed, struct err *err)
{
	struct audit_pins pins = {0};
	struct audit_verifier verifier;
	bool good;

	audit_verifier_init(&verifier, &pins);
	good = audit_file_verify(parsed->typed[0], &verifier, err);
	if (good)
		console_say(console, "Whole: %llu rows, %llu of them signed", (unsigned long long)verifier.rows,
			    (unsigned long long)verifier.signed_rows);
	audit_verifier_clear(&verifier);
	return good;
}

/* For `--key`: whoever verifies has it from here, not out of the file. */
bool show_audit_keys(struct console *console, const struct parsed *parsed, struct err *err)
{
	static const struct report_column columns[] = {{"SINCE (UTC)", "since", false}, {"SHA-256", "fingerprint", false}};
	struct report report = report_of(REPORT_TABLE, columns, 2);
	struct audit_keys keys;

	(void)parsed;
	if (!store_audit_keys(console->store, &keys, err))
		return false;
	for (size_t i = 0; i < keys.count; i++) {
		char time[CONSOLE_TIME_BYTES], hex[2 * AUDIT_HASH_BYTES + 1];

		console_time(time, keys.items[i].since_ms);
		hex_encode(hex, bytes_of(keys.items[i].fingerprint.hash, AUDIT_HASH_BYTES));
		report_cell(&report, "%s", time);
		report_cell(&report, "%s", hex);
	}
	console_show(console, &report);
	audit_keys_clear(&keys);
	report_clear(&report);
	return true;
}
