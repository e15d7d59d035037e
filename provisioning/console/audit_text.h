/* What the audit row of the line that runs says beyond the line itself. */
#ifndef INKAN_CONSOLE_AUDIT_TEXT_H
#define INKAN_CONSOLE_AUDIT_TEXT_H

#include "provisioning/console/console.h"

/* A commit: the number of its revision, and on further lines each change of settings and of what addresses mean. */
void audit_text_commit(struct console *console, const struct revision *from, const struct revision *to, uint64_t number);

#endif
