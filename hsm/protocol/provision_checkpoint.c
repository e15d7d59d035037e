#include <stdlib.h>
#include <string.h>

#include "hsm/protocol/pieces.h"

void checkpoint_task_encode(struct buf *out, const struct checkpoint_task *task)
{
	msg_put_u64(out, task->rows);
	msg_put_i64(out, task->time_ms);
	msg_put_bytes(out, bytes_of(task->hash, sizeof task->hash));
}

bool checkpoint_task_decode(struct msg *msg, struct checkpoint_task *task, struct err *err)
{
	struct checkpoint_task read = {0};
	struct bytes hash;

	read.rows = msg_get_u64(msg);
	read.time_ms = msg_get_i64(msg);
	hash = msg_get_bytes(msg);
	if (!msg_end(msg, "checkpoint task", err))
		return false;
	if (hash.len != sizeof read.hash)
		return err_set(err, ERR_INVALID, "malformed checkpoint task");
	memcpy(read.hash, hash.data, sizeof read.hash);
	*task = read;
	return true;
}

void checkpoint_result_encode(struct buf *out, const struct checkpoint_result *result)
{
	msg_put_bytes(out, result->public_key);
	msg_put_bytes(out, result->signature);
	piece_put_flag(out, result->made);
}

bool checkpoint_result_decode(struct msg *msg, struct checkpoint_result *result, struct err *err)
{
	struct checkpoint_result read = {0};

	read.public_key = piece_get_owned(msg);
	read.signature = piece_get_owned(msg);
	read.made = piece_get_flag(msg);
	if (!msg_end(msg, "checkpoint", err)) {
		checkpoint_result_clear(&read);
		return false;
	}
	*result = read;
	return true;
}

void checkpoint_result_clear(struct checkpoint_result *result)
{
	piece_clear_owned(&result->public_key);
	piece_clear_owned(&result->signature);
}
