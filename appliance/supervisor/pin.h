/*
 * The PIN of the token, and whether it may be used. A PIN that the token rejected is wiped and never tried again until
 * an operator acts; since that must hold across a crash of inkand too, a rejected PIN file is remembered in the state
 * directory, by its identity and time, not by its content. Loop's thread; nothing here logs.
 */
#ifndef INKAN_SUPERVISOR_PIN_H
#define INKAN_SUPERVISOR_PIN_H

#include "appliance/base/secret.h"

enum pin_state {
	PIN_NONE,
	PIN_TRIED, /* an operator gave it, no worker has logged in with it yet */
	PIN_HELD,
	PIN_REJECTED
};

struct pin {
	enum pin_state state;
	struct secret *secret; /* PIN_TRIED and PIN_HELD; NULL then too: it is entered at the token */
	bool final_try; /* PIN_TRIED: although one more wrong PIN locks the token */
	char error[ERR_TEXT_MAX]; /* why not held, or "" */
	char *file; /* where the secret was read from, or NULL */
	char *rejected_path; /* STATE/run/pin-rejected */
};

void pin_init(struct pin *pin, const char *state_directory);
void pin_clear(struct pin *pin); /* wipes */

bool pin_usable(const struct pin *pin); /* workers may log in with it */
const char *pin_state_name(const struct pin *pin); /* "none", "held", "rejected" */

void pin_try(struct pin *pin, struct secret *secret, bool final_try); /* takes the secret of an operator; NULL: keypad */
void pin_accepted(struct pin *pin);
void pin_reject(struct pin *pin, const char *why);
void pin_forget(struct pin *pin, const char *why); /* wipes; `why` may be "" */

/* Holds the first line of the file. Fails, and changes nothing else, when this very file was rejected before. */
bool pin_read_file(struct pin *pin, const char *path, struct err *err) MUST_USE;

#endif
