/*
 * The control channel of a child process of role sign or provision: file descriptor CHILD_CONTROL_FD, frames, the
 * other end is inkand. Codecs are pure; decoded structs are released with their _clear.
 *
 * sign:      inkand sends START, then CHANNEL (again whenever the relay restarts) and CERTIFICATES (after a commit).
 *            The worker logs in once, loads its keys, answers READY, or FAILED and exits with the exit code of its class.
 *            CERTIFICATES is answered with READY too, once the new list is in use: the relay gets the revision after that.
 * provision: inkand sends START with the descriptor of the console's task connection (provision.h), the child does that
 *            one task, and exits.
 */
#ifndef INKAN_HSM_PROTOCOL_WORKER_H
#define INKAN_HSM_PROTOCOL_WORKER_H

#include "appliance/base/msg.h"

#define CHILD_CONTROL_FD 3 /* inherited by every child of inkand */

enum worker_frame {
	WORKER_FRAME_START = 1, /* struct worker_start; to role provision with a descriptor */
	WORKER_FRAME_CHANNEL = 2, /* empty, with the descriptor of a sign.h connection; replaces the earlier one */
	WORKER_FRAME_CERTIFICATES = 3, /* list of struct worker_certificate: replaces the list */
	WORKER_FRAME_STOP = 4, /* finish running signatures, then exit 0 */
	WORKER_FRAME_READY = 5, /* struct worker_ready */
	WORKER_FRAME_FAILED = 6, /* struct worker_failed; the worker exits right after */
	WORKER_FRAME_PING = 7, /* u64 number, to a worker that is ready; answered with PONG by its event loop */
	WORKER_FRAME_PONG = 8, /* the same number, u64 signatures since the start */
	WORKER_FRAME_HEALTH = 9, /* struct worker_health: after each canary signature */
	WORKER_FRAME_LOGGED_IN = 10 /* empty, from role provision: its login is past, if it needed one */
};

/* Exit codes of inkan-hsm, so that inkand knows the class even when FAILED was lost. */
enum worker_exit {
	WORKER_EXIT_OK = 0,
	WORKER_EXIT_USAGE = 2,
	WORKER_EXIT_MODULE = 10, /* the module cannot be loaded or initialised: retried with back-off */
	WORKER_EXIT_TOKEN_ABSENT = 11, /* no token of that label: retried with back-off */
	WORKER_EXIT_PIN_REJECTED = 12, /* by the token itself: never tried again until an operator acts */
	WORKER_EXIT_TOKEN_FAULT = 13, /* lost or failing while running: retried with back-off */
	WORKER_EXIT_INTERNAL = 70
};

/* The settings that the HSM program needs (`set hsm …`). */
struct hsm_settings {
	char *module; /* path of the PKCS#11 module */
	char *token; /* token label */
	char *backend; /* "engine" or "cryptoki" */
	uint32_t threads; /* signing threads of one worker, 1..64 (engine: at most 16) */
	char *import_minimum; /* "unwrap", "rewrap" or "create" */
	char **environment; /* "NAME=VALUE", for the module; set before it is loaded */
	size_t n_environment;
	char **writable; /* directories the module may write in (Landlock) */
	size_t n_writable;
	uint32_t canary_ms; /* of quiet, before a signature is made only to see whether the HSM signs; 0: never */
	uint32_t processes; /* workers that share the token's sessions, from 1 */
};

struct worker_certificate {
	uint64_t id;
	struct bytes key_id; /* CKA_ID of the private key */
	struct bytes *chain; /* DER, leaf first, no root */
	size_t n_chain;
	bool tls; /* its key is a TLS server's and signs no mail; else it signs mail and nothing else */
};

struct worker_certificates {
	struct worker_certificate *items;
	size_t count;
	struct buf storage; /* what the byte views point into, when decoded */
};

struct worker_start {
	struct hsm_settings settings;
	struct worker_certificates certificates;
	struct bytes pin; /* empty with has_pin false; a view into the frame: copy to a struct secret at once */
	bool has_pin;
	bool final_try; /* log in although one more wrong PIN locks the token: an operator said so */
};

struct worker_ready {
	char *token; /* label */
	char *model;
	char *serial;
	char *firmware; /* "2.6" */
	uint32_t threads;
	uint32_t keys_loaded;
	uint32_t keys_missing; /* certificates whose key is not on the token */
};

/* What a canary signature has shown. */
struct worker_health {
	bool good;
	uint32_t milliseconds;
	char *text; /* what failed, or "" */
};

struct worker_failed {
	uint32_t exit_code; /* enum worker_exit */
	char *text;
};

void hsm_settings_encode(struct buf *out, const struct hsm_settings *settings);
void hsm_settings_decode(struct msg *msg, struct hsm_settings *settings); /* faults stick in msg */
void hsm_settings_clear(struct hsm_settings *settings);

void worker_certificates_encode(struct buf *out, const struct worker_certificates *certificates);
bool worker_certificates_decode(struct msg *msg, struct worker_certificates *certificates, struct err *err) MUST_USE;
void worker_certificates_clear(struct worker_certificates *certificates);

void worker_start_encode(struct buf *out, const struct worker_start *start);
bool worker_start_decode(struct msg *msg, struct worker_start *start, struct err *err) MUST_USE;
void worker_start_clear(struct worker_start *start);

void worker_ready_encode(struct buf *out, const struct worker_ready *ready);
bool worker_ready_decode(struct msg *msg, struct worker_ready *ready, struct err *err) MUST_USE;
void worker_ready_clear(struct worker_ready *ready);

void worker_health_encode(struct buf *out, const struct worker_health *health);
bool worker_health_decode(struct msg *msg, struct worker_health *health, struct err *err) MUST_USE;
void worker_health_clear(struct worker_health *health);

void worker_failed_encode(struct buf *out, const struct worker_failed *failed);
bool worker_failed_decode(struct msg *msg, struct worker_failed *failed, struct err *err) MUST_USE;
void worker_failed_clear(struct worker_failed *failed);

#endif
