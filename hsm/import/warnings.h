/* Lines for the operator that do not stop an import. */
#ifndef INKAN_HSM_IMPORT_WARNINGS_H
#define INKAN_HSM_IMPORT_WARNINGS_H

#include "appliance/base/bytes.h"

struct warnings {
	char **items; /* as struct import_result has them */
	size_t count;
};

void warnings_add(struct warnings *warnings, const char *format, ...) PRINTF_LIKE(2, 3);
void warnings_clear(struct warnings *warnings);

#endif
