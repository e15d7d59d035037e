#include "hsm/protocol/pieces.h"

#include <stdlib.h>

void piece_put_flag(struct buf *out, bool flag)
{
	msg_put_u8(out, flag ? 1 : 0);
}

bool piece_get_flag(struct msg *msg)
{
	uint8_t value = msg_get_u8(msg);

	msg->bad |= value > 1;
	return value == 1;
}

struct bytes piece_get_owned(struct msg *msg)
{
	struct bytes view = msg_get_bytes(msg);

	if (view.len == 0)
		return view;
	return bytes_of(mem_copy(view.data, view.len), view.len);
}

void piece_clear_owned(struct bytes *octets)
{
	free((void *)octets->data);
	*octets = (struct bytes){0};
}

void piece_wipe_owned(struct bytes *octets)
{
	if (octets->len > 0)
		mem_wipe((void *)octets->data, octets->len);
	piece_clear_owned(octets);
}

void piece_put_texts(struct buf *out, char *const *texts, size_t count)
{
	msg_put_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		msg_put_text(out, texts[i]);
}

char **piece_get_texts(struct msg *msg, size_t *count)
{
	char **texts = mem_new_array(*count = msg_get_count(msg, 4), sizeof *texts);

	for (size_t i = 0; i < *count; i++)
		texts[i] = msg_get_text(msg);
	return texts;
}

void piece_clear_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

void piece_put_attributes(struct buf *out, const struct key_attributes *attributes)
{
	piece_put_flag(out, attributes->sensitive);
	piece_put_flag(out, attributes->extractable);
	piece_put_flag(out, attributes->local);
	piece_put_flag(out, attributes->always_sensitive);
	piece_put_flag(out, attributes->never_extractable);
	msg_put_u32(out, attributes->known);
	msg_put_u32(out, attributes->set);
}

void piece_get_attributes(struct msg *msg, struct key_attributes *attributes)
{
	attributes->sensitive = piece_get_flag(msg);
	attributes->extractable = piece_get_flag(msg);
	attributes->local = piece_get_flag(msg);
	attributes->always_sensitive = piece_get_flag(msg);
	attributes->never_extractable = piece_get_flag(msg);
	attributes->known = msg_get_u32(msg);
	attributes->set = msg_get_u32(msg);
}

/* Room for a whole task, so that no growing buffer leaves a copy of its secrets behind. */
void piece_reserve(struct buf *out, size_t contents)
{
	buf_reserve(out, contents + 64);
}
