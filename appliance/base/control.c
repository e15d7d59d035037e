#include "appliance/base/control.h"

#include <stdlib.h>

/* pid, three numbers and the length fields of four texts */
#define CHILD_STATUS_LEAST_BYTES (8 + 3 * 4 + 4 * 4)

static void child_status_encode(struct buf *out, const struct child_status *child)
{
	msg_put_text(out, child->name);
	msg_put_i64(out, child->pid);
	msg_put_text(out, child->state);
	msg_put_u32(out, child->restarts);
	msg_put_text(out, child->last_error);
	msg_put_text(out, child->health);
	msg_put_u32(out, child->threads);
	msg_put_u32(out, child->rate_tenths);
}

static void child_status_decode(struct msg *msg, struct child_status *child)
{
	child->name = msg_get_text(msg);
	child->pid = msg_get_i64(msg);
	child->state = msg_get_text(msg);
	child->restarts = msg_get_u32(msg);
	child->last_error = msg_get_text(msg);
	child->health = msg_get_text(msg);
	child->threads = msg_get_u32(msg);
	child->rate_tenths = msg_get_u32(msg);
}

static void child_status_clear(struct child_status *child)
{
	free(child->name);
	free(child->state);
	free(child->last_error);
	free(child->health);
}

void supervisor_status_encode(struct buf *out, const struct supervisor_status *status)
{
	msg_put_i64(out, status->pid);
	msg_put_i64(out, status->started);
	msg_put_u64(out, status->revision);
	msg_put_text(out, status->pin);
	msg_put_text(out, status->pin_error);
	msg_put_text(out, status->token_model);
	msg_put_text(out, status->token_serial);
	msg_put_text(out, status->token_firmware);
	msg_put_u32(out, (uint32_t)status->n_children);
	for (size_t i = 0; i < status->n_children; i++)
		child_status_encode(out, &status->children[i]);
	msg_put_text(out, status->signing);
}

bool supervisor_status_decode(struct msg *msg, struct supervisor_status *status, struct err *err)
{
	struct supervisor_status read = {0};

	read.pid = msg_get_i64(msg);
	read.started = msg_get_i64(msg);
	read.revision = msg_get_u64(msg);
	read.pin = msg_get_text(msg);
	read.pin_error = msg_get_text(msg);
	read.token_model = msg_get_text(msg);
	read.token_serial = msg_get_text(msg);
	read.token_firmware = msg_get_text(msg);
	read.n_children = msg_get_count(msg, CHILD_STATUS_LEAST_BYTES);
	read.children = mem_new_array(read.n_children, sizeof *read.children);
	for (size_t i = 0; i < read.n_children; i++)
		child_status_decode(msg, &read.children[i]);
	read.signing = msg_get_text(msg);
	if (!msg_end(msg, "supervisor status", err)) {
		supervisor_status_clear(&read);
		return false;
	}
	*status = read;
	return true;
}

void supervisor_status_clear(struct supervisor_status *status)
{
	for (size_t i = 0; i < status->n_children; i++)
		child_status_clear(&status->children[i]);
	free(status->children);
	free(status->signing);
	free(status->pin);
	free(status->pin_error);
	free(status->token_model);
	free(status->token_serial);
	free(status->token_firmware);
	*status = (struct supervisor_status){0};
}
