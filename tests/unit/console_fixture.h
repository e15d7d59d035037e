/* The console as its tests use it: a state directory, an administrator, a fake inkand. Lines are run as an operator types them.
 */
#ifndef INKAN_TESTS_CONSOLE_FIXTURE_H
#define INKAN_TESTS_CONSOLE_FIXTURE_H

#include "provisioning/console/console.h"
#include "tests/unit/fake_inkand.h"
#include "tests/unit/test.h"

#define ADMIN_PASSWORD "admin password"
#define ADDRESS "a@example.jp"

struct fixture {
	struct console console;
	struct fake_inkand *inkand; /* NULL: not running */
	char *out, *messages; /* of the last line */
	size_t out_size, messages_size;
	char *pkcs12;
};

void fixture_open(struct fixture *fixture, bool with_inkand);
void fixture_close(struct fixture *fixture);

/* What the next prompts read. */
void set_input(const char *text);

/* Runs a line; out and messages are those of this line. */
bool run(struct fixture *fixture, const char *text, struct fault *fault);
bool done(struct fixture *fixture, const char *text); /* it must not fail */
void refused(struct fixture *fixture, const char *text, const char *why); /* it must */

/* `what` NULL: whatever it was */
void last_audit(struct fixture *fixture, const char *what, const char *result);
uint64_t running(struct fixture *fixture);

#endif
