/*
 * The operator's terminal: its size, and what ends a wait for a key: Ctrl-C, a hang-up. A process has one, used by
 * one thread. Ctrl-C ends the command that runs (blocking calls of frame.h too), a hang-up or SIGTERM also the login.
 */
#ifndef INKAN_CONSOLE_TERMINAL_H
#define INKAN_CONSOLE_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

enum terminal_event { TERMINAL_INPUT, TERMINAL_INTERRUPTED, TERMINAL_HUNG_UP };

struct terminal_signals {
	struct sigaction interrupt, hang_up, terminate;
	bool watched;
};

/* Signals are noted instead of ending the process, up to the matching _unwatch. May be nested. */
void terminal_watch(struct terminal_signals *before);
void terminal_unwatch(const struct terminal_signals *before);

/* Waits for something to read on standard input. Without _watch, and where it is no terminal: TERMINAL_INPUT at once. */
enum terminal_event terminal_wait(void);

/* Calls of frame.h are not ended meanwhile, whatever came before (uninterrupted.h). */
void terminal_shield(bool shielded);

/* Characters of the terminal, by LC_ALL, LC_CTYPE and LANG; a line that sets none of them may send UTF-8 and is sent ASCII. */
void terminal_set_locale(void);
bool terminal_shows_utf8(void);

/* Waits at most so long; false when the time has passed. Else *event, as terminal_wait. */
bool terminal_wait_for(int timeout_ms, enum terminal_event *event);

bool terminal_interrupted(void); /* Ctrl-C or worse came since the last _begin_line */
void terminal_begin_line(void);
bool terminal_is_over(void); /* a hang-up: the login is to end */

/*
 * A wait for a key that takes longer ends the login like a hang-up. The kernel notes when a terminal was read last, to 8 s;
 * 0: any time. For waits that are not terminal_wait's: between _begin and _end.
 */
void terminal_set_idle(int64_t ms);
void terminal_idle_begin(void);
void terminal_idle_end(void);
bool terminal_was_idle(void); /* that is what ended it */

/* Of standard output; 24 rows of 80 columns where the terminal does not say, as a serial line does not. */
struct terminal_size {
	unsigned rows, columns;
};
struct terminal_size terminal_size(void);

#endif
