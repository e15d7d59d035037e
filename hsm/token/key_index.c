#include "hsm/token/key_index.h"

#include <stdlib.h>
#include <string.h>

#define SINGLE_SEARCHES 8 /* before the index of all keys is made, or made again */
#define INDEX_BATCH 64 /* handles of one C_FindObjects */
#define INDEXED_ID_BYTES 64 /* keys with a longer CKA_ID are searched for singly */

struct indexed {
	CK_OBJECT_HANDLE handle;
	size_t id_len;
	uint8_t id[INDEXED_ID_BYTES];
};

static CK_RV search(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, struct template *template, CK_OBJECT_HANDLE *found)
{
	CK_ULONG count = 0;
	CK_RV rv = p11->C_FindObjectsInit(session, template->items, template->count);

	if (rv != CKR_OK)
		return rv;
	rv = p11->C_FindObjects(session, found, 1, &count);
	p11->C_FindObjectsFinal(session);
	return rv != CKR_OK ? rv : count == 0 ? CKR_NO_SUCH_KEY : CKR_OK;
}

CK_RV key_search(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, struct bytes key_id,
		 CK_OBJECT_HANDLE *key)
{
	struct template template = {0};

	template_number(&template, CKA_CLASS, class);
	template_bytes(&template, CKA_ID, key_id);
	return search(p11, session, &template, key);
}

bool key_any(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session)
{
	struct template template = {0};
	CK_OBJECT_HANDLE any;

	template_number(&template, CKA_CLASS, CKO_PRIVATE_KEY);
	return search(p11, session, &template, &any) == CKR_OK;
}

static void index_key(struct key_index *index, CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle)
{
	struct indexed row = {.handle = handle};
	CK_ATTRIBUTE id = {CKA_ID, row.id, sizeof row.id};

	if (p11->C_GetAttributeValue(session, handle, &id, 1) != CKR_OK || id.ulValueLen == 0 || id.ulValueLen > sizeof row.id)
		return;
	row.id_len = id.ulValueLen;
	index->rows[index->count++] = row;
}

static CK_RV collect_keys(CK_OBJECT_CLASS class, CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE **handles,
			  size_t *count)
{
	struct template template = {0};
	CK_ULONG got;
	CK_RV rv;

	template_number(&template, CKA_CLASS, class);
	rv = p11->C_FindObjectsInit(session, template.items, template.count);
	if (rv != CKR_OK)
		return rv;
	do {
		*handles = mem_resize(*handles, *count + INDEX_BATCH, sizeof **handles);
		rv = p11->C_FindObjects(session, *handles + *count, INDEX_BATCH, &got);
		*count += rv == CKR_OK ? got : 0;
	} while (rv == CKR_OK && got > 0);
	p11->C_FindObjectsFinal(session);
	return rv;
}

static int compare_ids(const void *a, const void *b)
{
	const struct indexed *x = a, *y = b;

	if (x->id_len != y->id_len)
		return x->id_len < y->id_len ? -1 : 1;
	return memcmp(x->id, y->id, x->id_len);
}

static CK_RV make_index(struct key_index *index, CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session)
{
	CK_OBJECT_HANDLE *handles = NULL;
	size_t count = 0;
	CK_RV rv = collect_keys(index->class, p11, session, &handles, &count);

	if (rv == CKR_OK) {
		index->rows = mem_resize(index->rows, count + 1, sizeof *index->rows);
		index->count = 0;
		for (size_t i = 0; i < count; i++)
			index_key(index, p11, session, handles[i]);
		qsort(index->rows, index->count, sizeof *index->rows, compare_ids);
	}
	free(handles);
	return rv;
}

static bool look_up(const struct key_index *index, struct bytes key_id, CK_OBJECT_HANDLE *handle)
{
	struct indexed wanted = {.id_len = key_id.len};
	const struct indexed *found;

	if (index->count == 0 || key_id.len > sizeof wanted.id)
		return false;
	memcpy(wanted.id, key_id.data, key_id.len);
	found = bsearch(&wanted, index->rows, index->count, sizeof *index->rows, compare_ids);
	if (found != NULL)
		*handle = found->handle;
	return found != NULL;
}

CK_RV key_index_find(struct key_index *index, CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, struct bytes key_id,
		     CK_OBJECT_HANDLE *key)
{
	CK_RV rv;

	if (look_up(index, key_id, key))
		return CKR_OK;
	if (index->searches++ < SINGLE_SEARCHES)
		return key_search(p11, session, index->class, key_id, key);
	index->searches = 0;
	rv = make_index(index, p11, session);
	if (rv != CKR_OK || look_up(index, key_id, key))
		return rv;
	return key_search(p11, session, index->class, key_id, key);
}

void key_index_clear(struct key_index *index)
{
	free(index->rows);
	*index = (struct key_index){.class = index->class};
}
