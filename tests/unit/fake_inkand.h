/*
 * An inkand for the console's tests: a thread that answers STATE/run/control.sock and plays the HSM program for its
 * task connections. It has one token in memory (the number of keys) and answers as it was told.
 */
#ifndef INKAN_TESTS_FAKE_INKAND_H
#define INKAN_TESTS_FAKE_INKAND_H

#include "appliance/base/bytes.h"

#define FAKE_APPLIES_MAX 16

struct fake_inkand;

struct fake_answers {
	const char *refuse_apply; /* NULL: a revision is applied once it could be read */
	const char *refuse_login;
	const char *refuse_import; /* NULL: the password "right" is accepted */
	void (*at_import)(const char *state); /* called before the answer: what happens meanwhile; may be NULL */
};

struct fake_apply {
	uint64_t revision;
	bool check_only;
	size_t settings, certificates; /* of the snapshot as a reader of its own saw it */
};

struct fake_seen {
	struct fake_apply applies[FAKE_APPLIES_MAX];
	size_t n_applies;
	char pin[64]; /* of the last login, "" after a logout */
	unsigned login_flags; /* CONTROL_LOGIN_* */
	char label[64], so_pin[64], user_pin[64];
	unsigned imported, deleted, keys; /* keys: on the token now */
};

struct fake_inkand *fake_inkand_start(const char *state);
void fake_inkand_answer(struct fake_inkand *fake, struct fake_answers answers);
struct fake_seen fake_inkand_seen(struct fake_inkand *fake);
void fake_inkand_stop(struct fake_inkand *fake);

#endif
