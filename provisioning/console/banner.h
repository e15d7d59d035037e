/* `set system banner`: what is shown before a login at a terminal. */
#ifndef INKAN_CONSOLE_BANNER_H
#define INKAN_CONSOLE_BANNER_H

#include "appliance/base/bytes.h"

/* The setting as lines: `\n` ends one, `\\` is a backslash; what is no text is left out. Pure. */
void banner_put(struct buf *out, const char *setting);

#endif
