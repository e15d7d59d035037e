/*
 * Steps that belong together although they span processes (a revision is applied and accepted, a key is imported and
 * registered): Ctrl-C, a hang-up or a termination waits until the last one is done.
 */
#ifndef INKAN_CONSOLE_UNINTERRUPTED_H
#define INKAN_CONSOLE_UNINTERRUPTED_H

#include <signal.h>

void uninterrupted_begin(sigset_t *before);
void uninterrupted_end(const sigset_t *before); /* what came meanwhile is delivered now */

#endif
