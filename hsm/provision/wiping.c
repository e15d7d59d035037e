#include "hsm/provision/wiping.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "appliance/base/bytes.h"

static void *allocate(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return malloc(size);
}

static void release(void *memory, const char *file, int line)
{
	(void)file;
	(void)line;
	if (memory != NULL)
		mem_wipe(memory, malloc_usable_size(memory));
	free(memory);
}

/* realloc() would leave the old octets where they were. */
static void *resize(void *memory, size_t size, const char *file, int line)
{
	size_t held = memory != NULL ? malloc_usable_size(memory) : 0;
	void *moved;

	if (size == 0) {
		release(memory, file, line);
		return NULL;
	}
	moved = malloc(size);
	if (moved == NULL)
		return NULL;
	if (held > 0)
		memcpy(moved, memory, held < size ? held : size);
	release(memory, file, line);
	return moved;
}

void wiping_begin(void)
{
	if (CRYPTO_set_mem_functions(allocate, resize, release) != 1)
		abort();
}
