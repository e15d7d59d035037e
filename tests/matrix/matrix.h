/*
 * The matrix of tokens (`make check-tokens`): what each PKCS#11 token that Debian has can do for Inkan, found by the product's
 * own processes and compared with the table in README.md, cell by cell. A cell that is worse fails, one that is better too.
 * A token that cannot be had ends the program with 1.
 */
#ifndef INKAN_TESTS_MATRIX_H
#define INKAN_TESTS_MATRIX_H

#include <openssl/x509.h>
#include <sys/types.h>

#include "hsm/protocol/provision.h"
#include "hsm/protocol/worker.h"
#include "tests/unit/identity.h"

#define MATRIX_LABEL "inkan"
#define MATRIX_SO_PIN "SO-12345"
#define MATRIX_PIN "PIN-1234"
#define MATRIX_VARIABLES 6

/* A token under test. Texts and arrays live as long as the program. */
struct matrix_token {
	const char *column; /* its heading in the table */
	const char *module;
	const char *so_pin; /* of `hsm initialize` */
	char *environment[MATRIX_VARIABLES + 1], *writable[MATRIX_VARIABLES + 1]; /* what the operator sets; NULL ends them */
	void (*initialize_outside)(void); /* what to do where `hsm initialize` cannot; NULL: it can */
	void (*lose)(void); /* the token is away until restore; NULL: it cannot be lost */
	void (*restore)(void);
	void (*peculiarity)(const struct matrix_token *token); /* a test of this token alone; NULL: none */
};

int matrix_run(struct matrix_token *token); /* main's exit status */

/* One cell of the token's column: the row's heading and what was found. free()s `got`. */
void matrix_cell(const char *row, char *got);

void matrix_must(bool good, const char *what); /* ends the program */
const char *matrix_module(const char *pattern); /* the one file that the shell pattern names: architectures differ */
void matrix_command(char *command); /* must succeed; free()s it */

/* A daemon in the foreground, its output thrown away; ended, with SIGTERM and then by force, at the end of the program. */
pid_t matrix_daemon_start(const char *const *arguments);
void matrix_daemon_stop(pid_t daemon);
void matrix_await(bool (*ready)(void), const char *what);

/* ---- what the rows do ---- */

/* A key on the token with its certificate; `type` "" where there is none. */
struct matrix_key {
	const char *type; /* of test_key() */
	uint8_t id[PROVISION_KEY_ID_BYTES];
	X509 *certificate;
	struct buf leaf, issuer; /* DER */
};

void matrix_settings(const struct matrix_token *token, struct hsm_settings *settings);

/* Initialisation, import, seal, keys born on the token; what is to sign: RSA-2048 and P-256. */
void matrix_provision(const struct matrix_token *token, struct matrix_key *rsa, struct matrix_key *ec);
void matrix_delete(const struct matrix_token *token, const struct matrix_key *key);

/* Signatures, by each back end; loss and recovery. */
void matrix_sign(const struct matrix_token *token, const struct matrix_key *rsa, const struct matrix_key *ec);

#endif
