/*
 * An exported audit: UTF-8, one JSON object a line, in this order. Times are wall milliseconds since 1970, hashes hexadecimal
 * SHA-256, keys and signatures base64 (audit_chain.h says what is hashed and signed).
 *
 *     {"audit":"inkan","version":1,"exported":TIME}
 *     {"key":HASH,"public_key":BASE64,"since":TIME}              each audit key: HASH is that of the SubjectPublicKeyInfo
 *     {"row":N,"time":TIME,"who":T,"from":T,"what":T,"result":T,"hash":HASH}      N from 1
 *     {"checkpoint":N,"time":TIME,"hash":HASH,"key":HASH,"signature":BASE64}      behind row N
 *     {"end":N,"hash":HASH}                                      the last row
 */
#ifndef INKAN_CONSOLE_AUDIT_FILE_H
#define INKAN_CONSOLE_AUDIT_FILE_H

#include <stdio.h>

#include "provisioning/store/audit_chain.h"

#define AUDIT_FILE_VERSION 1
#define AUDIT_FILE_LINE_MAX_BYTES (4u << 20)

/* ---- writing ---- */

/* Everything, as of one moment. *rows and *head are what the end says. */
bool audit_file_write(struct store *store, int64_t now_ms, FILE *to, uint64_t *rows, struct audit_link *head,
		      struct err *err) MUST_USE;

/* ---- verifying; pure ---- */

struct audit_pins { /* what is known from elsewhere */
	struct audit_link *keys; /* fingerprints of audit keys that may sign; none: those in the file */
	size_t n_keys;
	uint64_t row; /* this row has the hash `head`; 0: not of interest */
	struct audit_link head;
};

struct audit_verifier {
	const struct audit_pins *pins;
	struct audit_keys keys; /* of the file */
	uint64_t line; /* read so far */
	uint64_t rows;
	struct audit_link link; /* of the last row */
	uint64_t checkpoints, signed_rows; /* the last checkpoint's */
	int64_t signed_ms;
	struct audit_link signed_by;
	bool begun, ended;
};

void audit_verifier_init(struct audit_verifier *verifier, const struct audit_pins *pins);
void audit_verifier_clear(struct audit_verifier *verifier);

/*
 * The next line, without its LF. ERR_INTEGRITY: the audit is not whole, and the text says which row; ERR_INVALID: this is no
 * exported audit.
 */
bool audit_verifier_line(struct audit_verifier *verifier, struct bytes line, struct err *err) MUST_USE;
bool audit_verifier_end(struct audit_verifier *verifier, struct err *err) MUST_USE; /* the file has ended */

/* The file PATH, with the same errors; ERR_SYSTEM: it cannot be read. */
bool audit_file_verify(const char *path, struct audit_verifier *verifier, struct err *err) MUST_USE;

/* `inkan audit verify FILE [--key FILE|FINGERPRINT]... [--row N:HASH]`: returns the exit code. */
int audit_verify_program(int argc, char **argv);

#endif
