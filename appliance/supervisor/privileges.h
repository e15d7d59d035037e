/* What inkand itself keeps of root's rights, and its own confinement. Called before the first child is started. */
#ifndef INKAN_SUPERVISOR_PRIVILEGES_H
#define INKAN_SUPERVISOR_PRIVILEGES_H

#include "appliance/base/err.h"

/* Open files and locked memory for the programs that inherit these limits: as much as the kernel allows. */
void privileges_raise_limits(void);

/* As root: only the capabilities that changing users, low ports and the state directory need. No-op for others. */
bool privileges_keep_needed(struct err *err) MUST_USE;

/*
 * no-new-privs, the system call filter, and no program but those in `programs` may be executed. Writing is left open:
 * the children inherit all this, and where a vendor's module writes is a setting; each child confines itself further.
 */
bool privileges_confine(const char *programs, struct err *err) MUST_USE;

#endif
