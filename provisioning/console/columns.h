/* How wide text stands on a terminal. Pure. */
#ifndef INKAN_CONSOLE_COLUMNS_H
#define INKAN_CONSOLE_COLUMNS_H

#include "appliance/base/bytes.h"

/*
 * Columns of UTF-8: two for East Asian wide characters, none for combining ones, one for an octet that is no UTF-8. Controls
 * count as one.
 */
size_t text_columns(struct bytes text);

/* How many octets of the text fit that many columns, no character cut. */
size_t text_fit(struct bytes text, size_t columns);

#endif
