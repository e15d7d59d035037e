/* An exported audit of anybody's: no read outside it, and what is called whole has a row for each number. */
#include <stdlib.h>
#include <string.h>

#include "provisioning/console/audit_file.h"
#include "provisioning/store/audit_journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_journal(struct bytes line)
{
	struct bytes text;
	int64_t time_ms;

	if (audit_journal_parse(line, &time_ms, &text) && (time_ms < 0 || text.len >= line.len))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct audit_pins pins = {0};
	struct audit_verifier verifier;
	bool good = true;

	audit_verifier_init(&verifier, &pins);
	for (size_t at = 0; good && at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t len = end != NULL ? (size_t)(end - data) - at : size - at;

		read_journal(bytes_of(data + at, len));
		good = audit_verifier_line(&verifier, bytes_of(data + at, len), NULL);
		at += len + 1;
	}
	if (good && audit_verifier_end(&verifier, NULL) && (verifier.signed_rows > verifier.rows || !verifier.ended))
		abort();
	audit_verifier_clear(&verifier);
	return 0;
}
