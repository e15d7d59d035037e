/*
 * inkan-hsm-view.so: a PKCS#11 module whose C_GetFunctionList hands out the list that the process which loaded it has
 * given to inkan_view_install. libp11 takes a module by its path alone; this is the path (hsm/token/engine_view.h).
 */
#ifndef INKAN_HSM_VIEW_VIEW_H
#define INKAN_HSM_VIEW_VIEW_H

#include <p11-kit/pkcs11.h>

#define INKAN_VIEW_FILE "inkan-hsm-view.so" /* in the directory of the program */
#define INKAN_VIEW_INSTALL "inkan_view_install"

void inkan_view_install(CK_FUNCTION_LIST *list); /* stays the caller's, for as long as the module is loaded */

#endif
