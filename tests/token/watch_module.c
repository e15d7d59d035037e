/*
 * Stands before a real PKCS#11 module ($INKAN_WATCH_MODULE) and writes a line to $INKAN_WATCH_LOG at each call that could
 * bring a private key to the token, before the real module sees it: the call, and how many of the secret numbers of
 * $INKAN_WATCH_NEEDLES are readable in this process then. A software token has the key in its own memory once it has
 * unwrapped it; what the caller of the module knew is what is there before.
 *
 * The needles are 16 octets each, every octet XOR 0x55, so that they are not found in themselves; they are looked for in
 * both byte orders.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define NEEDLE_BYTES 16
#define NEEDLES_MAX 8
#define MASK 0x55

static CK_FUNCTION_LIST real, list;
static uint8_t needles[2 * NEEDLES_MAX][NEEDLE_BYTES];
static size_t n_needles;

static void load_needles(void)
{
	const char *path = getenv("INKAN_WATCH_NEEDLES");
	FILE *file = path != NULL ? fopen(path, "rbe") : NULL;
	uint8_t one[NEEDLE_BYTES];

	while (file != NULL && n_needles < 2 * NEEDLES_MAX && fread(one, 1, sizeof one, file) == sizeof one) {
		memcpy(needles[n_needles], one, NEEDLE_BYTES);
		for (size_t i = 0; i < NEEDLE_BYTES; i++)
			needles[n_needles + 1][i] = one[NEEDLE_BYTES - 1 - i];
		n_needles += 2;
	}
	if (file != NULL)
		fclose(file);
}

static bool is_at(const volatile uint8_t *at, const uint8_t *needle)
{
	for (size_t i = 0; i < NEEDLE_BYTES; i++)
		if ((at[i] ^ MASK) != needle[i])
			return false;
	return true;
}

static void search_mapping(const uint8_t *from, const uint8_t *to, bool found[static 2 * NEEDLES_MAX])
{
	for (const uint8_t *at = from; at + NEEDLE_BYTES <= to; at++)
		for (size_t i = 0; i < n_needles; i++)
			found[i] = found[i] || is_at(at, needles[i]);
}

static unsigned search_memory(void)
{
	bool found[2 * NEEDLES_MAX] = {false};
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long from, to;
	char rights[8], line[512];
	unsigned count = 0;

	while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 && rights[0] == 'r' && rights[1] == 'w' &&
		    strstr(line, "[v") == NULL)
			search_mapping((const uint8_t *)from, (const uint8_t *)to, found);
	if (maps != NULL)
		fclose(maps);
	for (size_t i = 0; i < n_needles; i++)
		count += found[i];
	return count;
}

/* Of the program's OpenSSL. */
static size_t secure_heap_used(void)
{
	size_t (*used)(void);

	*(void **)&used = dlsym(RTLD_DEFAULT, "CRYPTO_secure_used");
	return used != NULL ? used() : 0;
}

static void note(const char *call, CK_ULONG class)
{
	const char *path = getenv("INKAN_WATCH_LOG");
	FILE *log = path != NULL ? fopen(path, "ae") : NULL;

	if (log == NULL)
		return;
	fprintf(log, "%s %ld known %u dumpable %d secure %s\n", call, (long)class, search_memory(), prctl(PR_GET_DUMPABLE),
		secure_heap_used() > 0 ? "used" : "empty");
	fclose(log);
}

static CK_ULONG class_of(const CK_ATTRIBUTE *attributes, CK_ULONG count)
{
	CK_ULONG class = CK_UNAVAILABLE_INFORMATION;

	for (CK_ULONG i = 0; i < count; i++)
		if (attributes[i].type == CKA_CLASS && attributes[i].ulValueLen == sizeof class)
			memcpy(&class, attributes[i].pValue, sizeof class);
	return class;
}

static CK_RV create_object(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *object)
{
	note("C_CreateObject", class_of(attributes, count));
	return real.C_CreateObject(session, attributes, count, object);
}

static CK_RV generate_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *attributes, CK_ULONG count,
			  CK_OBJECT_HANDLE *key)
{
	note("C_GenerateKey", class_of(attributes, count));
	return real.C_GenerateKey(session, mechanism, attributes, count, key);
}

static CK_RV unwrap_key(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE with, CK_BYTE *wrapped,
			CK_ULONG wrapped_len, CK_ATTRIBUTE *attributes, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	note("C_UnwrapKey", class_of(attributes, count));
	return real.C_UnwrapKey(session, mechanism, with, wrapped, wrapped_len, attributes, count, key);
}

/* After the task, before the module forgets: what the program has left of the key. */
static CK_RV finalize(void *reserved)
{
	note("C_Finalize", CK_UNAVAILABLE_INFORMATION);
	return real.C_Finalize(reserved);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	const char *path = getenv("INKAN_WATCH_MODULE");
	void *library = path != NULL ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	CK_C_GetFunctionList get;
	CK_FUNCTION_LIST *functions = NULL;

	if (library == NULL)
		return CKR_GENERAL_ERROR;
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&functions) != CKR_OK)
		return CKR_GENERAL_ERROR;
	load_needles();
	real = list = *functions;
	list.C_GetFunctionList = C_GetFunctionList;
	list.C_Finalize = finalize;
	list.C_CreateObject = create_object;
	list.C_GenerateKey = generate_key;
	list.C_UnwrapKey = unwrap_key;
	*out = &list;
	return CKR_OK;
}
