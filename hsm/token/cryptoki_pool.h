/*
 * The parts of the back end "cryptoki": cryptoki_sessions.c, cryptoki_keys.c and cryptoki_backend.c.
 */
#ifndef INKAN_HSM_TOKEN_CRYPTOKI_POOL_H
#define INKAN_HSM_TOKEN_CRYPTOKI_POOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hsm/token/cryptoki.h"

#define SESSIONS_MAX 64 /* threads of one worker */
#define INDEXED_ID_BYTES 64 /* keys with a longer CKA_ID are searched for singly */

struct indexed {
	CK_OBJECT_HANDLE handle;
	size_t id_len;
	uint8_t id[INDEXED_ID_BYTES];
};

struct session_pool {
	struct module *module;
	unsigned long slot;
	pthread_mutex_t lock; /* guards idle, n_idle */
	CK_SESSION_HANDLE idle[SESSIONS_MAX];
	unsigned n_idle;
	/* For pool_search alone, which token.c never calls twice at once: */
	unsigned searches;
	struct indexed *index; /* by id; made once */
	size_t n_index;
};

/* A session for one operation, out of the pool or new; each is given back once. */
CK_RV pool_take(struct session_pool *pool, CK_SESSION_HANDLE *session);
void pool_give(struct session_pool *pool, CK_SESSION_HANDLE session);

/* A fresh session in place of one that the token has dropped. False when there is none (0), or the login has gone with it. */
bool pool_replace(struct session_pool *pool, CK_SESSION_HANDLE *session);
bool pool_is_logged_in(struct session_pool *pool, CK_SESSION_HANDLE session);

#define CKR_NO_SUCH_KEY CKR_OBJECT_HANDLE_INVALID /* of the two below */

/* One search on the token. */
CK_RV pool_find_key(struct session_pool *pool, CK_SESSION_HANDLE session, struct bytes key_id, CK_OBJECT_HANDLE *key);

/* For loading many keys: the same, by way of the index. */
CK_RV pool_search(struct session_pool *pool, CK_SESSION_HANDLE session, struct bytes key_id, CK_OBJECT_HANDLE *key);

#endif
