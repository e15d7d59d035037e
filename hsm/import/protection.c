#include "hsm/import/protection.h"

#include "hsm/token/cryptoki.h"

static void read_all(const struct session *session, CK_OBJECT_HANDLE key, struct key_attributes *attributes)
{
	struct key_attributes read = {0};

	for (unsigned i = 0; i < KEY_ATTRIBUTES; i++) {
		bool value = false;

		/* A token without an attribute says nothing. */
		if (!object_flag(session, key, key_attribute_types[i], &value, NULL))
			continue;
		read.known |= UINT32_C(1) << i;
		read.set |= value ? UINT32_C(1) << i : 0;
	}
	(void)!object_flag(session, key, CKA_LOCAL, &read.local, NULL);
	(void)!object_flag(session, key, CKA_ALWAYS_SENSITIVE, &read.always_sensitive, NULL);
	(void)!object_flag(session, key, CKA_NEVER_EXTRACTABLE, &read.never_extractable, NULL);
	*attributes = read;
}

static bool read_protection(const struct session *session, CK_OBJECT_HANDLE key, struct key_attributes *attributes,
			    struct err *err)
{
	read_all(session, key, attributes);
	return object_flag(session, key, CKA_SENSITIVE, &attributes->sensitive, err) &&
	       object_flag(session, key, CKA_EXTRACTABLE, &attributes->extractable, err);
}

/* Some tokens ignore these two in an unwrap template and take them afterwards. */
static bool mend(const struct session *session, CK_OBJECT_HANDLE key, struct err *err)
{
	struct template template = {0};
	CK_RV rv;

	template_flag(&template, CKA_SENSITIVE, true);
	template_flag(&template, CKA_EXTRACTABLE, false);
	rv = session_functions(session)->C_SetAttributeValue(session->handle, key, template.items, template.count);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_SetAttributeValue");
}

static bool is_protected(const struct key_attributes *attributes)
{
	return attributes->sensitive && !attributes->extractable;
}

bool key_protect(const struct session *session, unsigned long key, struct key_attributes *attributes, struct err *err)
{
	struct key_attributes read = {0};

	if (!read_protection(session, key, &read, err))
		return false;
	if (!is_protected(&read) && (!mend(session, key, err) || !read_protection(session, key, &read, err)))
		return false;
	if (!is_protected(&read))
		return err_set(err, ERR_UNAVAILABLE, "the token keeps the key readable (SENSITIVE %d, EXTRACTABLE %d)",
			       read.sensitive, read.extractable);
	*attributes = read;
	return true;
}
