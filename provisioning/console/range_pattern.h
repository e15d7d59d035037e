/* A regular expression for the decimal numbers of a range, since a JSON schema cannot bound the number in a string. Pure. */
#ifndef INKAN_CONSOLE_RANGE_PATTERN_H
#define INKAN_CONSOLE_RANGE_PATTERN_H

#include "appliance/base/bytes.h"

/* Appends alternatives without brackets around them ("[0-9]|1[0-9]|2[0-5]"); least and most are not negative. */
void range_pattern(struct buf *out, uint64_t least, uint64_t most);

#endif
