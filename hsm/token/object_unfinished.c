#include <stdlib.h>
#include <time.h>

#include "hsm/token/cryptoki.h"
#include "hsm/token/object.h"

#define KEYS_MAX 16384 /* that are looked at */
#define UNFINISHED_MAX 64 /* that are removed at a time */

struct unfinished {
	CK_OBJECT_HANDLE items[UNFINISHED_MAX];
	size_t count;
};

static bool is_empty(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
	CK_ATTRIBUTE item = {type, NULL, 0};
	CK_RV rv = session_functions(session)->C_GetAttributeValue(session->handle, object, &item, 1);

	return (rv == CKR_OK || rv == CKR_ATTRIBUTE_TYPE_INVALID) &&
	       (item.ulValueLen == 0 || item.ulValueLen == CK_UNAVAILABLE_INFORMATION);
}

static bool is_unfinished(const struct session *session, CK_OBJECT_HANDLE object)
{
	static const CK_ATTRIBUTE_TYPE types[] = {CKA_ID, CKA_LABEL, CKA_MODULUS, CKA_EC_PARAMS};

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!is_empty(session, object, types[i]))
			return false;
	return true;
}

static bool find(const struct session *session, CK_OBJECT_CLASS class, struct unfinished *found, struct err *err)
{
	CK_OBJECT_HANDLE *keys = mem_new_array(KEYS_MAX, sizeof *keys);
	struct template template = {0};
	size_t count = 0;
	bool good;

	template_number(&template, CKA_CLASS, class);
	good = object_find(session, &template, keys, KEYS_MAX, &count, err);
	for (size_t i = 0; good && i < count && found->count < UNFINISHED_MAX; i++)
		if (is_unfinished(session, keys[i]))
			found->items[found->count++] = keys[i];
	free(keys);
	return good;
}

static bool destroy(const struct session *session, const struct unfinished *found, uint32_t *destroyed, struct err *err)
{
	for (size_t i = 0; i < found->count; i++) {
		CK_RV rv = CKR_OK;

		if (is_unfinished(session, found->items[i]))
			rv = session_functions(session)->C_DestroyObject(session->handle, found->items[i]);
		if (rv != CKR_OK && rv != CKR_OBJECT_HANDLE_INVALID)
			return cryptoki_fail(err, rv, "C_DestroyObject");
		*destroyed += rv == CKR_OK;
	}
	return true;
}

bool objects_destroy_unfinished(const struct session *session, uint32_t *destroyed, struct err *err)
{
	const struct timespec settle = {OBJECT_SETTLE_MS / 1000, OBJECT_SETTLE_MS % 1000 * 1000000L};
	struct unfinished found = {0};

	*destroyed = 0;
	if (!find(session, CKO_PRIVATE_KEY, &found, err) || !find(session, CKO_PUBLIC_KEY, &found, err))
		return false;
	if (found.count == 0)
		return true;
	nanosleep(&settle, NULL);
	return destroy(session, &found, destroyed, err);
}
