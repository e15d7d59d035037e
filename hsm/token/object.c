#include "hsm/token/object.h"

#include <string.h>

#include "hsm/token/cryptoki.h"

#define FIND_AT_ONCE 64

static CK_ATTRIBUTE *next(struct template *template, CK_ATTRIBUTE_TYPE type)
{
	CK_ATTRIBUTE *item = &template->items[template->count];

	item->type = type;
	return item;
}

void template_flag(struct template *template, CK_ATTRIBUTE_TYPE type, bool value)
{
	CK_ATTRIBUTE *item = next(template, type);

	template->flags[template->count] = value ? CK_TRUE : CK_FALSE;
	item->pValue = &template->flags[template->count++];
	item->ulValueLen = sizeof(CK_BBOOL);
}

void template_number(struct template *template, CK_ATTRIBUTE_TYPE type, CK_ULONG value)
{
	CK_ATTRIBUTE *item = next(template, type);

	template->numbers[template->count] = value;
	item->pValue = &template->numbers[template->count++];
	item->ulValueLen = sizeof(CK_ULONG);
}

void template_bytes(struct template *template, CK_ATTRIBUTE_TYPE type, struct bytes value)
{
	CK_ATTRIBUTE *item = next(template, type);

	item->pValue = (void *)value.data;
	item->ulValueLen = value.len;
	template->count++;
}

void template_text(struct template *template, CK_ATTRIBUTE_TYPE type, const char *value)
{
	template_bytes(template, type, bytes_text(value));
}

bool object_find(const struct session *session, struct template *template, CK_OBJECT_HANDLE *found, size_t most, size_t *count,
		 struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	CK_ULONG got = 0;
	size_t total = 0;
	CK_RV rv = p11->C_FindObjectsInit(session->handle, template->items, template->count);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_FindObjectsInit");
	do {
		rv = p11->C_FindObjects(session->handle, found + total, most - total, &got);
		total += rv == CKR_OK ? got : 0;
	} while (rv == CKR_OK && got > 0 && total < most);
	p11->C_FindObjectsFinal(session->handle);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_FindObjects");
	*count = total;
	return true;
}

static bool get_value(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG len,
		      struct err *err)
{
	CK_ATTRIBUTE item = {type, value, len};
	CK_RV rv = session_functions(session)->C_GetAttributeValue(session->handle, object, &item, 1);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_GetAttributeValue");
	return item.ulValueLen == len || err_set(err, ERR_INVALID, "the token gave an attribute of %lu octets", item.ulValueLen);
}

bool object_flag(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, bool *value, struct err *err)
{
	CK_BBOOL flag = CK_FALSE;

	if (!get_value(session, object, type, &flag, sizeof flag, err))
		return false;
	*value = flag != CK_FALSE;
	return true;
}

bool object_number(const struct session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_ULONG *value,
		   struct err *err)
{
	CK_ULONG number = 0;

	if (!get_value(session, object, type, &number, sizeof number, err))
		return false;
	*value = number;
	return true;
}

bool key_id_is_audit(struct bytes key_id)
{
	return bytes_equal_text(key_id, AUDIT_KEY_ID);
}

bool session_random(const struct session *session, uint8_t *out, size_t len, struct err *err)
{
	CK_RV rv = session_functions(session)->C_GenerateRandom(session->handle, out, len);

	return rv == CKR_OK || cryptoki_fail(err, rv, "C_GenerateRandom");
}

bool object_find_private_key(const struct session *session, struct bytes key_id, unsigned long *key, struct err *err)
{
	struct template template = {0};
	CK_OBJECT_HANDLE found;
	size_t count = 0;

	template_number(&template, CKA_CLASS, CKO_PRIVATE_KEY);
	template_bytes(&template, CKA_ID, key_id);
	if (!object_find(session, &template, &found, 1, &count, err))
		return false;
	if (count == 0)
		return err_set(err, ERR_NOT_FOUND, "the private key is not on the token");
	*key = found;
	return true;
}

bool objects_destroy(const struct session *session, struct bytes key_id, uint32_t *destroyed, struct err *err)
{
	CK_OBJECT_HANDLE found[FIND_AT_ONCE];
	uint32_t total = 0;
	size_t count = 0;

	if (key_id.len == 0)
		return err_set(err, ERR_INVALID, "no key id was given");
	do {
		struct template template = {0};

		template_bytes(&template, CKA_ID, key_id);
		if (!object_find(session, &template, found, FIND_AT_ONCE, &count, err))
			return false;
		for (size_t i = 0; i < count; i++, total++) {
			CK_RV rv = session_functions(session)->C_DestroyObject(session->handle, found[i]);

			if (rv != CKR_OK)
				return cryptoki_fail(err, rv, "C_DestroyObject");
		}
	} while (count == FIND_AT_ONCE);
	*destroyed = total;
	return true;
}

bool objects_count_private_keys(const struct session *session, uint32_t *count, struct err *err)
{
	CK_FUNCTION_LIST *p11 = session_functions(session);
	CK_OBJECT_HANDLE found[FIND_AT_ONCE];
	struct template template = {0};
	CK_ULONG got = 0;
	uint32_t total = 0;
	unsigned long audit;
	CK_RV rv;

	template_number(&template, CKA_CLASS, CKO_PRIVATE_KEY);
	rv = p11->C_FindObjectsInit(session->handle, template.items, template.count);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_FindObjectsInit");
	do {
		rv = p11->C_FindObjects(session->handle, found, FIND_AT_ONCE, &got);
		total += rv == CKR_OK ? (uint32_t)got : 0;
	} while (rv == CKR_OK && got > 0);
	p11->C_FindObjectsFinal(session->handle);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_FindObjects");
	*count = total - (total > 0 && object_find_private_key(session, bytes_text(AUDIT_KEY_ID), &audit, NULL));
	return true;
}
