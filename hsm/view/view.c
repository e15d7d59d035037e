#include "hsm/view/view.h"

#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

static CK_FUNCTION_LIST *installed;

EXPORT void inkan_view_install(CK_FUNCTION_LIST *list)
{
	installed = list;
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (installed == NULL)
		return CKR_GENERAL_ERROR;
	*list = installed;
	return CKR_OK;
}
