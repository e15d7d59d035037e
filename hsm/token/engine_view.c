#include "hsm/token/engine_view.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hsm/token/key_index.h"
#include "hsm/view/view.h"

#define STOCK_MAX 64
#define PATH_BYTES 4096

struct engine_view {
	char path[PATH_BYTES];
	void *library, *own;
	CK_FUNCTION_LIST *real;
	CK_FUNCTION_LIST list;
	struct key_index private_keys, public_keys;
	struct bytes wanted;
	/* The search that is open: */
	bool searching, found;
	CK_OBJECT_HANDLE handle;
	pthread_mutex_t lock; /* guards the stock */
	CK_FLAGS flags; /* of libp11's sessions, and so of the stock */
	CK_SESSION_HANDLE stock[STOCK_MAX];
	unsigned stocked;
};

static struct engine_view view;

static struct key_index *index_of(const CK_ATTRIBUTE *template, CK_ULONG count)
{
	for (CK_ULONG i = 0; i < count; i++) {
		CK_OBJECT_CLASS class;

		if (template[i].type != CKA_CLASS || template[i].ulValueLen != sizeof class)
			continue;
		memcpy(&class, template[i].pValue, sizeof class);
		return class == CKO_PRIVATE_KEY ? &view.private_keys : class == CKO_PUBLIC_KEY ? &view.public_keys : NULL;
	}
	return NULL;
}

static CK_RV view_find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	struct key_index *index = index_of(template, count);
	CK_RV rv = CKR_NO_SUCH_KEY;

	if (index == NULL)
		return view.real->C_FindObjectsInit(session, template, count);
	if (view.wanted.len > 0)
		rv = key_index_find(index, view.real, session, view.wanted, &view.handle);
	view.found = rv == CKR_OK;
	view.searching = rv == CKR_OK || rv == CKR_NO_SUCH_KEY;
	return view.searching ? CKR_OK : rv;
}

static CK_RV view_find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG most, CK_ULONG *count)
{
	if (!view.searching)
		return view.real->C_FindObjects(session, objects, most, count);
	*count = view.found && most > 0 ? 1 : 0;
	if (*count > 0)
		objects[0] = view.handle;
	view.found = false;
	return CKR_OK;
}

static CK_RV view_find_final(CK_SESSION_HANDLE session)
{
	if (!view.searching)
		return view.real->C_FindObjectsFinal(session);
	view.searching = false;
	return CKR_OK;
}

static CK_RV view_open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	bool found;

	pthread_mutex_lock(&view.lock);
	found = view.stocked > 0 && view.flags == flags;
	if (found)
		*session = view.stock[--view.stocked];
	else
		view.flags = flags;
	pthread_mutex_unlock(&view.lock);
	return found ? CKR_OK : view.real->C_OpenSession(slot, flags, application, notify, session);
}

static bool get_functions(void *library, CK_FUNCTION_LIST **functions)
{
	CK_C_GetFunctionList get;

	*(void **)&get = dlsym(library, "C_GetFunctionList");
	return get != NULL && get(functions) == CKR_OK && *functions != NULL;
}

/* Beside the program that runs: the environment has no say in what the holder of the PIN loads. */
static bool find_own(struct err *err)
{
	ssize_t len = readlink("/proc/self/exe", view.path, sizeof view.path - sizeof INKAN_VIEW_FILE);
	char *slash;

	if (len <= 0)
		return err_set(err, ERR_INTERNAL, "/proc/self/exe cannot be read");
	view.path[len] = '\0';
	slash = strrchr(view.path, '/');
	memcpy(slash + 1, INKAN_VIEW_FILE, sizeof INKAN_VIEW_FILE);
	view.own = dlopen(view.path, RTLD_NOW | RTLD_LOCAL);
	return view.own != NULL || err_set(err, ERR_NOT_FOUND, "the engine back end lacks its part: %s", dlerror());
}

static bool install(struct err *err)
{
	void (*install_list)(CK_FUNCTION_LIST *);

	view.list = *view.real;
	view.list.C_FindObjectsInit = view_find_init;
	view.list.C_FindObjects = view_find;
	view.list.C_FindObjectsFinal = view_find_final;
	view.list.C_OpenSession = view_open_session;
	*(void **)&install_list = dlsym(view.own, INKAN_VIEW_INSTALL);
	if (install_list == NULL)
		return err_set(err, ERR_INVALID, "%s is not ours", view.path);
	install_list(&view.list);
	return true;
}

struct engine_view *engine_view_open(const char *module, struct err *err)
{
	view = (struct engine_view){.private_keys.class = CKO_PRIVATE_KEY, .public_keys.class = CKO_PUBLIC_KEY};
	pthread_mutex_init(&view.lock, NULL);
	view.library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
	if (view.library == NULL)
		err_set(err, ERR_INVALID, "the PKCS#11 module does not load: %s", dlerror());
	else if (!get_functions(view.library, &view.real))
		err_set(err, ERR_INVALID, "%s is not a PKCS#11 module", module);
	else if (find_own(err) && install(err))
		return &view;
	engine_view_close(&view);
	return NULL;
}

void engine_view_close(struct engine_view *open)
{
	if (open == NULL)
		return;
	key_index_clear(&open->private_keys);
	key_index_clear(&open->public_keys);
	if (open->own != NULL)
		dlclose(open->own);
	if (open->library != NULL)
		dlclose(open->library);
	pthread_mutex_destroy(&open->lock);
}

const char *engine_view_path(const struct engine_view *open)
{
	return open->path;
}

void engine_view_want(struct engine_view *open, struct bytes key_id)
{
	open->wanted = key_id;
}

void engine_view_stock(struct engine_view *open, unsigned long slot, unsigned sessions)
{
	CK_SESSION_HANDLE session;

	pthread_mutex_lock(&open->lock);
	while (open->stocked < sessions && open->stocked < STOCK_MAX &&
	       open->real->C_OpenSession(slot, open->flags, NULL, NULL, &session) == CKR_OK)
		open->stock[open->stocked++] = session;
	pthread_mutex_unlock(&open->lock);
}

unsigned long engine_view_ask(const struct engine_view *open, unsigned long slot)
{
	CK_TOKEN_INFO info;

	return open->real->C_GetTokenInfo(slot, &info);
}
