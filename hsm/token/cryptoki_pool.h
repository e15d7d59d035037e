/*
 * The parts of the back end "cryptoki": cryptoki_sessions.c and cryptoki_backend.c.
 */
#ifndef INKAN_HSM_TOKEN_CRYPTOKI_POOL_H
#define INKAN_HSM_TOKEN_CRYPTOKI_POOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "hsm/token/key_index.h"

#define SESSIONS_MAX 64 /* threads of one worker */

struct session_pool {
	struct module *module;
	unsigned long slot;
	pthread_mutex_t lock; /* guards idle, n_idle */
	CK_SESSION_HANDLE idle[SESSIONS_MAX];
	unsigned n_idle;
	bool pkcs, pss; /* the token lists CKM_RSA_PKCS, CKM_RSA_PKCS_PSS: else it is given the text, not the digest */
	struct key_index private_keys, public_keys; /* for loading, which token.c never does twice at once */
};

/* A session for one operation, out of the pool or new; each is given back once. */
CK_RV pool_take(struct session_pool *pool, CK_SESSION_HANDLE *session);
void pool_fill(struct session_pool *pool, unsigned sessions); /* opens so many; fewer when the token has no more */
void pool_give(struct session_pool *pool, CK_SESSION_HANDLE session);

/* A fresh session in place of one that the token has dropped. False when there is none (0), or the login has gone with it. */
bool pool_replace(struct session_pool *pool, CK_SESSION_HANDLE *session);
bool pool_is_logged_in(struct session_pool *pool, CK_SESSION_HANDLE session);

#endif
