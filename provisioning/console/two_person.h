/*
 * The two-person rule. A command that the running configuration makes wait does everything but its last step (it checks, asks,
 * brings a key to the token), then calls two_person_ask with what the last step needs. `approve N` runs the same command
 * again with console->approval set, as the account that asked; the command then does the last step alone.
 *
 * So that nobody can be the second person himself: while any rule is on, whatever makes an administrator or gives one a new
 * password waits too, as does every commit that changes the rule.
 */
#ifndef INKAN_CONSOLE_TWO_PERSON_H
#define INKAN_CONSOLE_TWO_PERSON_H

#include "provisioning/console/console.h"
#include "provisioning/store/approvals.h"

#define TWO_PERSON_SETTING "system two-person"

/* False too while an approved command runs. `anyway`: of those that wait under any rule. */
bool two_person_needed(struct console *console, enum approval_kind kind, bool anyway, bool *needed, struct err *err) MUST_USE;

/*
 * The command waits from now on. False with ERR_UNAVAILABLE where nobody sits at a terminal: a script must not go on as if it
 * were done.
 */
bool two_person_ask(struct console *console, enum approval_kind kind, struct bytes payload, struct bytes key_id,
		    struct err *err) MUST_USE;

/* Does a configuration ask for two persons at all? And do two ask for the same? */
bool two_person_is_on(const struct settings *settings);
bool two_person_same(const struct settings *a, const struct settings *b);

/* ERR_DENIED: with the rule there must be two administrators, not counting `without` (NULL: nobody). */
bool two_person_has_two(struct console *console, const char *without, struct err *err) MUST_USE;

/* What has waited too long is dropped, with a row; tells an administrator at a terminal what waits. */
void two_person_expire(struct console *console);
void two_person_tell(struct console *console);

/* session.c: runs the command of an approval, whose audit text is that of the line which approves. */
bool console_run_approved(struct console *console, const struct approval *approval, struct err *err) MUST_USE;

#endif
