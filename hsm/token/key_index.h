/*
 * Handles of private and public keys by CKA_ID, so that loading a thousand keys does not cost a thousand searches: SoftHSM
 * takes 50 ms for each among a thousand keys. The first few are searched for singly, then the ids of all keys are read in one
 * go; keys that came later are searched for singly again. One thread at a time.
 */
#ifndef INKAN_HSM_TOKEN_KEY_INDEX_H
#define INKAN_HSM_TOKEN_KEY_INDEX_H

#include "hsm/token/cryptoki.h"

#define CKR_NO_SUCH_KEY CKR_OBJECT_HANDLE_INVALID /* of the two below */

struct indexed;

struct key_index {
	CK_OBJECT_CLASS class; /* CKO_PRIVATE_KEY or CKO_PUBLIC_KEY */
	unsigned searches; /* single ones since the index was made */
	struct indexed *rows; /* by id */
	size_t count;
};

CK_RV key_index_find(struct key_index *index, CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, struct bytes key_id,
		     CK_OBJECT_HANDLE *key);
void key_index_clear(struct key_index *index);

/* One search on the token. */
CK_RV key_search(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_OBJECT_CLASS class, struct bytes key_id,
		 CK_OBJECT_HANDLE *key);

bool key_any(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session); /* whether the token shows any private key at all */

#endif
