#include "hsm/token/cryptoki_pool.h"

static CK_RV open_session(struct session_pool *pool, CK_SESSION_HANDLE *session)
{
	return module_functions(pool->module)->C_OpenSession(pool->slot, CKF_SERIAL_SESSION, NULL, NULL, session);
}

CK_RV pool_take(struct session_pool *pool, CK_SESSION_HANDLE *session)
{
	bool found;

	pthread_mutex_lock(&pool->lock);
	found = pool->n_idle > 0;
	if (found)
		*session = pool->idle[--pool->n_idle];
	pthread_mutex_unlock(&pool->lock);
	return found ? CKR_OK : open_session(pool, session);
}

void pool_fill(struct session_pool *pool, unsigned sessions)
{
	CK_SESSION_HANDLE session;

	while (pool->n_idle < sessions && pool->n_idle < SESSIONS_MAX && open_session(pool, &session) == CKR_OK)
		pool->idle[pool->n_idle++] = session;
}

void pool_give(struct session_pool *pool, CK_SESSION_HANDLE session)
{
	bool kept;

	pthread_mutex_lock(&pool->lock);
	kept = pool->n_idle < SESSIONS_MAX;
	if (kept)
		pool->idle[pool->n_idle++] = session;
	pthread_mutex_unlock(&pool->lock);
	if (!kept)
		module_functions(pool->module)->C_CloseSession(session);
}

bool pool_is_logged_in(struct session_pool *pool, CK_SESSION_HANDLE session)
{
	CK_SESSION_INFO info = {0};

	return module_functions(pool->module)->C_GetSessionInfo(session, &info) == CKR_OK &&
	       (info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS);
}

bool pool_replace(struct session_pool *pool, CK_SESSION_HANDLE *session)
{
	CK_SESSION_HANDLE fresh;

	module_functions(pool->module)->C_CloseSession(*session);
	*session = 0;
	if (open_session(pool, &fresh) != CKR_OK)
		return false;
	*session = fresh;
	return pool_is_logged_in(pool, fresh);
}
