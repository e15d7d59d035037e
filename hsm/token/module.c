#include "hsm/token/cryptoki.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_MAX 256 /* of one module */

struct module {
	void *library;
	CK_FUNCTION_LIST *functions;
};

CK_FUNCTION_LIST *module_functions(const struct module *module)
{
	return module->functions;
}

static bool load(struct module *module, const char *path, struct err *err)
{
	CK_C_GetFunctionList get_functions;
	CK_RV rv;

	if (access(path, F_OK) != 0)
		return err_set(err, ERR_NOT_FOUND, "no PKCS#11 module at %s", path);
	/* It stays mapped: libitm below opencryptoki crashes when it is loaded a second time in a thread that knew the first. */
	module->library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (module->library == NULL)
		return err_set(err, ERR_INVALID, "the PKCS#11 module does not load: %s", dlerror());
	*(void **)&get_functions = dlsym(module->library, "C_GetFunctionList");
	if (get_functions == NULL)
		return err_set(err, ERR_INVALID, "%s is not a PKCS#11 module", path);
	rv = get_functions(&module->functions);
	if (rv != CKR_OK || module->functions == NULL)
		return cryptoki_fail(err, rv, "C_GetFunctionList");
	return true;
}

static bool initialize(const struct module *module, struct err *err)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	CK_RV rv = module->functions->C_Initialize(&args);

	return rv == CKR_OK || cryptoki_fail(err, rv, "C_Initialize");
}

static void unload(struct module *module)
{
	if (module->library != NULL)
		dlclose(module->library);
	free(module);
}

struct module *module_open(const char *path, struct err *err)
{
	struct module *module = mem_new(sizeof *module);

	if (load(module, path, err) && initialize(module, err))
		return module;
	unload(module);
	return NULL;
}

void module_close(struct module *module)
{
	if (module == NULL)
		return;
	module->functions->C_Finalize(NULL);
	unload(module);
}

/* Cryptoki pads its texts with blanks and ends them with nothing. */
static void copy_padded(char *out, const void *padded, size_t len)
{
	const char *text = padded;

	while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\0'))
		len--;
	memcpy(out, text, len);
	out[len] = '\0';
}

void module_library(const struct module *module, char out[static MODULE_LIBRARY_BYTES])
{
	CK_INFO info = {0};
	char maker[sizeof info.manufacturerID + 1];

	out[0] = '\0';
	if (module->functions->C_GetInfo(&info) != CKR_OK)
		return;
	copy_padded(maker, info.manufacturerID, sizeof info.manufacturerID);
	snprintf(out, MODULE_LIBRARY_BYTES, "%s %u.%u", maker, info.libraryVersion.major, info.libraryVersion.minor);
}

static int64_t known(unsigned long value)
{
	return value == CK_UNAVAILABLE_INFORMATION ? -1 : (int64_t)value;
}

static void fill_info(struct token_info *out, const CK_TOKEN_INFO *info)
{
	*out = (struct token_info){
	    .initialized = (info->flags & CKF_TOKEN_INITIALIZED) != 0,
	    .user_pin_set = (info->flags & CKF_USER_PIN_INITIALIZED) != 0,
	    .pin_count_low = (info->flags & CKF_USER_PIN_COUNT_LOW) != 0,
	    .pin_final_try = (info->flags & CKF_USER_PIN_FINAL_TRY) != 0,
	    .pin_locked = (info->flags & CKF_USER_PIN_LOCKED) != 0,
	    .protected_path = (info->flags & CKF_PROTECTED_AUTHENTICATION_PATH) != 0,
	    .free_private_memory = known(info->ulFreePrivateMemory),
	    .max_sessions = known(info->ulMaxSessionCount),
	    .pin_min_bytes = info->ulMinPinLen,
	    .pin_max_bytes = info->ulMaxPinLen,
	};
	copy_padded(out->label, info->label, sizeof info->label);
	copy_padded(out->manufacturer, info->manufacturerID, sizeof info->manufacturerID);
	copy_padded(out->model, info->model, sizeof info->model);
	copy_padded(out->serial, info->serialNumber, sizeof info->serialNumber);
	snprintf(out->firmware, sizeof out->firmware, "%u.%u", info->firmwareVersion.major, info->firmwareVersion.minor);
}

static bool get_info(const struct module *module, unsigned long slot, struct token_info *out, struct err *err)
{
	CK_TOKEN_INFO info = {0};
	CK_RV rv = module->functions->C_GetTokenInfo(slot, &info);

	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_GetTokenInfo");
	fill_info(out, &info);
	return true;
}

/* SoftHSM makes its slot for the next new token when asked for the list without a buffer. */
static bool get_slots(const struct module *module, CK_SLOT_ID *slots, CK_ULONG *count, struct err *err)
{
	CK_RV rv = module->functions->C_GetSlotList(CK_TRUE, NULL, count);

	if (rv == CKR_OK && *count > SLOTS_MAX)
		return err_set(err, ERR_LIMIT, "the module has more than %d slots", SLOTS_MAX);
	if (rv == CKR_OK)
		rv = module->functions->C_GetSlotList(CK_TRUE, slots, count);
	return rv == CKR_OK || cryptoki_fail(err, rv, "C_GetSlotList");
}

typedef bool token_wanted(const struct token_info *info, const char *label);

static bool has_label(const struct token_info *info, const char *label)
{
	return info->initialized && strcmp(info->label, label) == 0;
}

static bool is_free(const struct token_info *info, const char *label)
{
	(void)label;
	return !info->initialized;
}

static bool find_slot(const struct module *module, token_wanted *wanted, const char *label, unsigned long *slot,
		      struct token_info *info, struct buf *labels, struct err *err)
{
	CK_SLOT_ID slots[SLOTS_MAX];
	CK_ULONG count = 0;

	if (!get_slots(module, slots, &count, err))
		return false;
	for (CK_ULONG i = 0; i < count; i++) {
		struct token_info found;

		if (!get_info(module, slots[i], &found, NULL))
			continue;
		if (wanted(&found, label)) {
			*slot = slots[i];
			*info = found;
			return true;
		}
		if (found.initialized)
			buf_printf(labels, "%s\"%s\"", labels->len > 0 ? ", " : "", found.label);
	}
	return err_set(err, ERR_NOT_FOUND, "none");
}

bool module_find_token(const struct module *module, const char *label, unsigned long *slot, struct token_info *info,
		       struct err *err)
{
	struct buf labels = {0};
	struct err why = {0};
	bool found = find_slot(module, has_label, label, slot, info, &labels, &why);

	if (!found && why.code == ERR_NOT_FOUND)
		err_set(&why, ERR_NOT_FOUND, "no token labelled \"%s\"%s%s", label, labels.len > 0 ? "; there is " : "",
			buf_text(&labels));
	if (!found && err != NULL)
		*err = why;
	buf_clear(&labels);
	return found;
}

bool module_find_free_slot(const struct module *module, unsigned long *slot, struct token_info *info, struct err *err)
{
	struct buf labels = {0};
	struct err why = {0};
	bool found = find_slot(module, is_free, NULL, slot, info, &labels, &why);

	if (!found && why.code == ERR_NOT_FOUND)
		err_set(&why, ERR_NOT_FOUND,
			"every token of this module is initialised already: %s ('set hsm token' says which one to use)",
			buf_text(&labels));
	if (!found && err != NULL)
		*err = why;
	buf_clear(&labels);
	return found;
}

bool module_token_info(const struct module *module, unsigned long slot, struct token_info *info, struct err *err)
{
	return get_info(module, slot, info, err);
}

bool module_init_token(const struct module *module, unsigned long slot, struct bytes so_pin, const char *label, struct err *err)
{
	CK_UTF8CHAR padded[TOKEN_LABEL_MAX_BYTES];
	CK_RV rv;

	if (strlen(label) > sizeof padded)
		return err_set(err, ERR_LIMIT, "a token label has at most %d octets", TOKEN_LABEL_MAX_BYTES);
	memset(padded, ' ', sizeof padded);
	memcpy(padded, label, strlen(label));
	rv = module->functions->C_InitToken(slot, (CK_UTF8CHAR *)so_pin.data, so_pin.len, padded);
	if (rv == CKR_OK)
		return true;
	cryptoki_fail(err, rv, "C_InitToken");
	return cryptoki_class(rv) == CRYPTOKI_PIN ? err_prefix(err, "the token rejected the SO PIN") : false;
}

bool module_mechanisms(const struct module *module, unsigned long slot, unsigned long *mechanisms, size_t most, size_t *count,
		       struct err *err)
{
	CK_ULONG listed = 0;
	CK_RV rv = module->functions->C_GetMechanismList(slot, NULL, &listed);

	if (rv == CKR_OK && listed > most)
		return err_set(err, ERR_LIMIT, "the token has more than %zu mechanisms", most);
	if (rv == CKR_OK)
		rv = module->functions->C_GetMechanismList(slot, mechanisms, &listed);
	if (rv != CKR_OK)
		return cryptoki_fail(err, rv, "C_GetMechanismList");
	*count = listed;
	return true;
}
