/*
 * Private keys by CKA_ID. After a few single searches every key's id is read in one go: SoftHSM takes 50 ms for each
 * search among a thousand keys, and 1,000 searches are a minute of processor time.
 */
#include <stdlib.h>
#include <string.h>

#include "hsm/token/cryptoki_pool.h"

#define SINGLE_SEARCHES 8 /* before the index of all keys is made */
#define INDEX_BATCH 64 /* handles of one C_FindObjects */

CK_RV pool_find_key(struct session_pool *pool, CK_SESSION_HANDLE session, struct bytes key_id, CK_OBJECT_HANDLE *key)
{
	CK_FUNCTION_LIST *p11 = module_functions(pool->module);
	struct template template = {0};
	CK_ULONG count = 0;
	CK_RV rv;

	template_number(&template, CKA_CLASS, CKO_PRIVATE_KEY);
	template_bytes(&template, CKA_ID, key_id);
	rv = p11->C_FindObjectsInit(session, template.items, template.count);
	if (rv != CKR_OK)
		return rv;
	rv = p11->C_FindObjects(session, key, 1, &count);
	p11->C_FindObjectsFinal(session);
	return rv != CKR_OK ? rv : count == 0 ? CKR_NO_SUCH_KEY : CKR_OK;
}

static void index_key(struct session_pool *pool, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE handle)
{
	struct indexed row = {.handle = handle};
	CK_ATTRIBUTE id = {CKA_ID, row.id, sizeof row.id};

	if (module_functions(pool->module)->C_GetAttributeValue(session, handle, &id, 1) != CKR_OK || id.ulValueLen == 0 ||
	    id.ulValueLen > sizeof row.id)
		return;
	row.id_len = id.ulValueLen;
	pool->index = mem_resize(pool->index, pool->n_index + 1, sizeof *pool->index);
	pool->index[pool->n_index++] = row;
}

static CK_RV collect_keys(struct session_pool *pool, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE **handles, size_t *count)
{
	CK_FUNCTION_LIST *p11 = module_functions(pool->module);
	struct template template = {0};
	CK_ULONG got;
	CK_RV rv;

	template_number(&template, CKA_CLASS, CKO_PRIVATE_KEY);
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

static CK_RV make_index(struct session_pool *pool, CK_SESSION_HANDLE session)
{
	CK_OBJECT_HANDLE *handles = NULL;
	size_t count = 0;
	CK_RV rv = collect_keys(pool, session, &handles, &count);

	for (size_t i = 0; rv == CKR_OK && i < count; i++)
		index_key(pool, session, handles[i]);
	free(handles);
	if (pool->n_index > 0)
		qsort(pool->index, pool->n_index, sizeof *pool->index, compare_ids);
	return rv;
}

static bool find_indexed(const struct session_pool *pool, struct bytes key_id, CK_OBJECT_HANDLE *handle)
{
	struct indexed wanted = {.id_len = key_id.len};
	const struct indexed *found;

	if (pool->n_index == 0 || key_id.len > sizeof wanted.id)
		return false;
	memcpy(wanted.id, key_id.data, key_id.len);
	found = bsearch(&wanted, pool->index, pool->n_index, sizeof *pool->index, compare_ids);
	if (found != NULL)
		*handle = found->handle;
	return found != NULL;
}

CK_RV pool_search(struct session_pool *pool, CK_SESSION_HANDLE session, struct bytes key_id, CK_OBJECT_HANDLE *handle)
{
	CK_RV rv = CKR_OK;

	if (pool->searches++ == SINGLE_SEARCHES)
		rv = make_index(pool, session);
	if (rv == CKR_OK && find_indexed(pool, key_id, handle))
		return CKR_OK;
	return rv == CKR_OK ? pool_find_key(pool, session, key_id, handle) : rv;
}
