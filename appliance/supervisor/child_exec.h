/* The part of child.h between fork and exec. Blocks for as long as an exec takes. */
#ifndef INKAN_SUPERVISOR_CHILD_EXEC_H
#define INKAN_SUPERVISOR_CHILD_EXEC_H

#include "appliance/supervisor/child.h"

/* Starts the program with `control` as its CHILD_CONTROL_FD. -1 when it cannot be executed: *err says which step failed. */
pid_t child_exec(const struct child_program *program, int control, struct err *err);

#endif
