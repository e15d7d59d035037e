/* Passwords of next hops: sealed for the configuration, opened for the relay that has to log in with them. */
#include <string.h>

#include "hsm/protocol/provision.h"
#include "hsm/provision/seal.h"
#include "hsm/provision/tasks.h"

/* A PKCS#12 password has another context: what was sealed for provisioning is not given out here. */
static bool read_task(struct msg *msg, struct sealed_secret *task, struct err *err)
{
	const size_t prefix = sizeof PROVISION_NEXT_HOP_CONTEXT - 1;

	if (!sealed_secret_decode(msg, task, err))
		return false;
	if (task->context.len <= prefix || memcmp(task->context.data, PROVISION_NEXT_HOP_CONTEXT, prefix) != 0)
		return err_set(err, ERR_DENIED, "only the passwords of next hops are sealed and opened here");
	return true;
}

bool task_seal(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct sealed_secret task;
	struct buf sealed = {0};
	struct seal seal;
	bool good = read_task(msg, &task, err) && connection_require_login(&provision->connection, err) &&
		    seal_prepare(&provision->connection.session, &seal, err) &&
		    seal_close(&provision->connection.session, &seal, task.context, task.secret, &sealed, err);

	if (good)
		msg_put_bytes(result, buf_bytes(&sealed));
	buf_clear(&sealed);
	return good;
}

bool task_unseal(struct provision *provision, struct msg *msg, struct buf *result, struct err *err)
{
	struct sealed_secret task;
	struct secret *secret = NULL;
	struct seal seal;

	if (read_task(msg, &task, err) && connection_require_login(&provision->connection, err) &&
	    seal_find(&provision->connection.session, &seal, err))
		secret = seal_open(&provision->connection.session, &seal, task.context, task.secret, err);
	if (secret == NULL)
		return false;
	buf_reserve(result, secret_bytes(secret).len + 4);
	msg_put_bytes(result, secret_bytes(secret));
	secret_free(secret);
	return true;
}
