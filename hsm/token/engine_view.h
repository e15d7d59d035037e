/*
 * What libp11 sees of the token. Left to itself, 0.4.12 reads every private key for each key that it loads, and fails when one
 * of them is of a type that it does not know (Ed25519). So it is given a module of ours (hsm/view) whose functions are the
 * real module's, but for two: a search for keys finds the one key that is being loaded, out of an index that is made once;
 * and sessions are opened beforehand, so that no signature waits for one.
 *
 * There is one in a process, since Cryptoki's functions have no context. One thread loads at a time.
 */
#ifndef INKAN_HSM_TOKEN_ENGINE_VIEW_H
#define INKAN_HSM_TOKEN_ENGINE_VIEW_H

#include "appliance/base/bytes.h"

struct engine_view;

/* Loads the real module and our own; nothing is initialised yet. NULL: ERR_NOT_FOUND, ERR_INVALID. */
struct engine_view *engine_view_open(const char *module, struct err *err);
void engine_view_close(struct engine_view *view); /* after libp11 is done with it; NULL is fine */
const char *engine_view_path(const struct engine_view *view); /* what to call the module for libp11 */

/* The next searches find the keys of this CKA_ID, which stays the caller's; empty: none. */
void engine_view_want(struct engine_view *view, struct bytes key_id);

/* Sessions beside those that libp11 has; fewer when the token has no more. After the login. */
void engine_view_stock(struct engine_view *view, unsigned long slot, unsigned sessions);

/* C_GetTokenInfo: takes no session and changes nothing. The CK_RV. */
unsigned long engine_view_ask(const struct engine_view *view, unsigned long slot);

#endif
