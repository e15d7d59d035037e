/*
 * How a revision comes to run: under one lock, proposed to inkand, applied by it, then accepted, or withdrawn. And how one that
 * nobody confirmed goes again (`commit confirmed`).
 */
#ifndef INKAN_CONSOLE_COMMITTING_H
#define INKAN_CONSOLE_COMMITTING_H

#include "provisioning/console/console.h"

#define COMMIT_AUTOMATIC "(automatic)" /* who, of what nobody typed: no account can have this name */
#define COMMIT_LOCK_WAIT_MS 130000 /* of who cannot come again later: longer than a commit takes */

/* One commit at a time on a machine; close(*fd) ends it, as does the end of the process. ERR_UNAVAILABLE: another's went on. */
bool commit_lock(const char *state, int wait_ms, int *fd, struct err *err) MUST_USE;

struct committed {
	uint64_t number; /* 0: checked only */
	bool inkand; /* false: it does not run; it takes the revision when it starts */
};

/*
 * The lock is held. What inkand or the relay refuses is withdrawn, and what ran before runs. `check_only` proposes, asks and
 * withdraws.
 */
bool revision_commit(struct console *console, const struct revision *next, bool check_only, struct committed *committed,
		     struct err *err) MUST_USE;

/* A `commit confirmed` whose time is over. */
bool revision_is_late(const struct revision *running, int64_t now_ms);

/* "revision 12 will be rolled back to 11 in 5 minutes unless you commit", at most 80 columns; free() it. NULL: it does not wait.
 */
char *revision_waits_text(const struct revision *running, int64_t now_ms);

/*
 * The lock is held. When the running revision is late, a copy of the one before it is committed, with an audit row; *back is
 * then its number, else 0.
 */
bool revision_take_back(struct console *console, uint64_t *back, struct err *err) MUST_USE;

/* The same as a program of its own, which inkand starts when the time is over (`inkan -R`): takes the lock. */
bool commit_take_back(struct console *console, struct err *err) MUST_USE;

#endif
