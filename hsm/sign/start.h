/* From the first frame to an open token: what a worker does once, before its first thread. */
#ifndef INKAN_HSM_SIGN_START_H
#define INKAN_HSM_SIGN_START_H

#include "hsm/protocol/worker.h"
#include "hsm/token/token.h"

#define START_WAIT_MS 60000 /* for START, after exec */
#define REPORT_WAIT_MS 2000 /* for inkand to take READY or FAILED */

/*
 * Reads START, hardens the process, sets the module's environment and confines the process. The PIN is in *pin (NULL
 * when there is none) and nowhere else. The caller clears *start and frees *pin.
 */
bool start_receive(struct worker_start *start, struct secret **pin, struct err *err) MUST_USE;

void start_warn(void); /* logs what is not as it should be with this process, and will stay so */

/* The back end of the settings; cryptoki, with a warning, where this build has no engine: the mail must go on. */
const char *start_backend(const struct hsm_settings *settings);

/* The threads that the settings ask for, as far as the back end can. */
unsigned start_threads(const struct hsm_settings *settings);

/* Tells inkand and logs why, then _exit. */
_Noreturn void worker_fail(enum worker_exit code, const char *text);

enum worker_exit worker_exit_of(enum token_fault fault);

#endif
